"""Attention over the cells of a tissue: flow attention, linear in their number, and softmax attention beside it.

Flow attention: Wu et al. 2022, Flowformer, eqs. 5-8 (non-causal), as in Wen et al. 2024, CellPLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
"""Added to queries and keys before every normaliser, as published."""

PADDED_CELLS = 8192
"""Cells, padding included, of the tissues that are mixed in one product."""


@dataclass(frozen=True, slots=True)
class TissueBlocks:
    """Which cells are read together: cells lie tissue by tissue, small tissues first.

    Shapes: ``n`` cells, ``t`` tissues.
    """

    tissue: Tensor
    """``(n,)`` int64, rising: the tissue of a cell, numbered from 0 without gaps."""
    sizes: list[int]
    """Cells of each tissue, rising."""

    @staticmethod
    def arrange(tissue: Tensor) -> tuple[TissueBlocks, Tensor]:
        """Return the sentences of cells in any order, and the order ``(n,)`` that lays the cells tissue by tissue."""
        _, code, sizes = tissue.unique(return_inverse=True, return_counts=True)
        by_size = sizes.argsort(stable=True)
        rank = torch.empty_like(by_size)
        rank[by_size] = torch.arange(len(sizes), device=sizes.device)
        order = rank[code].argsort(stable=True)
        return TissueBlocks(rank[code][order], sizes[by_size].tolist()), order

    def __len__(self) -> int:
        """Number of tissues."""
        return len(self.sizes)

    def cells_per_tissue(self, like: Tensor) -> Tensor:
        """``(t, 1)``, in the type of another tensor."""
        return torch.tensor(self.sizes, dtype=like.dtype, device=like.device)[:, None]

    def total(self, values: Tensor) -> Tensor:
        """Sum over the cells of each tissue: ``(n, …)`` to ``(t, …)``."""
        if len(self) == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(len(self), *values.shape[1:]).index_add_(0, self.tissue, values)

    def spread(self, totals: Tensor) -> Tensor:
        """Give every cell what belongs to its tissue: ``(t, …)`` to ``(n, …)``, or ``(1, …)`` where that broadcasts."""
        return totals if len(self) == 1 else totals[self.tissue]

    def flow(self, features: Tensor, totals: Tensor) -> Tensor:
        """Return how much of its tissue's sums flows through each cell: ``(n, h, d) · (t, h, d)`` to ``(n, h)``."""
        if len(self) == 1:
            return flow(features, totals[0])
        return ((features + EPSILON) * (self.spread(totals) + EPSILON)).sum(-1)

    def collect(self, weights: Tensor, features: Tensor) -> Tensor:
        """Sum the cells of each tissue by weights: ``(n, h) · (n, h, d)`` to ``(t, h, d)``."""
        if len(self) == 1:
            return collect(weights, features)[None]
        return self.total(weights[..., None] * features)

    def blocks(self) -> Iterator[tuple[slice, Tensor | None]]:
        """Yield runs of cells that are mixed together: one tissue, or several of like size with how to pad them.

        The padding is ``(tissues, longest)`` int64, the cell of each place, counted from the start of the run and -1 at
        the empty places.
        """
        first, cell = 0, 0
        while first < len(self):
            last, cells = first + 1, self.sizes[first]
            while last < len(self):
                longest = self.sizes[last]
                if longest > 2 * self.sizes[first] or longest * (last + 1 - first) > PADDED_CELLS:
                    break
                cells += longest
                last += 1
            run = slice(cell, cell + cells)
            yield run, None if last == first + 1 else _padding(self.sizes[first:last], self.tissue.device)
            first, cell = last, cell + cells


def _padding(sizes: list[int], device: torch.device) -> Tensor:
    size = torch.tensor(sizes, device=device)[:, None]
    place = torch.arange(int(size.max()), device=device)
    start = size.cumsum(0) - size
    return torch.where(place < size, start + place, -1)


class FlowAttention(nn.Module):
    """Mix every cell with all cells of its own tissue.

    Shapes: ``n`` cells, ``t`` tissues, ``h`` heads, ``d`` width of a head.

    Parameters
    ----------
    width
        Width of a cell's vector, ``h * d``.
    heads
        Number of heads; must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, cells: Tensor, sentences: TissueBlocks) -> Tensor:
        """Return the mixed cells, ``(n, h * d)``.

        Parameters
        ----------
        cells
            ``(n, h * d)``, tissue by tissue.
        sentences
            Which cells are read together.
        """
        query, key, value = self.open(self.query(cells)), self.open(self.key(cells)), self.split(self.value(cells))
        with torch.autocast(cells.device.type, enabled=False):
            query_sum, key_sum = sentences.total(query), sentences.total(key)
            incoming = 1 / sentences.flow(query, key_sum)
            outgoing = 1 / sentences.flow(key, query_sum)
            allocation = sentences.flow(query, sentences.collect(outgoing, key)).sigmoid() * incoming
            attraction = sentences.flow(key, sentences.collect(incoming, query)).clamp(-1, 1).exp()
            share = sentences.cells_per_tissue(attraction) / sentences.total(attraction)
            value = value * (attraction * sentences.spread(share))[..., None]
        mixed = torch.cat([_mix(query[run], key[run], value[run], padding) for run, padding in sentences.blocks()])
        out: Tensor = self.out((mixed * allocation[..., None]).flatten(1))
        return out

    def open(self, projected: Tensor) -> Tensor:
        """Make queries or keys of their projection: ``(n, h * d)`` to ``(n, h, d)``, within 0 and 1, float32."""
        # Sums over a tissue in float32: q·Σk leaves the range of half precision near 50,000 cells.
        return self.split(projected).sigmoid_()

    def split(self, projected: Tensor) -> Tensor:
        """Give every head its part: ``(n, h * d)`` to ``(n, h, d)``, float32."""
        return projected.float().unflatten(1, (self.heads, -1))


def flow(features: Tensor, sums: Tensor) -> Tensor:
    """Return how much of a tissue's sums flows through each of its cells: ``(n, h, d) · (h, d)`` to ``(n, h)``.

    One product with every head's sums in a column of their own, for it reads the cells once and writes none.
    """
    sums = sums + EPSILON
    return torch.addmm(EPSILON * sums.sum(-1), features.flatten(1), torch.block_diag(*sums).T)


def collect(weights: Tensor, features: Tensor) -> Tensor:
    """Sum the cells of a tissue by weights: ``(n, h) · (n, h, d)`` to ``(h, d)``.

    One product over all pairs of heads, of which those of a head with itself are wanted, for the same reason.
    """
    pairs = (weights.T @ features.flatten(1)).unflatten(1, features.shape[1:])
    return pairs.diagonal(dim1=0, dim2=1).T


def _mix(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> Tensor:
    """Return ``q_i Σ_j k_jᵀ v_j`` over the cells of each tissue of a run, all ``(n, h, d)``."""
    if padding is None:
        # (n, h, d) -> (h, n, d)
        mixed = _product(query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        return mixed.transpose(0, 1)
    # (n, h, d) -> (tissues, h, longest, d), zero at the empty places
    empty = (padding < 0)[:, :, None, None]
    query, key, value = (x[padding].masked_fill(empty, 0).transpose(1, 2) for x in (query, key, value))
    return _product(query, key, value).transpose(1, 2)[padding >= 0]


def _product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``q kᵀ v`` of ``(…, n, d)``, in the cheaper order: through n × n for a small tissue, else through d × d."""
    if query.shape[-2] <= query.shape[-1]:
        return query @ key.mT @ value
    return query @ (key.mT @ value)


class SoftmaxAttention(nn.Module):
    """Softmax attention within a tissue, quadratic in its cells: the published ablation of flow attention.

    Parameters
    ----------
    width
        Width of a cell's vector.
    heads
        Number of heads; must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, cells: Tensor, sentences: TissueBlocks) -> Tensor:
        """Return the mixed cells, ``(n, width)``; see :meth:`FlowAttention.forward`."""
        query, key, value = (
            linear(cells).unflatten(1, (self.heads, -1)) for linear in (self.query, self.key, self.value)
        )
        mixed = torch.cat([_attend(query[run], key[run], value[run], padding) for run, padding in sentences.blocks()])
        out: Tensor = self.out(mixed.flatten(1))
        return out


def _attend(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> Tensor:
    """Softmax attention within each tissue of a run, all ``(n, h, d)``."""
    if padding is None:
        query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1)
    # (n, h, d) -> (tissues, h, longest, d); an empty place holds some cell and is never attended to
    query, key, value = (x[padding].transpose(1, 2) for x in (query, key, value))
    full = (padding >= 0)[:, None, None, :]
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=full)
    return mixed.transpose(1, 2)[padding >= 0]
