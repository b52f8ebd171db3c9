"""``explain``: the genes behind labels, clusters or single cells."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from celloquy import keys
from celloquy.checks import check_names, check_whole_number, refuse
from celloquy.data import CellColumns, CellReader, CellSource
from celloquy.data.columns import codes, places_of
from celloquy.data.labels import read_labels
from celloquy.data.store import opened
from celloquy.errors import ArgumentError, some
from celloquy.tasks.annotation import Annotator
from celloquy.tasks.explanation.attributions import Attributions, attributions
from celloquy.tasks.results import with_provenance

if TYPE_CHECKING:
    from anndata import AnnData

MOST_CELLS = 1000
"""Cells that can be explained one by one: each has a row for every gene."""


def explain(
    adata: AnnData | str | PathLike[str],
    *,
    labels: str | Annotator,
    by: str | None = None,
    cells: Iterable[str] | None = None,
    n_genes: int | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Explain labels, clusters or single cells by their genes.

    An annotator gives every cell a logit of each label. The difference between that of the cell's own label and the
    mean of the others, less the same difference in the mean cell of the object, is shared out among the genes: what a
    gene adds is its expression, less that of the mean cell, times what expression of it does to the difference
    (integrated gradients, Sundararajan et al. 2017; the mean cell is the baseline). The shares of all genes sum to the
    difference, exactly where the annotator is linear, as with the model in the box. They say what tells the labels
    apart for this annotator. Of two genes that are expressed together it may use one: a gene without a share may mark a
    label as well.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, or the path of a file, as of :func:`celloquy.embed`; they stay as they are.
    labels
        Column of ``obs`` with labels, such as clusters: an annotator then learns them, in seconds, from the model in
        the box adapted to these cells, and each cell is explained by the label that it has. Or an annotator that was
        fitted before: each cell is explained by the label that it gives, but for cells that are unknown to it.
    by
        Column of ``obs`` with the groups over which shares are averaged; by default each label is a group.
    cells
        Names of cells to explain one by one, at most 1,000.
    n_genes
        Genes of each group to return, those with the largest shares up or down; by default all that have one.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    seed
        Seed of the annotator that is fitted.
    progress
        Show a progress bar.

    Returns
    -------
    A table with a row for each group and gene that has a share, the largest first:

    ``group``
        The label, the value of ``by``, or the name of the cell.
    ``gene``
        The gene, by its name in the object.
    ``attribution``
        Its share in the difference of logits, a mean over the group's cells; above 0 speaks for the label.
    ``expression``
        Mean log expression in the group (log1p of counts at one depth) less that in the mean cell: a gene can speak for
        a label by being there or by being absent.
    ``share``
        The same over the sum of all shares' sizes in the group, from -1 to 1.
    ``rank``
        From 1, within the group.

    ``attrs["celloquy"]`` says how it was made; in it ``"groups"`` has, for each group, the label (or ``""`` for
    several), the number of cells, the difference of logits that is explained, and what all shares sum to.

    Raises
    ------
    CountsError, GenesError, ArgumentError, ModelError
        If there are no raw counts, the labels can't be learned, a cell is none of the object, or the annotator can't be
        explained: its model must read a sum of genes, as the model in the box and one that is trained from scratch do.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.explain(adata, labels="leiden")
    >>> table.groupby("group").head(5)

    What is drawn by scanpy:

    >>> there = table[table["expression"] > 0]
    >>> genes = {group: list(own["gene"][:5]) for group, own in there.groupby("group")}
    >>> sc.pl.dotplot(adata, genes, groupby="leiden")
    """
    if n_genes is not None:
        check_whole_number("n_genes", n_genes, least=1)
    check_whole_number("seed", seed, least=0)
    if by is not None and cells is not None:
        refuse("cells", "a list, and `by`", "one of the two", "leave `by` out to explain cells one by one.")
    columns = CellColumns(layer=layer, counts=counts, species=species)
    with opened(adata) as read:
        annotator, label = _labelled(read, labels, columns, seed, progress)
        reader = annotator._over(CellSource(read, columns), annotator._trained.vocabulary)
        if label is None:
            label = _given(annotator, reader)
        group, names = _groups(read, annotator, label, by, cells)
        found = attributions(
            annotator.classifier_, annotator._trained, reader, torch.from_numpy(label),
            torch.from_numpy(group), progress=progress,
        )  # fmt: skip
    own = ["" if len(one) != 1 else annotator.labels_[one[0]] for one in _labels_of(label, group, len(names))]
    table = _table(found, names, reader, n_genes)
    described = {
        name: {"label": label_of, "n_cells": int(number), "difference": float(difference), "sum": float(total)}
        for name, label_of, number, difference, total in zip(
            names, own, found.n_cells, found.difference, found.values.sum(1), strict=True
        )
    }
    table = with_provenance(
        table, "explain", annotator._trained, labels=annotator.label_key, by=by, n_genes=n_genes, seed=seed
    )
    table.attrs[keys.PROVENANCE]["groups"] = described
    return table


def _labelled(
    adata: AnnData, labels: str | Annotator, columns: CellColumns, seed: int, progress: bool
) -> tuple[Annotator, NDArray[np.int64] | None]:
    """The annotator, and the label of each cell if the object has them."""
    if isinstance(labels, Annotator):
        _check_explainable(labels)
        own = copy.copy(labels)
        own.progress = progress
        return own, None
    if not isinstance(labels, str):
        refuse("labels", labels, "the name of a column of `adata.obs`, or an Annotator")
    known = read_labels(
        adata, labels, reserved=keys.UNKNOWN, argument="labels", name="adata", droppable=False
    )  # fmt: skip
    annotator = Annotator(
        label_key=labels, model=keys.CELLS_MINI, layer=columns.layer, counts=columns.counts, species=columns.species,
        reference_layer=columns.layer, seed=seed, progress=progress,
    )  # fmt: skip
    annotator._prepare()
    return annotator._fit(annotator._reference(adata), known, None), known.codes


def _check_explainable(annotator: Annotator) -> None:
    """Check that an annotator is fitted, and reads a cell by sums over its genes alone."""
    model = annotator._trained
    model.require(["sum genes"], "`explain`")
    if model.reads:
        raise ArgumentError(
            "This annotator can't be explained.",
            found=f"a model whose cells read {' and '.join(sorted(model.reads))}",
            expected="a model that reads each cell for itself",
            remedy=f"fit it with model={keys.CELLS_MINI!r}, or without `model` and `config`.",
            argument="labels",
        )


def _given(annotator: Annotator, cells: CellReader) -> NDArray[np.int64]:
    """The label that an annotator gives each cell, -1 where it is unknown."""
    logits, novelty, _ = annotator._read(cells, torch.from_numpy(annotator._embed(cells)))
    known = novelty <= 0.5 if annotator.false_unknown_rate else np.ones(len(novelty), dtype=bool)
    return np.where(known, logits.argmax(1).numpy(), -1)


def _groups(
    adata: AnnData, annotator: Annotator, label: NDArray[np.int64], by: str | None, cells: Iterable[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """The group of each cell, -1 where it is not explained, and the names of the groups."""
    if cells is not None:
        return _one_by_one(adata, label, check_names("cells", cells, "names of cells"))
    group, names = (label, list(annotator.labels_)) if by is None else codes(adata, by, "by")
    group = np.where(label >= 0, group, -1)
    # A group without a cell that has a label has nothing to explain.
    kept = np.unique(group[group >= 0])
    if not len(kept):
        raise ArgumentError(
            "There is nothing to explain.",
            found=f"{len(label):,} cells, none of which is known to the annotator",
            expected="cells of its labels",
            remedy="pass the column of their clusters as `labels`.",
            argument="labels",
        )
    place = np.full(len(names) + 1, -1)
    place[kept] = np.arange(len(kept))
    return place[group], [names[one] for one in kept]


def _one_by_one(adata: AnnData, label: NDArray[np.int64], asked: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The same where each of some cells is a group."""
    if not 0 < len(asked) <= MOST_CELLS:
        refuse("cells", f"{len(asked):,} names", f"1 to {MOST_CELLS:,}", "pass fewer, or leave it out to have means.")
    places = places_of(adata, asked)
    if unknown := [name for name, place in zip(asked, places, strict=True) if label[place] < 0]:
        raise ArgumentError(
            "Some cells have no label to explain.",
            found=some(unknown),
            expected="cells with a label, known to the annotator",
            remedy="leave them out.",
            argument="cells",
        )
    group = np.full(len(label), -1)
    group[places] = np.arange(len(asked))
    return group, asked


def _labels_of(label: NDArray[np.int64], group: NDArray[np.int64], groups: int) -> list[NDArray[np.int64]]:
    """The different labels of each group's cells."""
    return [np.unique(label[group == one]) for one in range(groups)]


def _table(found: Attributions, names: list[str], cells: CellReader, n_genes: int | None) -> pd.DataFrame:
    """The genes of each group that have a share, the largest first."""
    # Of several columns of one gene the first names it.
    first = np.full(len(cells.measured), -1)
    read = np.flatnonzero(cells.columns >= 0)[::-1]
    first[cells.columns[read]] = read
    genes = np.flatnonzero(first >= 0)
    called = cells.var_names.to_numpy()[first[genes]]
    parts = []
    for name, values, expression in zip(names, found.values[:, genes], found.expression[:, genes], strict=True):
        size = np.abs(values).sum()
        kept = np.flatnonzero(np.abs(values) > 1e-9 * size)
        if n_genes is not None:
            kept = kept[np.argsort(-np.abs(values[kept]), kind="stable")[:n_genes]]
        kept = kept[np.argsort(-values[kept], kind="stable")]
        parts.append(
            pd.DataFrame(
                {
                    "group": name,
                    "gene": called[kept],
                    "attribution": values[kept],
                    "expression": expression[kept],
                    "share": values[kept] / max(size, 1e-12),
                    "rank": np.arange(1, len(kept) + 1),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
