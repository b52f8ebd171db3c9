"""Which cells are nearest: in the latent, or in the tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CANDIDATES = 20_000
"""Cells of a group among which neighbours are searched for; of a larger group so many are drawn, so that the time is
linear in the cells. In a tissue, all are searched."""


def neighbour_means(points: NDArray[np.float32], groups: NDArray[np.int64], neighbours: int) -> sparse.csr_matrix:
    """Return the matrix ``(n, n)`` that averages over the nearest other cells of the same group.

    Parameters
    ----------
    points
        ``(n, dimensions)``; a cell with a NaN has no neighbours and is nobody's.
    groups
        ``(n,)``.
    neighbours
        How many; fewer in a group that has no more cells. The row of a cell without any is empty.
    """
    rows, columns = [], []
    known = ~np.isnan(points).any(axis=1)
    for group in np.unique(groups[known]):
        cells = np.flatnonzero((groups == group) & known)
        number = min(neighbours, len(cells) - 1)
        if number < 1:
            continue
        candidates = cells
        if len(cells) > CANDIDATES and points.shape[1] > 2:
            candidates = np.sort(np.random.default_rng(0).choice(cells, CANDIDATES, replace=False))
        nearest = candidates[nearest_of(points[candidates], points[cells], number + 1)]
        # Of cells that lie on one spot any can come first: each leaves itself out, or the last.
        own = nearest == cells[:, None]
        own[~own.any(axis=1), -1] = True
        rows.append(np.repeat(cells, number))
        columns.append(nearest[~own])
    row = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    column = np.concatenate([np.empty(0, dtype=np.int64), *columns])
    share = 1 / np.maximum(np.bincount(row, minlength=len(points)), 1)
    return sparse.csr_matrix((share[row], (row, column)), shape=(len(points), len(points)))


def nearest_of(points: NDArray[np.float32], queries: NDArray[np.float32], number: int) -> NDArray[np.int64]:
    """Return the nearest points of every query, ``(queries, number)``, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    found: NDArray[np.int64] = NearestNeighbors(n_neighbors=number).fit(points).kneighbors(queries)[1]
    return found
