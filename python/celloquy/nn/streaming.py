"""Encode one tissue of any size, a chunk of cells at a time, with the same result as all at once.

Flow attention reads only sums over the cells of a tissue, so three passes over the chunks compute the sums and a last
pass uses them. Besides one chunk, only the vectors, queries and keys of the cells are kept, in memory or in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from celloquy.nn.attention import FlowAttention, single_tissue_flow, single_tissue_total
from celloquy.nn.encoder import EncoderLayer
from celloquy.nn.precision import product_type

RUNS_IN_FLOAT32 = 16
"""Number of runs whose products are summed in float32 before they join the total: adding so large a matrix to one of
float64 takes as long as computing it."""


class VectorRows(Protocol):
    """Vectors of cells, ``(cells, width)``, that are read and written a run at a time."""

    def read(self, rows: slice) -> Tensor:
        """Return ``(n, width)``."""

    def write(self, rows: slice, values: Tensor) -> None:
        """Store ``(n, width)``, which may lie on any device."""


@dataclass(frozen=True, slots=True)
class FlowSums:
    """The sums over a tissue that a cell reads in one layer; ``h`` heads of width ``d``, cells of width ``w``."""

    key: Tensor
    """``(h, d)`` Σ k."""
    outgoing_key: Tensor
    """``(h, d)`` Σ O k."""
    key_value: Tensor
    """``(w, h * d)`` n Σ k softmax(Ô) v of every head, multiplied by the weights that mix the heads."""


def stream_layer(
    layer: EncoderLayer,
    source: VectorRows,
    target: VectorRows,
    queries: VectorRows,
    keys: VectorRows,
    runs: Sequence[slice],
    on_run: Callable[[int], object] = lambda n_cells: None,
    add_up: Callable[..., object] = lambda *sums: None,
) -> None:
    """Send one tissue through one layer of the encoder.

    Parameters
    ----------
    layer
        The layer, in evaluation mode, with flow attention or none.
    source, target
        Rows from which the cells are read and to which they are written; may be the same.
    queries, keys
        Buffers for the queries and keys of the tissue, in the precision of the computation.
    runs
        Rows of the tissue; one run is computed at a time, on the device of the layer.
    on_run
        Function of the number of cells, called after every run, for a progress bar.
    add_up
        Function that adds to some sums, in place, those of other processes, which hold other cells of the tissue.
    """
    tissue = None if layer.attention is None else _Tissue(layer, source, queries, keys, runs)
    sums = None if tissue is None else tissue.compute_sums(add_up)
    device = layer.norm_feedforward.weight.device
    for rows in runs:
        cells = source.read(rows).to(device)
        if tissue is not None and sums is not None:
            cells = cells + tissue.attend(rows, sums)
        target.write(rows, layer.apply_feedforward(cells))
        on_run(rows.stop - rows.start)


class _Tissue:
    """The cells of one tissue in the attention of one layer."""

    def __init__(
        self, layer: EncoderLayer, source: VectorRows, queries: VectorRows, keys: VectorRows, runs: Sequence[slice]
    ) -> None:
        assert isinstance(layer.attention, FlowAttention)
        assert layer.norm_attention is not None
        self._attention, self._norm, self._source, self._runs = layer.attention, layer.norm_attention, source, runs
        self._queries, self._keys = queries, keys
        self._device = layer.norm_attention.weight.device

    def compute_sums(self, add_up: Callable[..., object]) -> FlowSums:
        """Return the sums over all cells, and fill the buffers of queries and keys."""
        attention, device = self._attention, self._device
        width, heads = attention.query.out_features, attention.heads
        # The sums are float64 if the device has it, so that the result does not depend on where the runs are cut.
        exact = torch.float32 if device.type == "mps" else torch.float64
        query_sum, key_sum, incoming_query, outgoing_key = torch.zeros(
            4, heads, width // heads, dtype=exact, device=device
        ).unbind()
        competition, weighted_key_sum = torch.zeros(heads, dtype=exact, device=device), torch.zeros_like(key_sum)
        key_cell = torch.zeros(heads, width // heads, width, dtype=exact, device=device)
        for rows in self._runs:
            cells = self._cells(rows)
            self._queries.write(rows, attention.query(cells).sigmoid_())
            self._keys.write(rows, attention.key(cells).sigmoid_())
            query_sum += self._heads(self._queries, rows).sum(0)
            key_sum += self._heads(self._keys, rows).sum(0)
        add_up(query_sum, key_sum)
        for rows in self._runs:
            query, key = self._heads(self._queries, rows), self._heads(self._keys, rows)
            with torch.autocast(device.type, enabled=False):
                incoming_query += single_tissue_total(1 / single_tissue_flow(query, key_sum.float()), query)
                outgoing_key += single_tissue_total(1 / single_tissue_flow(key, query_sum.float()), key)
        add_up(incoming_query, outgoing_key)
        partial = torch.zeros_like(key_cell, dtype=torch.float32)
        for number, rows in enumerate(self._runs, 1):
            key = self._heads(self._keys, rows)
            with torch.autocast(device.type, enabled=False):
                attraction = single_tissue_flow(key, incoming_query.float()).clamp(-1, 1).exp()
            competition += attraction.sum(0)
            key = key * attraction[..., None]
            weighted_key_sum += key.sum(0)
            # Values are linear in the cells, Σ k v = (Σ k x) Wᵀ + (Σ k) b, so the value of no cell is computed.
            # (h * d, n) @ (n, w) -> (h, d, w)
            partial += (key.flatten(1).T @ self._cells(rows)).unflatten(0, weighted_key_sum.shape)
            if rows is self._runs[-1] or number % RUNS_IN_FLOAT32 == 0:
                key_cell += partial
                partial.zero_()
        n_cells = competition.new_tensor(sum(rows.stop - rows.start for rows in self._runs))
        add_up(competition, weighted_key_sum, key_cell, n_cells)
        share = (n_cells / competition)[:, None]
        with torch.autocast(device.type, enabled=False):
            key_value = self._apply_weights((key_cell * share[..., None]).float(), (weighted_key_sum * share).float())
        return FlowSums(
            key=key_sum.float(), outgoing_key=outgoing_key.float(), key_value=key_value.to(product_type(device))
        )

    def _apply_weights(self, key_cell: Tensor, key_sum: Tensor) -> Tensor:
        """Apply the value and output weights to Σ k x ``(h, d, w)`` and Σ k ``(h, d)``; return ``(w, h * d)``."""
        attention, heads = self._attention, key_sum.shape
        weight, bias = attention.value.weight.unflatten(0, heads), attention.value.bias.unflatten(0, heads)
        per_head = key_cell @ weight.mT + key_sum[..., None] * bias[:, None]
        return torch.einsum("whe,hde->whd", attention.out.weight.unflatten(1, heads), per_head).flatten(1)

    def attend(self, rows: slice, sums: FlowSums) -> Tensor:
        """Return the output of the attention for some cells, ``(n, width)``."""
        query = self._heads(self._queries, rows)
        with torch.autocast(self._device.type, enabled=False):
            allocation = single_tissue_flow(query, sums.outgoing_key).sigmoid() / single_tissue_flow(query, sums.key)
        # (n, h, d) -> (n, h * d) -> (n, w)
        return functional.linear((query * allocation[..., None]).flatten(1), sums.key_value, self._attention.out.bias)

    def _cells(self, rows: slice) -> Tensor:
        """Return the normed cells, in the precision of the products."""
        cells: Tensor = self._norm(self._source.read(rows).to(self._device))
        return cells.to(product_type(self._device))

    def _heads(self, buffer: VectorRows, rows: slice) -> Tensor:
        """Return queries or keys, ``(n, h, d)``."""
        return self._attention.split_heads(buffer.read(rows).to(self._device))
