"""Change genes of cells in silico, and tell how far the cells move."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from celloquy import keys
from celloquy.checks import check_choice, check_whole_number
from celloquy.data import CellColumns
from celloquy.models import Model
from celloquy.runtime.hardware import Precision
from celloquy.tasks.gene_reading import labels_of
from celloquy.tasks.perturbation.affected import affected_genes
from celloquy.tasks.perturbation.changes import GeneChange, How, check_how
from celloquy.tasks.perturbation.matched import (
    LEAST_MATCHED,
    MatchedGenes,
    false_discovery,
    random_changes,
    standing_out,
)
from celloquy.tasks.perturbation.named import named_genes
from celloquy.tasks.perturbation.sample import ReadingOptions, SampledCells, grouped_table, sampled_cells
from celloquy.tasks.perturbation.shifts import cell_shifts
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.results import with_provenance

if TYPE_CHECKING:
    from anndata import AnnData


def perturb(
    adata: AnnData | str | PathLike[str],
    genes: Iterable[str],
    *,
    model: Model | str | PathLike[str] = keys.GENES_MINI,
    how: How = "delete",
    by: str | None = None,
    together: bool = False,
    of: Literal["cells", "genes"] = "cells",
    n_cells: int = 200,
    n_random: int = 50,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Change genes of cells in silico, and tell how far the cells move.

    The counts of a gene are changed in each cell, and the cell is read again with all else held: the depth by which
    its counts are scaled, the values and the positions of its other genes; a gene that is deleted leaves a gap that is
    not read. The shift of a cell is the distance between its embedding before and after. It grows with the expression
    of the gene, whatever the gene does, so it is compared with that of random genes of like expression.

    Parameters
    ----------
    adata
        Cells, as :func:`celloquy.embed` takes them; they stay as they are. Of a file no more is in memory than the
        cells that are read.
    genes
        Genes to change, by symbol or Ensembl id. In mouse cells a human gene is read as its ortholog.
    model
        Model that can read changed counts, such as a :class:`celloquy.GeneModel` or a :class:`celloquy.FactorModel`;
        the directory or name of a saved one; ``"genes-mini"`` and ``"cells-mini"`` are in the box. One that adapts, as
        ``"cells-mini"``, has learned from all cells of ``adata`` first.
    how
        ``"delete"``; ``"overexpress"``: in every cell to the 99 % quantile of the gene's counts per 10,000 among the
        cells that express it; or a factor by which counts are multiplied, of which 0 deletes and 1 changes nothing.
    by
        Column of ``obs``, such as a cell type: a result for each of its groups; by default for all cells.
    together
        Change all ``genes`` at once; by default each alone.
    of
        ``"cells"``: how far the cells move; ``"genes"``: how far the vectors of the other genes move in the cells that
        read both, for a model that describes genes.
    n_cells
        Cells of a group that are read, at most, drawn by ``seed``; so many of each group are in memory.
    n_random
        Random genes for each gene, drawn from twice as many whose mean expression in the groups is most alike.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, progress
        As of :func:`celloquy.embed`.
    seed
        Seed of the draws of cells and random genes.

    Returns
    -------
    A table with a row for each gene, of each group, in the order in which they were named:

    ``group``
        If ``by`` is given.
    ``gene``
        Symbol, or id where there is none; genes that are changed together are joined by ``"+"``.
    ``shift_cosine``, ``shift_euclidean``
        1 - cosine and Euclidean distance between the embedding of a cell before and after: means over the cells that
        are altered, 0 if there are none.
    ``z``, ``p``, ``q``
        How far the logarithm of ``shift_euclidean`` stands out from that of the random genes, in their standard
        deviations; the probability that a random gene moves the cells as far, one-sided; and the false discovery rate
        over all rows, as if genes were independent, which those that are expressed together are not. NaN, 1 and 1
        where fewer than five random genes are read.
    ``expression``
        Mean counts per 10,000 of the gene in the group; of genes changed together, of all of them.
    ``n_cells``
        Cells that are altered: for a deletion those that read the gene.

    With ``of="genes"`` a row for each other gene that is read beside it, the most affected first: ``affected``, its
    ``shift_cosine`` and ``shift_euclidean``, ``z``, ``p`` and ``q`` (over the affected genes of one gene and group) of
    its shift among those that it has when the random genes are changed, and ``n_cells`` that read both.
    ``attrs["celloquy"]`` says how the table was made.

    Raises
    ------
    ModelError, ArgumentError, GenesError, CountsError
        If the model can't read changed counts, a gene is not known, measured or expressed (with the nearest names), a
        group has one cell, or the cells can't be read.

    Notes
    -----
    The protocol is that of Theodoris et al. 2023 (Geneformer, Nature 618) and of Yang et al. 2024 (GeneCompass, Cell
    Research), with positions held and padding unread. What a model says is what it has learned that genes tell of
    cells, not what regulates what.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.perturb(adata, ["CST3", "LYZ"], by="cell_type", n_cells=20)
    >>> cq.perturb(adata, ["CST3"], of="genes", n_cells=40).head(20)
    """
    how = check_how(how)
    check_choice("of", of, ("cells", "genes"))
    check_choice("together", together, (True, False))
    check_whole_number("n_random", n_random, least=LEAST_MATCHED)
    columns = CellColumns(layer=layer, counts=counts, species=species)
    options = ReadingOptions(columns=columns, n_cells=n_cells, precision=precision, device=device, seed=seed)
    model = resolve_model(model)
    model.require(["read changed counts", *(["describe genes"] if of == "genes" else [])], "`perturb`")
    with sampled_cells(model, adata, by, options) as cells:
        places = named_genes(cells, genes)
        each = [tuple(places.tolist())] if together else [(place,) for place in places.tolist()]
        changes = [GeneChange(some, (how,) * len(some)) for some in each]
        matched = MatchedGenes(cells.means, places, n_random, seed)
        if of == "genes":
            table = affected_genes(cells, changes, matched, progress=progress)
        else:
            table = _of_cells(cells, changes, matched, progress)
    return with_provenance(
        table, "perturb", model, how=how, by=by, together=together, of=of, n_cells=n_cells, n_random=n_random, seed=seed
    )


def _of_cells(cells: SampledCells, changes: list[GeneChange], matched: MatchedGenes, progress: bool) -> pd.DataFrame:
    """The table of the shifts of cells."""
    random = [random_changes(matched, change) for change in changes]
    every = list(dict.fromkeys([*changes, *(one for some in random for one in some)]))
    number = {change: place for place, change in enumerate(every)}
    shifts = cell_shifts(cells, every, progress=progress)
    moved = np.where(shifts.n_cells.numpy() > 0, shifts.euclidean.numpy(), np.nan)
    with np.errstate(divide="ignore"):
        logged = np.log(moved)
    label = labels_of(cells.genes).to_numpy()
    rows = []
    for group in range(cells.n_groups):
        for change, others in zip(changes, random, strict=True):
            at = number[change]
            z, p = standing_out(float(logged[at, group]), logged[[number[one] for one in others], group])
            rows.append({
                "group": cells.names[group] if cells.names else "",
                "gene": "+".join(label[list(change.places)]),
                "shift_cosine": float(shifts.cosine[at, group]),
                "shift_euclidean": float(shifts.euclidean[at, group]),
                "z": z, "p": p, "q": 1.0,
                "expression": float(cells.means[group, list(change.places)].sum()),
                "n_cells": int(shifts.n_cells[at, group]),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    table["q"] = false_discovery(table["p"].to_numpy())
    return grouped_table(table, cells)
