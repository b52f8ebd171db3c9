"""Start from what is known without training: the average counts of every gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from celloquy.models import CellModel

if TYPE_CHECKING:
    from celloquy.data import CellBatch

LEAST_MEAN = 1e-4
"""Mean count that a gene starts from at least; well within the decoder's bounds."""


@torch.no_grad()
def start_at_the_average(model: CellModel, cells: CellBatch) -> None:
    """Let the decoder predict each gene's mean count over the cells that measured it, before it has learned anything.

    Without it a short training is spent on learning which genes are abundant.
    """
    total = torch.zeros(cells.genes, dtype=torch.float64)
    total.index_add_(0, cells.indices.long(), cells.values.double())
    sizes = torch.bincount(cells.panel, minlength=len(cells.measured)).double()
    mean = total / (sizes @ cells.measured.double()).clamp(min=1)
    model.decoder.log_mean.bias.copy_(mean.clamp(min=LEAST_MEAN).log())
