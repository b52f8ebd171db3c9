"""One tissue of any size through the encoder, a chunk of cells at a time, with the result of reading it at once.

Flow attention needs of a tissue only sums over its cells, so three passes over the chunks gather them and a last one
uses them. What is held beside one chunk is the cells' vectors, queries and keys, in memory or in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from celloquy.nn.attention import FlowAttention, collect, flow
from celloquy.nn.encoder import EncoderLayer
from celloquy.nn.precision import product_type

RUNS_IN_FLOAT32 = 16
"""Runs whose products are summed in float32 before they join the sum of all: adding so large a matrix to one of float64
takes as long as computing it."""


class VectorRows(Protocol):
    """Vectors of cells, ``(cells, width)``, that are read and written a run at a time."""

    def read(self, rows: slice) -> Tensor:
        """Return ``(n, width)``."""

    def write(self, rows: slice, values: Tensor) -> None:
        """Take ``(n, width)`` from any device."""


@dataclass(frozen=True, slots=True)
class FlowSums:
    """What a cell has to know of its tissue in one layer; ``h`` heads of width ``d``, cells of width ``w``."""

    key: Tensor
    """``(h, d)`` Σ k."""
    outgoing_key: Tensor
    """``(h, d)`` Σ O k."""
    memory: Tensor
    """``(w, h * d)`` n Σ k softmax(Ô) v of every head, through the weights that mix the heads."""


def stream_layer(
    layer: EncoderLayer,
    source: VectorRows,
    target: VectorRows,
    queries: VectorRows,
    keys: VectorRows,
    runs: Sequence[slice],
    tick: Callable[[int], object] = lambda cells: None,
) -> None:
    """Send one tissue through one layer of the encoder.

    Parameters
    ----------
    layer
        In evaluation mode, with flow attention or none.
    source, target
        Where the cells are read from and written to; may be the same.
    queries, keys
        Room for those of the tissue, in the precision of the computation.
    runs
        The rows that make up the tissue; one run is computed at a time, on the layer's device.
    tick
        Called with the number of cells after every run, for a progress bar.
    """
    tissue = None if layer.attention is None else _Tissue(layer, source, queries, keys, runs)
    sums = None if tissue is None else tissue.gather()
    device = layer.norm_feedforward.weight.device
    for rows in runs:
        cells = source.read(rows).to(device)
        if tissue is not None and sums is not None:
            cells = cells + tissue.recall(rows, sums)
        target.write(rows, layer.apply_feedforward(cells))
        tick(rows.stop - rows.start)


class _Tissue:
    """The cells of one tissue in one layer, as its attention sees them."""

    def __init__(
        self, layer: EncoderLayer, source: VectorRows, queries: VectorRows, keys: VectorRows, runs: Sequence[slice]
    ) -> None:
        assert isinstance(layer.attention, FlowAttention)
        assert layer.norm_attention is not None
        self._attention, self._norm, self._source, self._runs = layer.attention, layer.norm_attention, source, runs
        self._queries, self._keys = queries, keys
        self._device = layer.norm_attention.weight.device

    def gather(self) -> FlowSums:
        """Return the sums over all cells; leaves the queries and keys in their rooms."""
        attention, device = self._attention, self._device
        width, heads = attention.query.out_features, attention.heads
        # Runs are summed in float64 where there is one, so that the result does not depend on where they are cut.
        exact = torch.float32 if device.type == "mps" else torch.float64
        query_sum, key_sum, incoming_query, outgoing_key = torch.zeros(
            4, heads, width // heads, dtype=exact, device=device
        ).unbind()
        competition, drawn = torch.zeros(heads, dtype=exact, device=device), torch.zeros_like(key_sum)
        memory = torch.zeros(heads, width // heads, width, dtype=exact, device=device)
        for rows in self._runs:
            cells = self._cells(rows)
            self._queries.write(rows, attention.query(cells).sigmoid_())
            self._keys.write(rows, attention.key(cells).sigmoid_())
            query_sum += self._heads(self._queries, rows).sum(0)
            key_sum += self._heads(self._keys, rows).sum(0)
        for rows in self._runs:
            query, key = self._heads(self._queries, rows), self._heads(self._keys, rows)
            with torch.autocast(device.type, enabled=False):
                incoming_query += collect(1 / flow(query, key_sum.float()), query)
                outgoing_key += collect(1 / flow(key, query_sum.float()), key)
        part = torch.zeros_like(memory, dtype=torch.float32)
        for number, rows in enumerate(self._runs, 1):
            key = self._heads(self._keys, rows)
            with torch.autocast(device.type, enabled=False):
                attraction = flow(key, incoming_query.float()).clamp(-1, 1).exp()
            competition += attraction.sum(0)
            key = key * attraction[..., None]
            drawn += key.sum(0)
            # Values are linear in the cells, Σ k v = (Σ k x) Wᵀ + (Σ k) b, so no cell's value is computed.
            part += (key.flatten(1).T @ self._cells(rows)).unflatten(0, drawn.shape)
            if rows is self._runs[-1] or number % RUNS_IN_FLOAT32 == 0:
                memory += part
                part.zero_()
        cells = sum(rows.stop - rows.start for rows in self._runs)
        share = (cells / competition)[:, None]
        with torch.autocast(device.type, enabled=False):
            mixed = self._mixed((memory * share[..., None]).float(), (drawn * share).float())
        return FlowSums(key=key_sum.float(), outgoing_key=outgoing_key.float(), memory=mixed.to(product_type(device)))

    def _mixed(self, memory: Tensor, drawn: Tensor) -> Tensor:
        """Send Σ k x ``(h, d, w)`` and Σ k ``(h, d)`` through the values' and the output weights: ``(w, h * d)``."""
        attention, heads = self._attention, drawn.shape
        weight, bias = attention.value.weight.unflatten(0, heads), attention.value.bias.unflatten(0, heads)
        of_heads = memory @ weight.mT + drawn[..., None] * bias[:, None]
        return torch.einsum("whe,hde->whd", attention.out.weight.unflatten(1, heads), of_heads).flatten(1)

    def recall(self, rows: slice, sums: FlowSums) -> Tensor:
        """Return what cells take from their tissue, ``(n, width)``."""
        query = self._heads(self._queries, rows)
        with torch.autocast(self._device.type, enabled=False):
            allocation = flow(query, sums.outgoing_key).sigmoid() / flow(query, sums.key)
        return functional.linear((query * allocation[..., None]).flatten(1), sums.memory, self._attention.out.bias)

    def _cells(self, rows: slice) -> Tensor:
        """Cells as the attention reads them, in the precision of its products."""
        cells: Tensor = self._norm(self._source.read(rows).to(self._device))
        return cells.to(product_type(self._device))

    def _heads(self, room: VectorRows, rows: slice) -> Tensor:
        return self._attention.split(room.read(rows).to(self._device))
