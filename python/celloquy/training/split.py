"""Hold out cells for validation."""

from __future__ import annotations

import numpy as np


def hold_out(groups: np.ndarray, share: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the same share of every group; take the last cell of a group only when no other is left.

    Parameters
    ----------
    groups
        Group of each cell, ``(cells,)`` int64, such as its batch and label.
    share
        Share of the cells to hold out.
    random
        Generator of the draw.

    Returns
    -------
    The training cells and the held-out cells, both in random order.
    """
    shuffled = random.permutation(len(groups))
    _, code, sizes = np.unique(groups[shuffled], return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    size = np.repeat(sizes, sizes)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # The share of a group that comes before a cell: cells with a low share are held out, from all groups at the same
    # pace; the last cell of a group comes after all others.
    pace = np.empty(len(order))
    pace[order] = np.where(rank == size - 1, 2.0, (rank + 0.5) / np.maximum(size, 1))
    held = np.zeros(len(order), dtype=bool)
    held[np.argsort(pace, kind="stable")[: round(share * len(groups))]] = True
    return shuffled[~held], shuffled[held]
