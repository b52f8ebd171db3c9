"""The encoding of positions in a tissue, by sines and cosines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SpatialEncoding(nn.Module):
    """Two-dimensional sinusoidal encoding of positions, and one learned vector for cells without a position.

    The released CellPLM looks positions up on a grid of 100 × 100 and then does not use them. Here they are used, and
    continuous, so that two neighbouring cells differ.

    Parameters
    ----------
    width
        Width of a cell's vector; a multiple of 4 (sine and cosine of two axes).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.unknown = nn.Parameter(torch.randn(width) * 0.01)

    def forward(self, position: Tensor) -> Tensor:
        """Return the encoding ``(n, width)``, which is added to the vectors of the cells.

        Parameters
        ----------
        position
            Positions ``(n, 2)`` in hundredths of the longer side of the tissue, NaN for a cell without a position.
        """
        known = ~position.isnan().any(1, keepdim=True)
        quarter = self.unknown.shape[0] // 4
        frequency = torch.exp(torch.arange(quarter, device=position.device) * (-math.log(10_000.0) / quarter))
        # (n, 2) -> (n, 2, width / 4)
        angle = position.nan_to_num()[:, :, None] * frequency
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return torch.where(known, waves, self.unknown)
