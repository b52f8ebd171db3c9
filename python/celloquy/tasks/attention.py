"""Attention between genes in cells: how much named genes read of one another, in each group."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pandas as pd
import torch

from celloquy.checks import check_whole_number
from celloquy.data import CellColumns
from celloquy.models import Model
from celloquy.runtime.hardware import Precision, choose_device
from celloquy.tasks.gene_reading import DescribesGenes, grouped_cells, labels_of, reading
from celloquy.tasks.pretrained import resolve_model

if TYPE_CHECKING:
    from anndata import AnnData


def gene_attention(
    model: Model | str | PathLike[str],
    adata: AnnData | str | PathLike[str],
    genes: Iterable[str],
    *,
    by: str | None = None,
    encoder_layer: int | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Return how much genes read of one another in cells.

    The attention that a gene (the query) pays to another (the key) is a share: over all genes of a cell and the token
    that stands for the cell, it sums to one. It is the mean over the heads of a layer, and over the cells in which both
    genes are among those that are read. It says what the model looks at, not what regulates what. Cells are read a few
    at a time, from memory or disk, and no more is kept than a number for each group, query and key.

    Parameters
    ----------
    model
        Model that can describe genes, such as a :class:`celloquy.GeneModel`; or the directory or name of a saved one.
    adata
        Cells, as :func:`celloquy.embed` takes them.
    genes
        Genes to look at, by symbol or Ensembl id. In mouse cells a human gene is read as its ortholog.
    by
        Column of ``obs``, such as a cell type, for the attention in each of its groups; by default in all cells.
    encoder_layer
        Layer of the encoder, counted from 1; the last by default.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, progress
        As of :func:`celloquy.embed`.

    Returns
    -------
    A table with a row for each pair of genes that are read in at least one cell, of each group: ``query``, ``key``
    (symbols, or ids where there is none), ``attention``, ``n_cells`` on which it rests, and ``group`` if ``by`` is
    given. A heat map is ``table.pivot(index="query", columns="key", values="attention")``, or
    ``celloquy.plots.gene_attention(table)``.

    Raises
    ------
    ModelError, ArgumentError, GenesError, CountsError
        If the model has no vectors of genes, a gene is none of its vocabulary, or the cells can't be read.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.gene_attention("genes-mini", adata, ["SPI1", "CST3", "LYZ"], by="cell_type")
    """
    model = resolve_model(model)
    model.require(["describe genes"], "`gene_attention`")
    describer = cast("DescribesGenes", model)
    if encoder_layer is not None:
        check_whole_number("encoder_layer", encoder_layer, least=1, most=describer.n_layers)
    number = (encoder_layer or describer.n_layers) - 1
    columns, hardware = CellColumns(layer=layer, counts=counts, species=species), choose_device(device)
    with (
        reading(model, hardware),
        grouped_cells(model, adata, by, genes, columns, precision, hardware) as cells,
    ):
        n_genes = len(cells.genes)
        # In float64, so that the sum does not depend on which cells are read together.
        sums = torch.zeros(cells.n_groups * n_genes**2, dtype=torch.float64)
        times = torch.zeros(len(sums), dtype=torch.int64)
        for group, batch in cells.read(progress):
            for cell, query, key, weight in describer.gene_attention_in(batch, cells.rows, number):
                into = (group[cell] * n_genes + query) * n_genes + key
                sums.index_add_(0, into, weight.double())
                times += torch.bincount(into, minlength=len(times))
        there = torch.nonzero(times)[:, 0]
        place = there.numpy()
        label = labels_of(cells.genes).to_numpy()
        table = pd.DataFrame(
            {
                "query": label[place // n_genes % n_genes] if n_genes else np.empty(0, dtype=object),
                "key": label[place % n_genes] if n_genes else np.empty(0, dtype=object),
                "attention": (sums[there] / times[there]).numpy().astype(np.float32),
                "n_cells": times[there].numpy(),
            }
        )
        if cells.names:
            names = pd.Categorical([cells.names[one] for one in place // n_genes**2], categories=cells.names)
            table.insert(0, "group", pd.Series(names))
        return table
