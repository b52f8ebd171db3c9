"""The nearest cells: in the latent, or in the tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CANDIDATES = 20_000
"""Largest number of cells of a group among which neighbours are searched; a sample of this size stands for a larger
group, so that the time is linear in the number of cells. In a tissue, all cells are searched."""


def neighbour_means(points: NDArray[np.float32], groups: NDArray[np.int64], n_neighbors: int) -> sparse.csr_matrix:
    """Return the matrix ``(n, n)`` that averages over the nearest other cells of the same group.

    Parameters
    ----------
    points
        Places of the cells, ``(n, dimensions)``; a cell with a NaN has no neighbours and is no neighbour.
    groups
        Group of each cell, ``(n,)``.
    n_neighbors
        Number of neighbours of a cell; fewer in a smaller group. A cell without neighbours has an empty row.
    """
    rows, columns = [], []
    known = ~np.isnan(points).any(axis=1)
    for group in np.unique(groups[known]):
        cells = np.flatnonzero((groups == group) & known)
        number = min(n_neighbors, len(cells) - 1)
        if number < 1:
            continue
        candidates = cells
        if len(cells) > CANDIDATES and points.shape[1] > 2:
            candidates = np.sort(np.random.default_rng(0).choice(cells, CANDIDATES, replace=False))
        nearest = candidates[nearest_of(points[candidates], points[cells], number + 1)]
        # Of cells at one point any may come first, so each leaves itself out or, if it is not among them, the last.
        own = nearest == cells[:, None]
        own[~own.any(axis=1), -1] = True
        rows.append(np.repeat(cells, number))
        columns.append(nearest[~own])
    row = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    column = np.concatenate([np.empty(0, dtype=np.int64), *columns])
    share = 1 / np.maximum(np.bincount(row, minlength=len(points)), 1)
    return sparse.csr_matrix((share[row], (row, column)), shape=(len(points), len(points)))


def nearest_of(points: NDArray[np.floating], queries: NDArray[np.floating], number: int) -> NDArray[np.int64]:
    """Return the nearest points of every query, ``(queries, number)``, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    found: NDArray[np.int64] = NearestNeighbors(n_neighbors=number).fit(points).kneighbors(queries)[1]
    return found
