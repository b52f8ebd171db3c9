"""Describe genes by vectors: as a model knows them, or as it reads them in the cells of an AnnData."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pandas as pd
import torch

from celloquy.checks import check_name, check_whole_number
from celloquy.data import CellColumns
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes import identify_genes
from celloquy.models import Model
from celloquy.runtime.hardware import Precision, choose_device
from celloquy.tasks.gene_reading import (
    DescribesGenes,
    GroupedCells,
    find_genes,
    grouped_cells,
    known_genes,
    labels_of,
    reading,
)
from celloquy.tasks.pretrained import resolve_model

if TYPE_CHECKING:
    from anndata import AnnData


def gene_embeddings(
    model: Model | str | PathLike[str],
    adata: AnnData | str | PathLike[str] | None = None,
    *,
    by: str | None = None,
    genes: Iterable[str] | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    progress: bool = True,
) -> AnnData:
    """Describe genes by the vectors that a gene model gives them.

    Parameters
    ----------
    model
        Model that can describe genes, such as a :class:`celloquy.GeneModel`; or the directory or name of a saved one.
    adata
        Cells in which the genes are read, as :func:`celloquy.embed` takes them: the vector of a gene is then the mean
        over the cells in which it is among the genes that are read. By default genes have the vectors that the model
        knows outside of any cell. Cells are read a few at a time; of each group and gene one vector is in memory.
    by
        Column of ``obs``, such as a cell type: one vector for each gene in each of its groups.
    genes
        Genes to describe, by symbol or Ensembl id; all by default.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, progress
        As of :func:`celloquy.embed`.

    Returns
    -------
    An AnnData with a row for each gene, or for each gene and group, ready for ``scanpy.pp.neighbors``: ``X`` holds the
    vectors, ``obs`` the columns ``gene`` (Ensembl id), ``symbol``, ``species``, and with ``adata`` also ``n_cells``, on
    which a vector rests, and ``group``. A gene that is read in no cell has no row.

    Raises
    ------
    ModelError, ArgumentError, GenesError
        If the model has no vectors of genes, a gene is none of its vocabulary, or the cells can't be read.

    Examples
    --------
    >>> import celloquy as cq
    >>> vectors = cq.gene_embeddings("genes-mini", adata, by="cell_type")
    >>> cq.similar_genes("GATA4", cq.gene_embeddings("genes-mini"))
    """
    from anndata import AnnData

    model = resolve_model(model)
    if adata is not None or "embed genes" not in model.abilities:
        model.require(["describe genes"], "`gene_embeddings`")
    hardware, columns = choose_device(device), CellColumns(layer=layer, counts=counts, species=species)
    with reading(model, hardware):
        if adata is None:
            if by is not None:
                raise ArgumentError(
                    "`by` has no use without cells.",
                    found=f"by={by!r} and no `adata`",
                    expected="the cells whose groups it names",
                    remedy="pass `adata`, or leave `by` out.",
                    argument="by",
                )
            known = known_genes(model)
            wanted = find_genes(known, genes)
            vectors = cast("DescribesGenes", model).gene_vectors().float().cpu().numpy()[wanted]
            table = known.loc[wanted, ["gene", "symbol", "species"]]
            table.index = pd.Index(labels_of(table).to_numpy())
        else:
            with grouped_cells(model, adata, by, genes, columns, precision, hardware) as cells:
                vectors, table = _in_cells(cast("DescribesGenes", model), model.embedding_width, cells, progress)
    described = AnnData(vectors, obs=table)
    described.var_names = [f"dimension {number}" for number in range(1, vectors.shape[1] + 1)]
    return described


def similar_genes(
    gene: str,
    vectors: AnnData | Model | str | PathLike[str],
    *,
    n: int = 20,
) -> pd.DataFrame:
    """Return the genes whose vectors are most like that of a gene.

    Parameters
    ----------
    gene
        Symbol or Ensembl id, or the name of a row of ``vectors``, as of a gene in a group.
    vectors
        What :func:`gene_embeddings` returned, or a model, of which these are then made.
    n
        Number of genes.

    Returns
    -------
    The ``obs`` of the most similar rows with a column ``cosine``, the highest first. Cosines are of vectors from which
    the mean of all is taken, as all genes share a direction that says nothing.

    Raises
    ------
    GenesError, ArgumentError
        If the gene has no vector, or ``n`` is no number.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.similar_genes("SPI1", "genes-mini", n=5)[["symbol", "cosine"]]
    """
    check_whole_number("n", n, least=1)
    check_name("gene", gene, "the name of one gene")
    if isinstance(vectors, str | PathLike | Model):
        vectors = gene_embeddings(vectors, progress=False)
    table = getattr(vectors, "obs", None)
    if not isinstance(table, pd.DataFrame) or not {"gene", "symbol"} <= set(table.columns):
        what = f"an object of type {type(vectors).__name__}"
        raise ArgumentError(
            "`vectors` are no vectors of genes.",
            found=what if table is None else "an AnnData without the columns gene and symbol in obs, as of cells",
            expected="the result of cq.gene_embeddings, or a model",
            remedy="pass cq.gene_embeddings(model), or the model.",
            argument="vectors",
        )
    place = np.flatnonzero(table.index == gene)
    if not len(place):
        place = np.flatnonzero((table["gene"] == gene) | (table["symbol"] == gene))
    if not len(place):
        place = np.flatnonzero(table["gene"].isin(identify_genes([gene]).ids))
    if len(place) != 1:
        raise GenesError(
            f"The gene {gene!r} has {'no vector' if not len(place) else 'several vectors'}.",
            found=some(table.index[place]) if len(place) else f"rows such as {some(table.index, 3)}",
            expected="the name of one row",
            remedy="pass its Ensembl id, or the name of one of these rows.",
            argument="gene",
        )
    centred = np.asarray(vectors.X, dtype=np.float32)
    centred = centred - centred.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-12)
    cosine = centred @ centred[place[0]]
    order = np.argsort(-cosine, kind="stable")
    order = order[order != place[0]][:n]
    return table.iloc[order].assign(cosine=cosine[order])


def _in_cells(
    model: DescribesGenes, width: int, cells: GroupedCells, progress: bool
) -> tuple[np.ndarray, pd.DataFrame]:
    """Vectors of the genes in each group of cells, means over those that read them, and the table of the rows."""
    n_genes = len(cells.genes)
    place_of = torch.full((len(cells.cells.measured),), -1)
    place_of[cells.rows] = torch.arange(n_genes)
    sums = torch.zeros(cells.n_groups * n_genes, width)
    times = torch.zeros(len(sums), dtype=torch.int64)
    for group, batch in cells.read(progress):
        for number, row, vectors in model.gene_vectors_in(batch):
            kept = place_of[row] >= 0
            into = group[number[kept]] * n_genes + place_of[row[kept]]
            sums.index_add_(0, into, vectors.float().cpu()[kept])
            times += torch.bincount(into, minlength=len(times))
    there = times > 0
    rows = torch.nonzero(there)[:, 0].numpy()
    table = cells.genes[["gene", "symbol", "species"]].iloc[rows % max(1, n_genes)]
    label = labels_of(cells.genes).iloc[rows % max(1, n_genes)]
    if cells.names:
        names = np.array(cells.names, dtype=object)[rows // max(1, n_genes)]
        table = table.assign(group=pd.Categorical(names, categories=cells.names))
        label = label + "|" + names
    table.index = pd.Index(label.to_numpy())
    return (sums[there] / times[there, None]).numpy(), table.assign(n_cells=times[there].numpy())
