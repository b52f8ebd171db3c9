"""The median of every gene's counts where it is expressed, of any number of cells in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celloquy.models.genecompass.tokens import HUMAN, MOUSE, USUAL_DEPTH

if TYPE_CHECKING:
    from celloquy.data import CellBatch

DROPPED_BITS = 15
"""Bits of a float32 count that are rounded off: to one in 512, and counts up to 512 not at all."""


class GeneMedians:
    """Counts how often each gene has each count, and so needs memory for the different counts alone.

    Parameters
    ----------
    genes
        Number of genes.
    scaled
        Scale the counts of a cell to a sum of 10,000 first.
    """

    def __init__(self, genes: int, *, scaled: bool = False) -> None:
        self._genes, self._scaled = genes, scaled
        self._keys, self._times = np.empty(0, np.int64), np.empty(0, np.int64)

    def add(self, cells: CellBatch) -> None:
        """Take up the counts of some cells, on a CPU."""
        counts = cells.values
        if self._scaled:
            depth = cells.library_size().double()
            counts = (counts.double() * (USUAL_DEPTH / depth)[cells.cell_of_count]).float()
        # Positive numbers are ordered as their bits are. Gene and rounded count are one number.
        bits = (
            counts.contiguous().view(torch.int32).numpy().astype(np.int64) + (1 << (DROPPED_BITS - 1))
        ) >> DROPPED_BITS
        keys, times = np.unique((cells.indices.numpy().astype(np.int64) << 32) | bits, return_counts=True)
        self._keys, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        together = np.concatenate([self._times, times])
        self._times = np.bincount(place, together, minlength=len(self._keys)).astype(np.int64)

    @property
    def cells(self) -> Tensor:
        """Number of cells that express each gene, ``(genes,)`` float64."""
        return torch.from_numpy(np.bincount(self._keys >> 32, self._times, minlength=self._genes))

    def medians(self) -> Tensor:
        """Return the medians, ``(genes,)`` float64; 0 where a gene is never expressed."""
        until = np.cumsum(self._times)
        counts = ((self._keys & (2**32 - 1)) << DROPPED_BITS).astype(np.int32).view(np.float32)
        total = self.cells.numpy().astype(np.int64)
        first = np.cumsum(total) - total
        known = total > 0

        def value(rank: NDArray[np.int64]) -> NDArray[np.float64]:
            place = np.searchsorted(until, (first + rank)[known], "right")
            return counts[place].astype(np.float64)

        found = np.zeros(self._genes)
        found[known] = (value((total - 1) // 2) + value(total // 2)) / 2
        return torch.from_numpy(found)


def medians_of(
    cells: Iterable[CellBatch], species_of: Callable[[CellBatch], Tensor], genes: int, *, scaled: bool
) -> tuple[Tensor, Tensor]:
    """Return medians of the cells of each species ``(2, genes)``, and how many cells express each gene ``(genes,)``.

    Parameters
    ----------
    cells
        Cells, some at a time.
    species_of
        Function that tells the species of each.
    genes, scaled
        See :class:`GeneMedians`.
    """
    seen = [GeneMedians(genes, scaled=scaled) for _ in (HUMAN, MOUSE)]
    for some in cells:
        part = some.to("cpu")
        species = species_of(part)
        for kind, one in enumerate(seen):
            one.add(part.select(torch.nonzero(species == kind)[:, 0]))
    return torch.stack([one.medians() for one in seen]), torch.stack([one.cells for one in seen]).sum(0)
