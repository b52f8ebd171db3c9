"""The encoder: layers in which every cell reads its tissue and then goes through a feed-forward block."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from celloquy.nn.attention import FlowAttention, SoftmaxAttention, TissueBlocks
from celloquy.nn.dropout import Dropout

Attention = Literal["flow", "softmax", "none"]
"""Kind of attention between cells; ``"none"`` leaves a multi-layer perceptron over single cells."""


class EncoderLayer(nn.Module):
    """Attention over the tissue, then a feed-forward block, each behind a layer norm and added to its input.

    Parameters
    ----------
    width
        Width of a cell's vector.
    heads
        Number of attention heads; must divide ``width``.
    feedforward
        Hidden width of the feed-forward block.
    dropout
        Share of a vector dropped in training.
    attention
        Kind of attention between cells.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, attention: Attention) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width) if attention != "none" else None
        self.attention: FlowAttention | SoftmaxAttention | None = None
        if attention != "none":
            self.attention = (FlowAttention if attention == "flow" else SoftmaxAttention)(width, heads)
        self.dropout = Dropout(dropout)
        self.norm_feedforward = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(feedforward, width),
            Dropout(dropout),
        )

    def forward(self, cells: Tensor, tissues: TissueBlocks) -> Tensor:
        """Return the cells ``(n, width)`` after the layer."""
        if self.attention is not None and self.norm_attention is not None:
            cells = cells + self.dropout(self.attention(self.norm_attention(cells), tissues))
        return self.apply_feedforward(cells)

    def apply_feedforward(self, cells: Tensor) -> Tensor:
        """Return the cells ``(n, width)`` after the feed-forward block, which reads no other cell."""
        updated: Tensor = cells + self.feedforward(self.norm_feedforward(cells))
        return updated


class CellEncoder(nn.Module):
    """A stack of encoder layers; see :class:`EncoderLayer` for the parameters."""

    def __init__(
        self, width: int, *, layers: int, heads: int, feedforward: int, dropout: float, attention: Attention
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward, dropout, attention) for _ in range(layers))

    def forward(self, cells: Tensor, tissue: Tensor) -> Tensor:
        """Encode the cells of whole tissues.

        Parameters
        ----------
        cells
            Vectors of the cells, ``(n, width)``.
        tissue
            Tissue of every cell, ``(n,)`` int64, in any order; every cell of a tissue must be there.
        """
        if not len(cells):
            return cells
        tissues, order = TissueBlocks.arrange(tissue)
        ordered = cells[order]
        for layer in self.layers:
            ordered = layer(ordered, tissues)
        return torch.empty_like(ordered).index_copy(0, order, ordered)
