"""Bi-level masking: it masks a share of the cells, and in each masked cell its own share of the genes.

Wen et al. 2024, CellPLM, section 3.4. A mask is a rule, not a matrix: a key of the cell and the number of the gene
decide whether an entry is hidden, so any part of the mask can be computed at any time with a few integer operations.
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
    """Shares of the cells and of their genes that masks hide."""

    share: float = 0.75
    """Share of the cells that are masked; at least one is, unless the share is 0."""
    beta: tuple[float, float] = (5.0, 13.0)
    """Parameters of the Beta distribution of a masked cell's share of hidden genes."""
    cap: float = 0.9
    """Largest share of a cell's genes that is hidden."""
    genes: float | None = None
    """Share of every masked cell's genes that is hidden, in place of a drawn one."""


@dataclass(frozen=True, eq=False, slots=True)
class BiLevelMask:
    """The hidden entries of ``n`` cells, zeros included.

    The entry of a cell and a gene is hidden if ``hash(key of the cell, gene)``, uniform over the 32-bit numbers, lies
    below the threshold of the cell. So the mask of a cell does not depend on the other cells.
    """

    key: Tensor
    """``(n,)`` int32, drawn at random for each cell."""
    threshold: Tensor
    """``(n,)`` int32: the lowest number hides nothing of a cell, the highest number hides all."""

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
            Shares of the cells and of their genes that are masked.
        seed
            Seed of the draw, one number or several: the same seed gives the same mask.
        """
        random = np.random.default_rng(seed)
        if masking.genes is None:
            rate = np.minimum(random.beta(*masking.beta, size=n_cells), masking.cap)
        else:
            rate = np.full(n_cells, masking.genes)
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
        """``(n,)`` float64: expected share of the genes of a cell that is hidden."""
        return (self.threshold.double() + 2.0**31) / 2.0**32

    @property
    def masked(self) -> Tensor:
        """``(n,)`` bool: True for cells with a share of hidden genes above 0."""
        return self.threshold > -(2**31)

    def to(self, device: torch.device | str) -> BiLevelMask:
        """Return the mask on another device."""
        return BiLevelMask(self.key.to(device), self.threshold.to(device))

    def select(self, cells: Tensor) -> BiLevelMask:
        """Return the mask of some cells, ``(m,)`` int64, in the given order."""
        return BiLevelMask(self.key[cells], self.threshold[cells])

    def part(self, share: float) -> BiLevelMask:
        """Return the mask that hides a share of what this one hides; of two shares, the larger hides the other's."""
        lowest = -(2**31)
        threshold = ((self.threshold.double() - lowest) * share + lowest).round()
        return BiLevelMask(self.key, threshold.to(torch.int32))

    def numbers(self, cells: Tensor, genes: Tensor, purpose: int) -> Tensor:
        """Return a number from 0 to 1 for each entry, ``(k,)`` float64, uniform; another one for each purpose."""
        key = _hash(self.key[cells] + torch.tensor(purpose, dtype=torch.int32) * SECOND_MULTIPLIER)
        return (_hash(key + genes.to(torch.int32) * GENE_STEP).double() + 2.0**31) / 2.0**32

    def at(self, cells: Tensor, genes: Tensor) -> Tensor:
        """Return whether the entries of cells ``(k,)`` and genes ``(k,)`` are hidden, ``(k,)`` bool."""
        return _hash(self.key[cells] + genes.to(torch.int32) * GENE_STEP) < self.threshold[cells]

    def block(self, start: int, stop: int, genes: int | Tensor) -> Tensor:
        """Return whether the entries of a run of cells are hidden, ``(stop - start, genes)`` bool.

        Parameters
        ----------
        start, stop
            Bounds of the run of cells.
        genes
            Number of genes, counted from the first, or the numbers ``(g,)`` of chosen genes.
        """
        numbers = torch.arange(genes, device=self.key.device) if isinstance(genes, int) else genes
        steps = numbers.to(torch.int32) * GENE_STEP
        return _hash(self.key[start:stop, None] + steps) < self.threshold[start:stop, None]

    def hide(self, batch: CellBatch) -> CellBatch:
        """Return the cells without their hidden counts; the other counts are unchanged."""
        return batch.keep(~self.at(batch.cell_of_count, batch.indices))


def _hash(counter: Tensor) -> Tensor:
    """Hash 32-bit numbers in place: the finaliser of MurmurHash3 without its last step, which changes only low bits."""
    # torch repeats the sign when it shifts signed numbers; the bit masks make the shifts logical.
    counter.bitwise_xor_(counter.bitwise_right_shift(16).bitwise_and_(0xFFFF)).mul_(FIRST_MULTIPLIER)
    return counter.bitwise_xor_(counter.bitwise_right_shift(13).bitwise_and_(0x7FFFF)).mul_(SECOND_MULTIPLIER)
