"""Bi-level masking: a share of the cells, and in each of them a share of the genes of its own.

Wen et al. 2024, CellPLM, section 3.4. A mask is a rule, not a matrix: whether an entry is hidden follows from a key of
the cell and the number of the gene, so any part of it can be had at any time at the cost of a few integer operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from celloquy.data import CellBatch

# Steps between genes on the circle of 32-bit numbers: 2³² over the golden ratio, so that neighbours lie far apart.
GENE_STEP = -1640531527
# The multipliers of MurmurHash3's finaliser.
FIRST_MULTIPLIER, SECOND_MULTIPLIER = -2048144789, -1028477387


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """How masks are drawn."""

    share: float = 0.75
    """Share of the cells that are masked; at least one is, unless the share is 0."""
    beta: tuple[float, float] = (5.0, 13.0)
    """Parameters of the Beta distribution of a masked cell's share of hidden genes."""
    cap: float = 0.9
    """Largest share of a cell's genes that is hidden."""


@dataclass(frozen=True, eq=False, slots=True)
class BiLevelMask:
    """Which entries of ``n`` cells are hidden, zeros included.

    The entry of a cell and a gene is hidden where ``hash(key of the cell, gene)``, uniform over the 32-bit numbers,
    lies below the cell's threshold. So a cell's mask does not depend on the other cells.
    """

    key: Tensor
    """``(n,)`` int32, drawn at random for each cell."""
    threshold: Tensor
    """``(n,)`` int32: the lowest number for a cell with nothing hidden, the highest for one with all hidden."""

    @staticmethod
    def draw(
        n_cells: int, masking: Masking = Masking(), *, seed: int | Sequence[int] | np.random.Generator
    ) -> BiLevelMask:
        """Draw a mask.

        Parameters
        ----------
        n_cells
            Number of cells.
        masking
            How many cells are masked, and how much of them.
        seed
            The same seed, or several numbers as one, gives the same mask.
        """
        random = np.random.default_rng(seed)
        rate = np.minimum(random.beta(*masking.beta, size=n_cells), masking.cap)
        masked = max(round(masking.share * n_cells), int(masking.share > 0))
        rate[random.permutation(n_cells)[masked:]] = 0
        return BiLevelMask.with_rates(torch.from_numpy(rate), seed=random)

    @staticmethod
    def with_rates(rate: Tensor, *, seed: int | Sequence[int] | np.random.Generator) -> BiLevelMask:
        """Draw a mask that hides a given share of each cell's genes, ``(n,)``."""
        lowest, highest = -(2**31), 2**31 - 1
        key = np.random.default_rng(seed).integers(lowest, highest, size=len(rate), dtype=np.int32, endpoint=True)
        threshold = (rate.double() * 2.0**32 + lowest).round().clamp(lowest, highest)
        return BiLevelMask(torch.from_numpy(key), threshold.to(torch.int32))

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.key)

    @property
    def rate(self) -> Tensor:
        """``(n,)`` float64: share of a cell's genes that is hidden, in expectation."""
        return (self.threshold.double() + 2.0**31) / 2.0**32

    @property
    def masked(self) -> Tensor:
        """``(n,)`` bool: cells of which something may be hidden."""
        return self.threshold > -(2**31)

    def to(self, device: torch.device | str) -> BiLevelMask:
        """Return the mask on another device."""
        return BiLevelMask(self.key.to(device), self.threshold.to(device))

    def select(self, cells: Tensor) -> BiLevelMask:
        """Return the mask of some cells, ``(m,)`` int64, in the order asked for."""
        return BiLevelMask(self.key[cells], self.threshold[cells])

    def at(self, cells: Tensor, genes: Tensor) -> Tensor:
        """Return whether the entries of cells ``(k,)`` and genes ``(k,)`` are hidden, ``(k,)`` bool."""
        return _hash(self.key[cells] + genes.to(torch.int32) * GENE_STEP) < self.threshold[cells]

    def block(self, start: int, stop: int, genes: int | Tensor) -> Tensor:
        """Return whether the entries of a run of cells are hidden, ``(stop - start, genes)`` bool.

        Parameters
        ----------
        start, stop
            The run of cells.
        genes
            The number of genes, or the numbers ``(g,)`` of the genes wanted.
        """
        numbers = torch.arange(genes, device=self.key.device) if isinstance(genes, int) else genes
        steps = numbers.to(torch.int32) * GENE_STEP
        return _hash(self.key[start:stop, None] + steps) < self.threshold[start:stop, None]

    def hide(self, batch: CellBatch) -> CellBatch:
        """Return the cells without their hidden counts; the other counts stay as they are."""
        return batch.keep(~self.at(batch.cell_of_count, batch.indices))


def _hash(counter: Tensor) -> Tensor:
    """Scramble 32-bit numbers in place: MurmurHash3's finaliser but for its last step, which mends low bits only."""
    # torch shifts signed numbers with their sign; the masks make the shifts logical.
    counter.bitwise_xor_(counter.bitwise_right_shift(16).bitwise_and_(0xFFFF)).mul_(FIRST_MULTIPLIER)
    return counter.bitwise_xor_(counter.bitwise_right_shift(13).bitwise_and_(0x7FFFF)).mul_(SECOND_MULTIPLIER)
