"""Dropout whose random numbers cost little on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256
"""Number of values of the random byte that is drawn for each entry."""


class Dropout(nn.Module):
    """Set a share of all entries to zero in training, and scale the others so that the expectation stays.

    On a CPU torch draws one Bernoulli number after the other, which takes a tenth of a training step of the published
    model; here every random word decides on eight entries, which rounds the share to a 256th.

    Parameters
    ----------
    share
        Share of the entries to drop, from 0 to 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Return the values; in training some of them are zero."""
        levels = round(self.share * LEVELS)
        if not self.training or not levels:
            return values
        if values.device.type != "cpu":
            return functional.dropout(values, self.share)
        dropped: Tensor = _Dropped.apply(values, levels)
        return dropped

    def extra_repr(self) -> str:
        """Show the share."""
        return f"share={self.share}"


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, levels: int) -> Tensor:
        # torch draws the seed, so that torch.manual_seed() alone fixes the result.
        random = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
        words = random.random_raw(-(-values.numel() // 8))
        random_bytes = torch.from_numpy(words.view(np.uint8)[: values.numel()]).view(values.shape)
        dropped = random_bytes <= levels - 1
        ctx.save_for_backward(dropped)
        ctx.scale = LEVELS / max(1, LEVELS - levels)
        return values.masked_fill(dropped, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dropped,) = ctx.saved_tensors
        return gradients[0].masked_fill(dropped, 0).mul_(ctx.scale), None
