"""Attention over the cells of a tissue: flow attention, linear in the number of cells, and softmax attention.

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
"""Largest number of cells, padding included, of the tissues that are mixed in one product."""


@dataclass(frozen=True, slots=True)
class TissueBlocks:
    """The tissues of a batch whose cells lie tissue by tissue, small tissues first.

    Shapes: ``n`` cells, ``t`` tissues, ``h`` heads, ``d`` width of a head.
    """

    tissue: Tensor
    """``(n,)`` int64, rising: the tissue of each cell, numbered from 0 without gaps."""
    sizes: list[int]
    """Number of cells of each tissue, rising."""

    @staticmethod
    def arrange(tissue: Tensor) -> tuple[TissueBlocks, Tensor]:
        """Return the tissues of cells in any order, and the order ``(n,)`` that sorts the cells by tissue."""
        _, code, sizes = tissue.unique(return_inverse=True, return_counts=True)
        by_size = sizes.argsort(stable=True)
        rank = torch.empty_like(by_size)
        rank[by_size] = torch.arange(len(sizes), device=sizes.device)
        order = rank[code].argsort(stable=True)
        return TissueBlocks(rank[code][order], sizes[by_size].tolist()), order

    @staticmethod
    def whole(cells: Tensor) -> TissueBlocks:
        """Return some cells, ``(n, …)``, as one tissue."""
        return TissueBlocks(torch.zeros(len(cells), dtype=torch.int64, device=cells.device), [len(cells)])

    def __len__(self) -> int:
        """Number of tissues."""
        return len(self.sizes)

    def cells_per_tissue(self, like: Tensor) -> Tensor:
        """Return the number of cells of each tissue, ``(t, 1)``, in the type of another tensor."""
        if len(self) == 1:
            # To fill does not wait for a device, as to copy does.
            return like.new_full((1, 1), self.sizes[0])
        return torch.tensor(self.sizes, dtype=like.dtype, device=like.device)[:, None]

    def total(self, values: Tensor) -> Tensor:
        """Sum over the cells of each tissue: ``(n, …)`` to ``(t, …)``."""
        if len(self) == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(len(self), *values.shape[1:]).index_add_(0, self.tissue, values)

    def per_cell(self, totals: Tensor) -> Tensor:
        """Repeat the values of a tissue for its cells: ``(t, …)`` to ``(n, …)``, or ``(1, …)`` for one tissue."""
        return totals if len(self) == 1 else totals[self.tissue]

    def flow(self, features: Tensor, totals: Tensor) -> Tensor:
        """Return the flow between each cell and the sums of its tissue: ``(n, h, d) · (t, h, d)`` to ``(n, h)``."""
        if len(self) == 1:
            return single_tissue_flow(features, totals[0])
        return ((features + EPSILON) * (self.per_cell(totals) + EPSILON)).sum(-1)

    def weighted_total(self, weights: Tensor, features: Tensor) -> Tensor:
        """Sum over the cells of each tissue, with weights: ``(n, h) · (n, h, d)`` to ``(t, h, d)``."""
        if len(self) == 1:
            return single_tissue_total(weights, features)[None]
        return self.total(weights[..., None] * features)

    def blocks(self) -> Iterator[tuple[slice, Tensor | None]]:
        """Yield the runs of cells that are mixed in one product: one tissue, or several of similar size and a padding.

        The padding is ``(tissues, longest)`` int64: the cell at each place, counted from the start of the run, and -1
        at the empty places.
        """
        first_tissue, first_cell = 0, 0
        while first_tissue < len(self):
            stop, n_cells = first_tissue + 1, self.sizes[first_tissue]
            while stop < len(self):
                longest = self.sizes[stop]
                if longest > 2 * self.sizes[first_tissue] or longest * (stop + 1 - first_tissue) > PADDED_CELLS:
                    break
                n_cells += longest
                stop += 1
            run = slice(first_cell, first_cell + n_cells)
            single = stop == first_tissue + 1
            yield run, None if single else _padding(self.sizes[first_tissue:stop], self.tissue.device)
            first_tissue, first_cell = stop, first_cell + n_cells


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

    def forward(self, cells: Tensor, tissues: TissueBlocks) -> Tensor:
        """Return the mixed cells, ``(n, h * d)``.

        Parameters
        ----------
        cells
            Vectors of the cells, ``(n, h * d)``, tissue by tissue.
        tissues
            Tissues of the cells.
        """
        # (n, h * d) -> (n, h, d)
        query, key = self.split_and_activate(self.query(cells)), self.split_and_activate(self.key(cells))
        value = self.split_heads(self.value(cells))
        with torch.autocast(cells.device.type, enabled=False):
            allocation, competition = self.flows(query, key, tissues)
            # (n, h, d) * (n, h, 1)
            value = value * competition[..., None]
        # Runs of (n, h, d), put together to all cells
        mixed = torch.cat([_mix(query[run], key[run], value[run], padding) for run, padding in tissues.blocks()])
        # (n, h, d) -> (n, h * d)
        out: Tensor = self.out((mixed * allocation[..., None]).flatten(1))
        return out

    @staticmethod
    def flows(query: Tensor, key: Tensor, tissues: TissueBlocks) -> tuple[Tensor, Tensor]:
        """Return how much each cell takes up (allocation) and gives (competition), both ``(n, h)``.

        A cell ``i`` becomes the sum over the ``j`` of its tissue of ``allocation_i (q_i · k_j) competition_j v_j``.
        """
        # Sums over a tissue (t, h, d); all flows (n, h)
        query_sum, key_sum = tissues.total(query), tissues.total(key)
        incoming = 1 / tissues.flow(query, key_sum)
        outgoing = 1 / tissues.flow(key, query_sum)
        allocation = tissues.flow(query, tissues.weighted_total(outgoing, key)).sigmoid() * incoming
        attraction = tissues.flow(key, tissues.weighted_total(incoming, query)).clamp(-1, 1).exp()
        # The softmax over the cells of a tissue, times their number: (t, 1) / (t, h)
        share = tissues.cells_per_tissue(attraction) / tissues.total(attraction)
        return allocation, attraction * tissues.per_cell(share)

    def split_and_activate(self, projected: Tensor) -> Tensor:
        """Return the queries or keys of a projection: ``(n, h * d)`` to ``(n, h, d)``, between 0 and 1, float32."""
        # Sums over a tissue in float32: q·Σk leaves the range of half precision near 50,000 cells.
        return self.split_heads(projected).sigmoid_()

    def split_heads(self, projected: Tensor) -> Tensor:
        """Return the part of every head: ``(n, h * d)`` to ``(n, h, d)``, float32."""
        return projected.float().unflatten(1, (self.heads, -1))


def single_tissue_flow(features: Tensor, sums: Tensor) -> Tensor:
    """Return the flow between each cell of one tissue and the tissue's sums: ``(n, h, d) · (h, d)`` to ``(n, h)``.

    The flow of all heads is one matrix product, because it reads the cells once and writes no copy of them.
    """
    sums = sums + EPSILON
    # (n, h * d) @ (h * d, h): the sums of every head lie in a column of their own, made in one product for all heads
    own = torch.eye(len(sums), dtype=sums.dtype, device=sums.device)[..., None] * sums
    return torch.addmm(EPSILON * sums.sum(-1), features.flatten(1), own.flatten(1).T)


def single_tissue_total(weights: Tensor, features: Tensor) -> Tensor:
    """Sum over the cells of one tissue, with weights: ``(n, h) · (n, h, d)`` to ``(h, d)``.

    It is one product over all pairs of heads, for the same reason; only the pairs of a head with itself are used.
    """
    # (h, n) @ (n, h * d) -> (h, h, d)
    pairs = (weights.T @ features.flatten(1)).unflatten(1, features.shape[1:])
    # (h, h, d) -> (d, h) -> (h, d)
    return pairs.diagonal(dim1=0, dim2=1).T


def _mix(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> Tensor:
    """Return ``q_i Σ_j k_jᵀ v_j`` over the cells of each tissue of a run, all ``(n, h, d)``."""
    if padding is None:
        # (n, h, d) -> (h, n, d), and back
        mixed = _product(query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1))
        return mixed.transpose(0, 1)
    # (n, h, d) -> (tissues, h, longest, d), zero at the empty places, and back
    empty = (padding < 0)[:, :, None, None]
    query, key, value = (x[padding].masked_fill(empty, 0).transpose(1, 2) for x in (query, key, value))
    return _product(query, key, value).transpose(1, 2)[padding >= 0]


def _product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return ``q kᵀ v`` of ``(…, n, d)`` in the cheaper order: through n × n for a small tissue, else through d × d."""
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

    def forward(self, cells: Tensor, tissues: TissueBlocks) -> Tensor:
        """Return the mixed cells, ``(n, width)``; see :meth:`FlowAttention.forward`."""
        # (n, h * d) -> (n, h, d)
        query, key, value = (
            linear(cells).unflatten(1, (self.heads, -1)) for linear in (self.query, self.key, self.value)
        )
        mixed = torch.cat([_attend(query[run], key[run], value[run], padding) for run, padding in tissues.blocks()])
        # (n, h, d) -> (n, h * d)
        out: Tensor = self.out(mixed.flatten(1))
        return out


def _attend(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> Tensor:
    """Return the softmax attention within each tissue of a run, all ``(n, h, d)``."""
    if padding is None:
        # (n, h, d) -> (1, h, n, d), and back
        query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1)
    # (n, h, d) -> (tissues, h, longest, d); an empty place holds any cell, and the mask keeps it from being read
    query, key, value = (x[padding].transpose(1, 2) for x in (query, key, value))
    full = (padding >= 0)[:, None, None, :]
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=full)
    return mixed.transpose(1, 2)[padding >= 0]
