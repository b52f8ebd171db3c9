"""One tissue of any size through the encoder, a chunk of cells at a time, with the result of reading it at once.

Flow attention needs of a tissue only sums over its cells, so three passes over the chunks gather them and a last one
uses them. What is held beside one chunk is the cells' vectors, in memory or in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from celloquy.nn.attention import FlowAttention, SoftmaxAttention, flow
from celloquy.nn.encoder import EncoderLayer


@dataclass(frozen=True, slots=True)
class FlowSums:
    """What a cell has to know of its tissue in one layer; ``h`` heads of width ``d``."""

    key: Tensor
    """``(h, d)`` Σ k."""
    outgoing_key: Tensor
    """``(h, d)`` Σ O k."""
    memory: Tensor
    """``(h, d, d)`` n Σ k softmax(Ô) v."""


class Rows(Protocol):
    """Vectors of cells, ``(cells, width)`` float32, that are read and written a run at a time."""

    def read(self, rows: slice) -> Tensor:
        """Return ``(n, width)`` on the CPU."""

    def write(self, rows: slice, values: Tensor) -> None:
        """Take ``(n, width)`` from any device."""


def stream_layer(
    layer: EncoderLayer,
    source: Rows,
    target: Rows,
    runs: Sequence[slice],
    tick: Callable[[int], object] = lambda cells: None,
    *,
    keep: bool = False,
) -> None:
    """Send one tissue through one layer of the encoder.

    Parameters
    ----------
    layer
        In evaluation mode, with flow attention or none.
    source, target
        Where the cells are read from and written to; may be the same.
    runs
        The rows that make up the tissue; one run is computed at a time, on the layer's device.
    tick
        Called with the number of cells after every run, for a progress bar.
    keep
        Hold the queries, keys and values of the whole tissue in memory, rather than compute them in every pass.
    """
    parts = [_Part(layer, source, rows, keep) for rows in runs]
    sums = None if layer.attention is None else _gather(layer.attention, parts)
    for part in parts:
        cells = part.cells()
        if sums is not None:
            cells = cells + part.read(sums)
        target.write(part.rows, layer.think(cells))
        part.forget()
        tick(len(part))


class _Part:
    """A run of a tissue's cells in one layer."""

    def __init__(self, layer: EncoderLayer, source: Rows, rows: slice, keep: bool) -> None:
        self.rows, self._layer, self._source, self._keep = rows, layer, source, keep
        self._kept: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)

    def cells(self) -> Tensor:
        return self._source.read(self.rows).to(self._layer.norm_feedforward.weight.device)

    def query(self) -> Tensor:
        return self._projected("query", self._attention.open)

    def key(self) -> Tensor:
        return self._projected("key", self._attention.open)

    def value(self) -> Tensor:
        return self._projected("value", self._attention.split)

    def forget(self) -> None:
        self._kept.clear()

    def read(self, sums: FlowSums) -> Tensor:
        """Return what the cells take from their tissue, ``(n, width)``."""
        query = self.query()
        allocation = flow(query, sums.outgoing_key).sigmoid() / flow(query, sums.key)
        mixed = torch.einsum("nhd,hde->nhe", query, sums.memory) * allocation[..., None]
        out: Tensor = self._attention.out(mixed.flatten(1))
        return out

    @property
    def _attention(self) -> FlowAttention:
        assert isinstance(self._layer.attention, FlowAttention)
        return self._layer.attention

    def _projected(self, name: str, make: Callable[[Tensor], Tensor]) -> Tensor:
        if name in self._kept:
            return self._kept[name]
        assert self._layer.norm_attention is not None
        projected = make(getattr(self._attention, name)(self._layer.norm_attention(self.cells())))
        if self._keep:
            self._kept[name] = projected
        return projected


def _gather(attention: FlowAttention | SoftmaxAttention, parts: Sequence[_Part]) -> FlowSums:
    assert isinstance(attention, FlowAttention)
    width, heads, device = attention.query.out_features, attention.heads, attention.query.weight.device
    # Runs are summed in float64 where there is one, so that the result does not depend on where they are cut.
    exact = torch.float32 if device.type == "mps" else torch.float64
    query_sum, key_sum, incoming_query, outgoing_key = torch.zeros(
        4, heads, width // heads, dtype=exact, device=device
    ).unbind()
    competition = torch.zeros(heads, dtype=exact, device=device)
    memory = torch.zeros(heads, width // heads, width // heads, dtype=exact, device=device)
    for part in parts:
        query_sum += part.query().sum(0)
        key_sum += part.key().sum(0)
    for part in parts:
        query, key = part.query(), part.key()
        incoming_query += (query / flow(query, key_sum.float())[..., None]).sum(0)
        outgoing_key += (key / flow(key, query_sum.float())[..., None]).sum(0)
    for part in parts:
        key = part.key()
        attraction = flow(key, incoming_query.float()).clamp(-1, 1).exp()
        competition += attraction.sum(0)
        memory += torch.einsum("nhd,nhe->hde", key, part.value() * attraction[..., None])
    share = (sum(map(len, parts)) / competition)[:, None, None]
    return FlowSums(key=key_sum.float(), outgoing_key=outgoing_key.float(), memory=(memory * share).float())
