"""What is done to the genes of cells: deleted, overexpressed, or their counts multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.checks import refuse
from celloquy.data.changes import CountChange
from celloquy.tasks.perturbation.sample import DEPTH, SampledCells

How = Literal["delete", "overexpress"] | float
"""What is done to a gene."""

HIGH = 0.99
"""Quantile of the counts per 10,000 of a gene, among the cells that express it, to which it is overexpressed."""


@dataclass(frozen=True, slots=True)
class GeneChange:
    """Genes that are changed together."""

    places: tuple[int, ...]
    """Places among the genes that the cells measure, each once."""
    how: tuple[How, ...]
    """What is done to each of them."""


def check_how(how: object) -> How:
    """Check what is to be done to a gene, and return it.

    Raises
    ------
    ArgumentError
        If it is neither ``"delete"``, ``"overexpress"`` nor a factor of at least 0.
    """
    if how == "delete" or how == "overexpress":
        return how
    factor = float("nan") if isinstance(how, bool) or not isinstance(how, Real) else float(how)
    if not 0 <= factor < np.inf:
        refuse(
            "how", how, "'delete', 'overexpress', or a factor of at least 0 by which counts are multiplied",
            "pass one of these.",
        )  # fmt: skip
    return factor


def direction_of(how: How) -> Literal["up", "down"]:
    """Return whether a change gives a cell more of a gene or less."""
    return "up" if how == "overexpress" or (how != "delete" and how > 1) else "down"


class Changer:
    """Makes the counts of changes in cells."""

    def __init__(self, cells: SampledCells) -> None:
        self._cells = cells
        self._counts = cells.batch.to_csr()[:, cells.rows].tocsc()
        self._depth = cells.batch.library_size().double()
        self._rows = torch.from_numpy(cells.rows)
        self._high: dict[int, float] = {}

    def high(self, place: int) -> float:
        """Return the counts per 10,000 to which a gene is overexpressed; 0 if no cell expresses it."""
        if place not in self._high:
            scaled = self._cells.scaled
            own = scaled.data[scaled.indptr[place] : scaled.indptr[place + 1]]
            self._high[place] = float(np.quantile(own[own > 0], HIGH)) if (own > 0).any() else 0.0
        return self._high[place]

    def made(self, changes: Sequence[GeneChange], numbers: Tensor) -> Iterator[CountChange]:
        """Yield changes as counts in some cells, whose numbers follow one another."""
        first, last = int(numbers[0]), int(numbers[-1]) + 1
        for change in changes:
            before = torch.from_numpy(np.stack([self._own(place, first, last) for place in change.places], 1))
            after = torch.stack(
                [
                    self._after(before[:, number], place, how, first, last)
                    for number, (place, how) in enumerate(zip(change.places, change.how, strict=True))
                ],
                1,
            )
            yield CountChange(self._rows[list(change.places)], before, after)

    def _own(self, place: int, first: int, last: int) -> np.ndarray:
        """Counts of a gene in a run of cells."""
        held = slice(self._counts.indptr[place], self._counts.indptr[place + 1])
        cells, values = self._counts.indices[held], self._counts.data[held]
        inside = (cells >= first) & (cells < last)
        found = np.zeros(last - first, dtype=np.float32)
        found[cells[inside] - first] = values[inside]
        return found

    def _after(self, before: Tensor, place: int, how: How, first: int, last: int) -> Tensor:
        if how == "delete":
            return torch.zeros_like(before)
        if how == "overexpress":
            high = (self.high(place) / DEPTH * self._depth[first:last]).float()
            return torch.maximum(before, high)
        return before * how
