"""Learn from a panel and from a reference that measured more genes: both are seen through the genes that they share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.models import Model
from celloquy.training.masked_counts import MaskedCells, MaskedCounts

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
        Precision of the matrix products.
    batch_mixing
        See :class:`MaskedCounts`.
    """

    def __init__(
        self,
        model: Model,
        shared: Tensor,
        precision: Literal["float32", "bfloat16"] = "float32",
        *,
        batch_mixing: float = 0.0,
    ) -> None:
        super().__init__(model, precision, batch_mixing=batch_mixing)
        self.register_buffer("shared", shared, persistent=False)

    def visible(self, batch: CellBatch, mask: BiLevelMask) -> CellBatch:
        """Return the shared genes that the mask leaves, at one depth."""
        # The hidden share is that expected: the true one would tell of hidden counts.
        return at_panel_depth(mask.hide(batch), self.shared, 1 - mask.rate)  # type: ignore[arg-type]


class PanelTrainingData(MaskedCells):
    """The cells of a panel and of its reference, some of both in every step, so that they are learned as one."""

    def _sentences(self, tissue: np.ndarray, random: np.random.Generator) -> list[list[np.ndarray]]:
        steps = np.array_split(random.permutation(len(tissue)), -(-len(tissue) // self._batch_size))
        return [[step[tissue[step] == one] for one in np.unique(tissue[step])] for step in steps]


def at_panel_depth(batch: CellBatch, genes: Tensor, share: Tensor | float = 1.0) -> CellBatch:
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
    kept = batch.keep_genes(genes)
    scale = DEPTH * torch.as_tensor(share, device=kept.values.device) / kept.library_size().clamp(min=1e-6)
    return replace(kept, values=kept.values * scale.to(kept.values)[kept.cell_of_count])
