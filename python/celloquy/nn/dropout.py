"""Dropout, of entries and of attention weights, whose random numbers cost little on a CPU."""

from __future__ import annotations

import math
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


def read_with_dropout(query: Tensor, key: Tensor, value: Tensor, share: float) -> Tensor:
    """Return softmax attention on a CPU, ``(..., l, w)``, of whose weights a share is set to zero, as in training.

    torch has no fast attention that drops weights on a CPU: it keeps the weights of all layers for the backward pass.
    Here they are computed head by head, in a processor's cache, and again in the backward pass, as by FlashAttention
    (Dao et al. 2022, NeurIPS 35).

    Parameters
    ----------
    query, key, value
        ``(..., l, w)``, ``(..., m, w)`` and ``(..., m, w)``: of each head.
    share
        Share of the weights to drop, from 0 to 1, rounded to a 256th.
    """
    read: Tensor = _Read.apply(query.flatten(0, -3), key.flatten(0, -3), value.flatten(0, -3), round(share * LEVELS))
    return read.view_as(query)


def _chosen(shape: tuple[int, ...], levels: int, seed: int) -> Tensor:
    """Return ``shape`` bool: the entries to drop."""
    words = np.random.SFC64(seed).random_raw(-(-math.prod(shape) // 8))
    # By NumPy, whose bytes may be compared with 256.
    return torch.from_numpy(words.view(np.uint8)[: math.prod(shape)] < levels).view(shape)


def _scale(levels: int) -> float:
    """Return the factor of the entries that stay, by which the expectation stays, too."""
    return LEVELS / max(1, LEVELS - levels)


def _seed() -> int:
    """Draw a seed: by torch, so that torch.manual_seed() alone fixes the result."""
    return int(torch.randint(2**63 - 1, ()))


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, levels: int) -> Tensor:
        dropped = _chosen(tuple(values.shape), levels, _seed())
        ctx.save_for_backward(dropped)
        ctx.scale = _scale(levels)
        return values.masked_fill(dropped, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dropped,) = ctx.saved_tensors
        return gradients[0].masked_fill(dropped, 0).mul_(ctx.scale), None


class _Read(torch.autograd.Function):
    """Attention of heads ``(h, l, w)``; products are of the inputs' precision, weights of float32."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, levels: int) -> Tensor:
        ctx.seeds, ctx.levels = [_seed() for _ in query], levels
        ctx.scale = _scale(levels)
        read = torch.empty_like(query, memory_format=torch.contiguous_format)
        with torch.autocast("cpu", enabled=False):
            for head, seed in enumerate(ctx.seeds):
                weights = _weights(query[head], key[head])
                weights.masked_fill_(_chosen(tuple(weights.shape), levels, seed), 0)
                read[head] = (weights.to(value.dtype) @ value[head]).mul_(ctx.scale)
        ctx.save_for_backward(query, key, value, read)
        return read

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, read = ctx.saved_tensors
        found = [torch.empty_like(one, memory_format=torch.contiguous_format) for one in (query, key, value)]
        # What the softmax takes off: the sum over a row of weights times their gradients.
        level = (gradients[0].float() * read.float()).sum(-1, keepdim=True)
        for head, seed in enumerate(ctx.seeds):
            gradient = gradients[0][head] * ctx.scale
            weights = _weights(query[head], key[head])
            dropped = _chosen(tuple(weights.shape), ctx.levels, seed)
            moved = (gradient @ value[head].T).float().masked_fill_(dropped, 0).sub_(level[head]).mul_(weights)
            found[2][head] = weights.masked_fill_(dropped, 0).to(value.dtype).T @ gradient
            moved = moved.mul_(query.shape[-1] ** -0.5).to(query.dtype)
            found[0][head] = moved @ key[head]
            found[1][head] = moved.T @ query[head]
        return *found, None


def _weights(query: Tensor, key: Tensor) -> Tensor:
    """Return the weights of one head, ``(l, m)`` float32."""
    scores = (query @ key.T).float().mul_(query.shape[-1] ** -0.5)
    return torch.softmax(scores, -1, out=scores)
