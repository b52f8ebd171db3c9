"""Learn from a panel and from a reference that measured more genes: both are seen through the genes that they share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.models import CellModel
from celloquy.training.objective import MaskedCells, MaskedCounts
from celloquy.training.sentences import Sentence

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.nn.masking import BiLevelMask

DEPTH = 1000.0
"""Counts that the shared genes of a cell are scaled to: panel and reference differ in depth, often tenfold."""


class PanelCounts(MaskedCounts):
    """The loss on masked cells of a panel and of its reference, see :class:`MaskedCounts`.

    The encoder sees the shared genes alone, at one depth, so that a cell of the panel and one of the reference look
    alike; the decoder predicts every gene that the cell's source measured.

    Parameters
    ----------
    model
        The model to train.
    shared
        ``(genes,)`` bool, the genes that are seen.
    precision
        In which its matrix products run.
    mixing
        See :class:`MaskedCounts`.
    """

    def __init__(
        self,
        model: CellModel,
        shared: Tensor,
        precision: Literal["float32", "bfloat16"] = "float32",
        *,
        mixing: float = 0.0,
    ) -> None:
        super().__init__(model, precision, mixing=mixing)
        self.register_buffer("shared", shared, persistent=False)

    def seen(self, batch: CellBatch, mask: BiLevelMask) -> CellBatch:
        """Return the shared genes that the mask leaves, at one depth."""
        # The hidden share is that expected: the true one would tell of hidden counts.
        return see(mask.hide(batch), self.shared, 1 - mask.rate)  # type: ignore[arg-type]


class PanelExamples(MaskedCells):
    """The cells of a panel and of its reference, some of both in every step, so that they are learned as one."""

    def _sentences(self, cells: np.ndarray, random: np.random.Generator) -> list[list[Sentence]]:
        steps = np.array_split(random.permutation(cells), -(-len(cells) // self._longest))
        return [[step[self._tissue[step] == one] for one in np.unique(self._tissue[step])] for step in steps]


def see(batch: CellBatch, genes: Tensor, share: Tensor | float = 1.0) -> CellBatch:
    """Return cells with some of their genes, at one depth.

    Parameters
    ----------
    batch
        The cells.
    genes
        ``(genes,)`` bool, those that are kept.
    share
        ``(n,)``, share of them that was not hidden: a cell is scaled to this share of the depth.
    """
    kept = only(batch, genes)
    scale = DEPTH * torch.as_tensor(share, device=kept.values.device) / kept.library_size().clamp(min=1e-6)
    return replace(kept, values=kept.values * scale.to(kept.values)[kept.cell_of_count])


def only(batch: CellBatch, genes: Tensor) -> CellBatch:
    """Return cells as if some genes ``(genes,)`` bool alone had been measured."""
    kept = genes[batch.indices.long()]
    before = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.cumsum(0)])
    return replace(
        batch,
        indptr=before[batch.indptr],
        indices=batch.indices[kept],
        values=batch.values[kept],
        measured=batch.measured & genes,
    )
