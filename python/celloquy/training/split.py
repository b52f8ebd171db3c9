"""Which cells are kept for validation."""

from __future__ import annotations

import numpy as np


def hold_out(groups: np.ndarray, share: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw cells to hold out, of every group its share, and a group's last cell only if need be.

    Parameters
    ----------
    groups
        ``(cells,)`` int64: what must be on both sides in proportion, such as the batch and the cell type.
    share
        Of the cells to hold out.
    random
        The source of the draw.

    Returns
    -------
    The cells that are trained on and those that are held out, both in random order.
    """
    shuffled = random.permutation(len(groups))
    _, code, sizes = np.unique(groups[shuffled], return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    size = np.repeat(sizes, sizes)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # How far into its group a cell comes; all groups are gone through at the same pace, their last cells after all.
    pace = np.empty(len(order))
    pace[order] = np.where(rank == size - 1, 2.0, (rank + 0.5) / np.maximum(size, 1))
    held = np.zeros(len(order), dtype=bool)
    held[np.argsort(pace, kind="stable")[: round(share * len(groups))]] = True
    return shuffled[~held], shuffled[held]
