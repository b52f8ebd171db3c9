"""Correlations of regulators with one another and with targets, from which the linear scores are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from celloquy.runtime.arrays import runs

Array = NDArray[np.float64]

_TARGETS = 512


@dataclass(frozen=True, eq=False)
class Moments:
    """Correlations in one group of cells; those of a gene that does not vary are 0."""

    cells: int
    """Number of cells."""
    among: Array
    """``(regulators, regulators)``: correlations of the regulators, 1 on the diagonal."""
    across: Array
    """``(regulators, targets)``: correlations of regulators with targets."""
    own: NDArray[np.int64]
    """``(targets,)``: place of a target among the regulators, or -1."""


def moments(
    values: sparse.csc_matrix, regulators: NDArray[np.int64], targets: NDArray[np.int64], *, ranks: bool = False
) -> Moments:
    """Return the correlations, of which no more than 512 targets are dense at a time.

    Parameters
    ----------
    values
        ``(cells, genes)``: expression.
    regulators, targets
        Columns of either.
    ranks
        True takes the ranks of the cells (Spearman), False the values (Pearson).
    """
    first = _standardised(values, regulators, ranks=ranks)
    cells = values.shape[0]
    across = np.empty((len(regulators), len(targets)))
    for part in runs(0, len(targets), _TARGETS):
        across[:, part] = first.T @ _standardised(values, targets[part], ranks=ranks) / cells
    among = first.T @ first / cells
    np.fill_diagonal(among, 1)
    place = np.full(values.shape[1], -1, dtype=np.int64)
    place[regulators] = np.arange(len(regulators))
    return Moments(cells, among, across.clip(-1, 1), place[targets])


def _standardised(values: sparse.csc_matrix, columns: NDArray[np.int64], *, ranks: bool) -> Array:
    """Return columns with mean 0 and variance 1, or 0 where all values are the same."""
    dense = values[:, columns].toarray().astype(np.float64)
    if ranks:
        dense = rankdata(dense, axis=0)
    dense -= dense.mean(0)
    spread = np.sqrt(np.square(dense).mean(0))
    return dense / np.where(spread > 1e-9, spread, np.inf)
