"""Distances between the cells of a tissue, in intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celloquy.checks import check_number, listed, refuse
from celloquy.data.neighbours import nearest_of
from celloquy.errors import ArgumentError

UNKNOWN = "no position"
"""Name of the interval of cells of which one has no position."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """Positions, and the intervals in which distances between them are counted."""

    positions: NDArray[np.float64]
    """``(cells, 2)``, NaN where unknown."""
    edges: NDArray[np.float64]
    """Where one interval ends and the next begins, rising."""

    @property
    def names(self) -> list[str]:
        """Names of the intervals, the nearest first; the last one is that of unknown distances."""
        low, high = ["0", *(f"{edge:g}" for edge in self.edges)], [f"{edge:g}" for edge in self.edges]
        between = [f"{a} to {b}" for a, b in zip(low, high, strict=False)]
        return [*between, f"from {low[-1]}", UNKNOWN]

    @property
    def ends(self) -> NDArray[np.float64]:
        """Where each interval ends."""
        return np.array([*self.edges, np.inf, np.nan])

    def between(
        self, asked: NDArray[np.int64], others: NDArray[np.int64], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Return the interval of each asked cell with each other cell, and the distance, ``(a, n)``."""
        # Seen from the middle of the tissue, so that float32 is exact enough.
        known = ~np.isnan(self.positions[others]).any(axis=1)
        middle = self.positions[others][known].mean(axis=0) if known.any() else 0
        one, other = (
            torch.from_numpy((self.positions[cells] - middle).astype(np.float32)).to(device)
            for cells in (asked, others)
        )
        distance = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
        edges = torch.from_numpy(self.edges.astype(np.float32)).to(device)
        interval = torch.bucketize(distance, edges, right=True)
        return interval.masked_fill(distance.isnan(), len(edges) + 1), distance


def intervals_of(
    positions: NDArray[np.float64], tissues: list[NDArray[np.int64]], distances: Iterable[float] | None
) -> Intervals:
    """Return the intervals of distances.

    Parameters
    ----------
    positions
        ``(cells, 2)``.
    tissues
        Cells of each tissue.
    distances
        Where intervals end, as the user gave them. By default they double from twice the median distance of a cell to
        the nearest other place of its tissue, as far as the tissues reach.

    Raises
    ------
    ArgumentError
        If these are no rising numbers, or no two cells of a tissue lie at different places.
    """
    if distances is not None:
        edges = listed(distances)
        for edge in edges:
            check_number("distances", edge, exclude_least=True, most=1e30)
        if not edges or any(a >= b for a, b in pairwise(edges)):
            refuse("distances", edges, "numbers that rise, such as [50, 100, 200]")
        return Intervals(positions, np.array(edges, dtype=np.float64))
    nearest, reach = [], 0.0
    for cells in tissues:
        places = positions[cells]
        places = np.unique(places[~np.isnan(places).any(axis=1)], axis=0)
        if len(places) > 1:
            closest = nearest_of(places, places, 2)[:, 1]
            nearest.append(np.linalg.norm(places - places[closest], axis=1))
            reach = max(reach, float(np.linalg.norm(np.ptp(places, axis=0))))
    if not nearest:
        raise ArgumentError(
            "No tissue has an extent.",
            found="no tissue with cells at two places",
            expected="the coordinates of the cells",
            remedy="check the step that made the positions, or leave `spatial_key` out.",
            argument="spatial_key",
        )
    first = float(f"{2 * np.median(np.concatenate(nearest)):.3g}")
    number = max(1, int(np.ceil(np.log2(reach / first))))
    return Intervals(positions, np.asarray(first * 2.0 ** np.arange(number), dtype=np.float64))
