"""Averages over the neighbourhoods of a tissue, whose size the cells themselves decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.errors import ArgumentError

SIZES = (4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sizes of a neighbourhood, in cells, of which one is chosen."""
PREDICTED = 20_000
"""Largest number of cells that are predicted from their neighbours to choose the size."""
BLOCK = 20_000
"""Cells whose neighbours are found at a time."""


def tissue_cells(
    positions: NDArray[np.float64], tissue: NDArray[np.int64], names: list[str], n_neighbors: int | None
) -> list[NDArray[np.int64]]:
    """Return the places of the cells of each tissue, each of which has neighbourhoods.

    Parameters
    ----------
    positions
        ``(n, 2)``.
    tissue
        ``(n,)``: code of each cell's tissue.
    names
        Names of the tissues; empty if all cells are of one.
    n_neighbors
        Size of a neighbourhood, if the user gave one.

    Raises
    ------
    ArgumentError
        If a cell has no position, or a tissue too few cells or all of them at one place.
    """
    if lost := int(np.isnan(positions).any(axis=1).sum()):
        raise ArgumentError(
            "Some cells have no position.",
            found=f"{lost:,} of {len(positions):,} cells with a missing coordinate",
            expected="the coordinates of every cell, because a niche is what surrounds a cell",
            remedy="leave these cells out.",
            argument="spatial_key",
        )
    least = (n_neighbors or SIZES[0]) + 2
    parts = []
    for code in np.unique(tissue):
        cells = np.flatnonzero(tissue == code)
        name = f"Tissue {names[code]!r}" if names else "The tissue"
        if len(cells) < least:
            raise ArgumentError(
                f"{name} has fewer cells than a neighbourhood.",
                found=f"{len(cells):,} cells",
                expected=f"at least {least:,} cells in every tissue",
                remedy="pass a smaller `n_neighbors`, or leave this tissue out."
                if n_neighbors and n_neighbors > SIZES[0]
                else "leave this tissue out.",
                argument="n_neighbors" if n_neighbors else "tissue_key",
            )
        if not np.ptp(positions[cells], axis=0).any():
            raise ArgumentError(
                f"{name} has no extent.",
                found=f"{len(cells):,} cells at one place",
                expected="the coordinates of every cell",
                remedy="check the step that made the positions.",
                argument="spatial_key",
            )
        parts.append(cells)
    if not parts:
        raise ArgumentError(
            "There are no cells.", found="an object of 0 cells", expected=f"at least {least:,} cells",
            remedy="pass an object with cells.", argument="adata",
        )  # fmt: skip
    return parts


def best_size(cells: NDArray[np.float32], positions: NDArray[np.float64], parts: list[NDArray[np.int64]]) -> int:
    """Return the size of the neighbourhood from which a cell is predicted best by the others in it.

    A mean over more cells has less noise, and over fewer less of other regions: where cells of many kinds mix the size
    is large, where spots are means of cells already it is small.

    Parameters
    ----------
    cells
        Embedding, ``(n, width)``.
    positions
        ``(n, 2)``.
    parts
        Places of the cells of each tissue.
    """
    fit = [size for size in SIZES if size + 2 <= min(map(len, parts))]
    error = dict.fromkeys(fit, 0.0)
    step = -(-len(cells) // PREDICTED)
    for part in parts:
        # The same cells in whatever order they come.
        asked = np.argsort(cells[part, 0], kind="stable")[::step]
        mean = cells[part].mean(axis=0)
        for rows, weigh in _neighbours(positions[part], asked, fit[-1]):
            for size in fit:
                weights = weigh(size, own=False)
                total = np.asarray(weights.sum(axis=1))
                found = np.where(total > 0, (weights @ cells[part]) / np.maximum(total, 1e-12), mean)
                error[size] += float(((cells[part[rows]] - found) ** 2).sum())
    return min(fit, key=error.__getitem__)


def averaged(
    cells: NDArray[np.float32], positions: NDArray[np.float64], parts: list[NDArray[np.int64]], n_neighbors: int
) -> NDArray[np.float32]:
    """Return the mean of every cell's neighbourhood, ``(n, width)``, itself included.

    Averaged twice over half of the neighbours, near cells count for more than far ones, as under a bell.

    Parameters
    ----------
    cells
        Embedding, ``(n, width)``.
    positions
        ``(n, 2)``.
    parts
        Places of the cells of each tissue, which are never mixed.
    n_neighbors
        Size of a neighbourhood.
    """
    half = max(1, round(n_neighbors / 2))
    result = np.empty_like(cells)
    for part in parts:
        blocks = [weigh(half, own=True) for _, weigh in _neighbours(positions[part], np.arange(len(part)), half)]
        weights = sparse.vstack(blocks, format="csr")
        weights = sparse.diags_array((1 / np.asarray(weights.sum(axis=1)).ravel()).astype(np.float32)) @ weights
        result[part] = weights @ (weights @ cells[part])
    return result


def scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors ``(n, width)`` in such a unit that their total variance is 1."""
    spread = float(np.sqrt(vectors.var(axis=0, dtype=np.float64).sum()))
    return vectors / np.float32(spread or 1.0)


def _neighbours(
    positions: NDArray[np.float64], asked: NDArray[np.int64], largest: int
) -> Iterator[tuple[NDArray[np.int64], Callable[..., sparse.csr_matrix]]]:
    """Yield runs of the cells asked for, and what returns the weights of their neighbours, ``(run, n)``, for a size.

    Weights fall with the squared distance, to 0 at a radius in which evenly spread cells would be as many as the size.
    It is a mean over the nearest cells, so on a grid, where many are as far, it does not hang on which come first.
    """
    from scipy.spatial import KDTree

    tree = KDTree(positions)
    reach = min(2 * largest + 8, len(positions))
    for start in range(0, len(asked), BLOCK):
        rows = asked[start : start + BLOCK]
        distance, found = tree.query(positions[rows], k=reach)
        squared, place = np.asarray(distance) ** 2, np.asarray(found, dtype=np.int64)

        def weigh(
            size: int, *, own: bool, rows: NDArray[np.int64] = rows, squared: NDArray[np.float64] = squared,
            place: NDArray[np.int64] = place,
        ) -> sparse.csr_matrix:  # fmt: skip
            radius = 2 * squared[:, 1 : size + 1].mean(axis=1, keepdims=True)
            # Cells at one place have no radius, and are all as near.
            share = np.where(radius > 0, squared / np.where(radius > 0, radius, 1), squared > 0)
            weight = np.clip(1 - share, 0, None)
            if not own:
                weight[place == rows[:, None]] = 0
            row = np.repeat(np.arange(len(rows)), place.shape[1])
            weights = sparse.csr_matrix(
                (weight.ravel().astype(np.float32), (row, place.ravel())), shape=(len(rows), len(positions))
            )
            weights.eliminate_zeros()
            return weights

        yield rows, weigh
