"""What is measured in a training: means of figures over cells, and the time in which the model waits for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

Item = TypeVar("Item")


class Means:
    """Means of figures over the cells of many minibatches."""

    def __init__(self, totals: Mapping[str, float] | None = None, n_cells: int = 0) -> None:
        self.totals, self.n_cells = dict(totals or {}), n_cells

    def add(self, figures: Mapping[str, Tensor], n_cells: int) -> None:
        """Add the means of a minibatch."""
        for name, mean in figures.items():
            self.totals[name] = self.totals.get(name, 0.0) + mean.detach().double().item() * n_cells
        self.n_cells += n_cells

    def of_all(self, fabric: Fabric) -> Means:
        """Return the means over the cells of all processes."""
        if fabric.world_size == 1:
            return self
        # Objects, because a process may have had no cells and know no figures.
        found: list[tuple[dict[str, float], int]] = [({}, 0)] * fabric.world_size
        torch.distributed.all_gather_object(found, (self.totals, self.n_cells))
        names = dict.fromkeys(name for totals, _ in found for name in totals)
        summed = {name: sum(totals.get(name, 0.0) for totals, _ in found) for name in names}
        return Means(summed, sum(n_cells for _, n_cells in found))

    def means(self) -> dict[str, float]:
        """Return the means."""
        return {name: total / self.n_cells for name, total in self.totals.items()}


class Waiting(Generic[Item]):
    """An iterator that measures the share of time in which its items are waited for."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items, self._began, self._waited = items, time.perf_counter(), 0.0

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        began = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self._waited += time.perf_counter() - began

    @property
    def share(self) -> float:
        """Share of the time since the start, from 0 to 1."""
        return self._waited / max(time.perf_counter() - self._began, 1e-9)
