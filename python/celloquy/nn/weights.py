"""The weights with which attention mixes the cells of a tissue, for the cells that are asked alone.

A cell becomes the sum over the cells of its tissue of weight times value. In flow attention a weight is a product of
what belongs to the one cell and what belongs to the other (Wu et al. 2022, Flowformer, eqs. 5-8), so that sums over
kinds of cells take a time linear in the number of cells; no weights of all cells with all cells are ever kept.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from celloquy.nn.attention import FlowAttention, SoftmaxAttention, TissueBlocks
from celloquy.nn.encoder import EncoderLayer

WEIGHTS_AT_A_TIME = 2**24
"""Weights, of all heads, that are in memory at a time."""


class TissueWeights(ABC):
    """The weights within one tissue of ``n`` cells; ``h`` heads, ``a`` asked cells."""

    n_cells: int
    """Cells of the tissue."""
    heads: int
    """Attention heads."""

    @abstractmethod
    def of(self, asked: Tensor) -> Tensor:
        """Return the weight of every cell in some cells, ``(a, h, n)``; ``asked`` are their places, ``(a,)`` int64."""

    @abstractmethod
    def by_kind(self, asked: Tensor, kinds: Tensor) -> Tensor:
        """Return the sums of the weights over kinds of cells, ``(a, h, k)``; ``kinds`` is ``(n, k)`` of 0 and 1."""

    def runs(self, asked: Tensor) -> Iterator[Tensor]:
        """Yield the asked cells in runs whose weights fit the memory."""
        yield from asked.split(max(1, WEIGHTS_AT_A_TIME // (self.heads * self.n_cells)))


class FlowWeights(TissueWeights):
    """The weights of flow attention: of cell ``j`` in cell ``i`` it is ``allocation_i (q_i · k_j) competition_j``."""

    def __init__(self, attention: FlowAttention, cells: Tensor, tissue: TissueBlocks) -> None:
        query, key = (attention.split_and_activate(one(cells)) for one in (attention.query, attention.key))
        allocation, competition = attention.flows(query, key, tissue)
        self.query, self.key = query * allocation[..., None], key * competition[..., None]
        self.n_cells, self.heads = len(cells), attention.heads

    def of(self, asked: Tensor) -> Tensor:
        """See :meth:`TissueWeights.of`."""
        return torch.einsum("ahd,nhd->ahn", self.query[asked], self.key)

    def by_kind(self, asked: Tensor, kinds: Tensor) -> Tensor:
        """See :meth:`TissueWeights.by_kind`."""
        return torch.einsum("ahd,khd->ahk", self.query[asked], torch.einsum("nk,nhd->khd", kinds, self.key))


class SoftmaxWeights(TissueWeights):
    """The weights of softmax attention, which sum to one."""

    def __init__(self, attention: SoftmaxAttention, cells: Tensor) -> None:
        self.query, self.key = (
            one(cells).unflatten(1, (attention.heads, -1)) for one in (attention.query, attention.key)
        )
        self.n_cells, self.heads = len(cells), attention.heads

    def of(self, asked: Tensor) -> Tensor:
        """See :meth:`TissueWeights.of`."""
        scale = 1 / math.sqrt(self.query.shape[-1])
        return (torch.einsum("ahd,nhd->ahn", self.query[asked], self.key) * scale).softmax(-1)

    def by_kind(self, asked: Tensor, kinds: Tensor) -> Tensor:
        """See :meth:`TissueWeights.by_kind`."""
        return torch.cat([self.of(run) @ kinds for run in self.runs(asked)])


def weights_of(attention: FlowAttention | SoftmaxAttention, cells: Tensor) -> TissueWeights:
    """Return the weights of an attention in one tissue, of the vectors ``(n, h * d)`` that it would be given."""
    if isinstance(attention, SoftmaxAttention):
        return SoftmaxWeights(attention, cells)
    return FlowWeights(attention, cells, TissueBlocks.whole(cells))


def shares(weights: Tensor) -> Tensor:
    """Return weights ``(a, h, n)`` as shares of what a cell reads, ``(a, n)``: the mean over heads that sum to one."""
    return (weights / weights.sum(-1, keepdim=True)).mean(1)


@dataclass(frozen=True)
class LayerReading:
    """What the cells of one tissue, ``n``, read of one another in one layer of an encoder."""

    weights: TissueWeights
    """The weights of its attention."""
    strength: Tensor
    """``(n,)``: length of what the attention adds to each cell's vector, over the length of that vector before."""


def readings_of(layers: Iterable[EncoderLayer], cells: Tensor) -> list[LayerReading]:
    """Send the vectors ``(n, h * d)`` of one tissue through layers of an encoder, and return what is read in each.

    A layer without attention is none of them.
    """
    tissue, found = TissueBlocks.whole(cells), []
    for layer in layers:
        if layer.attention is not None and layer.norm_attention is not None:
            normed = layer.norm_attention(cells)
            added = layer.attention(normed, tissue)
            found.append(LayerReading(weights_of(layer.attention, normed), added.norm(dim=1) / cells.norm(dim=1)))
            cells = cells + added
        cells = layer.apply_feedforward(cells)
    return found
