"""How far the vectors of the other genes move when genes are changed: means over the cells that read both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.gene_reading import labels_of
from celloquy.tasks.perturbation.changes import Changer, GeneChange
from celloquy.tasks.perturbation.matched import LEAST_MATCHED, MatchedGenes, false_discovery, random_changes
from celloquy.tasks.perturbation.sample import SampledCells, grouped_table

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.data.changes import CountChange


NUMBERS = 4_000_000
"""Sums by change, group and gene that are kept at a time, of each kind."""


class ShiftsGenes(Protocol):
    """A model that reads changed counts, and describes genes."""

    def gene_shifts_in(
        self, batch: CellBatch, changes: Iterable[CountChange]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Yield change, cell, row of the vocabulary, 1 - cosine and distance of the vectors before and after."""


def affected_genes(
    cells: SampledCells, changes: Sequence[GeneChange], matched: MatchedGenes, *, progress: bool
) -> pd.DataFrame:
    """Return the table of the other genes that changes affect; see :func:`celloquy.perturb`.

    In memory are, at a time, numbers for some changes, each group and each gene that is measured.
    """
    label = labels_of(cells.genes).to_numpy()
    tables = []
    random = [random_changes(matched, change) for change in changes]
    total = len(cells.batch) * sum(1 + len(one) for one in random)
    with ProgressBar(total=total, desc="Changing genes", unit=" cells", unit_scale=True, disable=not progress) as bar:
        for change, others in zip(changes, random, strict=True):
            cosine, euclidean, times = (one[0] for one in _mean_shifts(cells, [change], bar))
            level, spread, drawn = _of_random(cells, others, bar)
            there = times > 0
            there[:, list(change.places)] = False
            for group in range(cells.n_groups):
                genes = np.flatnonzero(there[group])
                z, p = _standing_out(cosine, level, spread, drawn, group, genes)
                table = pd.DataFrame({
                    "group": cells.names[group] if cells.names else "",
                    "gene": "+".join(label[list(change.places)]),
                    "affected": label[genes],
                    "shift_cosine": cosine[group, genes],
                    "shift_euclidean": euclidean[group, genes],
                    "z": z, "p": p, "q": false_discovery(p),
                    "n_cells": times[group, genes],
                })  # fmt: skip
                tables.append(table.sort_values("shift_cosine", ascending=False, kind="stable"))
    return grouped_table(pd.concat(tables, ignore_index=True), cells)


def _mean_shifts(
    cells: SampledCells, changes: Sequence[GeneChange], bar: ProgressBar
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean cosine and Euclidean shift, and number of cells, by change, group and measured gene, ``(c, k, g)`` each."""
    changer, model = Changer(cells), cast("ShiftsGenes", cells.model)
    shape = (len(changes), cells.n_groups, len(cells.rows))
    place_of = torch.full((cells.batch.n_genes,), -1)
    place_of[torch.from_numpy(cells.rows)] = torch.arange(shape[2])
    sums = torch.zeros(2, int(np.prod(shape)), dtype=torch.float64)
    times = torch.zeros(sums.shape[1], dtype=torch.int64)
    for numbers, part in cells.parts():
        for change, cell, row, cosine, euclidean in model.gene_shifts_in(part, changer.made(changes, numbers)):
            into = (change * shape[1] + cells.group[numbers[cell]]) * shape[2] + place_of[row]
            sums[0].index_add_(0, into, cosine.double().cpu())
            sums[1].index_add_(0, into, euclidean.double().cpu())
            times.index_add_(0, into, torch.ones_like(into))
        bar.update(len(part) * len(changes))
    means = (sums / times.clamp(min=1)).unflatten(1, shape).numpy()
    return means[0], means[1], times.unflatten(0, shape).numpy()


def _of_random(
    cells: SampledCells, changes: Sequence[GeneChange], bar: ProgressBar
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of the log shifts that random changes cause, and how many, ``(k, g)`` each."""
    shape = (cells.n_groups, len(cells.rows))
    mean, square, drawn = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    # The model prepares to read cells once for all changes that it is given together.
    together = max(1, NUMBERS // max(1, mean.size))
    for start in range(0, len(changes), together):
        some = changes[start : start + together]
        shifts, _, times = _mean_shifts(cells, some, bar)
        for change, cosine, reached in zip(some, shifts, times, strict=True):
            there = (reached > 0) & (cosine > 0)
            there[:, list(change.places)] = False
            # Welford's update, of the genes that are read beside this one.
            drawn += there
            step = np.where(there, np.log(np.where(there, cosine, 1.0)) - mean, 0.0)
            mean += step / np.maximum(drawn, 1)
            square += step**2 * np.where(drawn > 0, (drawn - 1) / np.maximum(drawn, 1), 0.0)
    return mean, np.sqrt(square / np.maximum(drawn - 1, 1)), drawn


def _standing_out(
    cosine: np.ndarray, level: np.ndarray, spread: np.ndarray, drawn: np.ndarray, group: int, genes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Z and p of the log shifts of some genes in a group; NaN and 1 where too few random changes reached them."""
    value, mean, deviation = cosine[group, genes], level[group, genes], spread[group, genes]
    n = drawn[group, genes]
    good = (value > 0) & (n >= LEAST_MATCHED) & (deviation > 1e-12)
    z = np.full(len(genes), np.nan)
    z[good] = (np.log(value[good]) - mean[good]) / deviation[good]
    p = np.ones(len(genes))
    p[good] = stats.t.sf(z[good] / np.sqrt(1 + 1 / n[good]), n[good] - 1)
    return z, p
