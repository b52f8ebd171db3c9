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

from celloquy.nn.attention import FlowAttention, flow
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
    parts: Sequence[slice],
    tick: Callable[[int], object] = lambda cells: None,
) -> None:
    """Send one tissue through one layer of the encoder.

    Parameters
    ----------
    layer
        In evaluation mode, with flow attention or none.
    source, target
        Where the cells are read from and written to; may be the same.
    parts
        The runs of rows that make up the tissue; one is computed at a time, on the layer's device.
    tick
        Called with the number of cells after every run, for a progress bar.
    """
    sums = None if layer.attention is None else _gather(layer, source, parts)
    for part in parts:
        cells = _load(layer, source, part)
        if sums is not None:
            cells = cells + _read(layer, cells, sums)
        target.write(part, layer.think(cells))
        tick(part.stop - part.start)


def _load(layer: EncoderLayer, source: Rows, part: slice) -> Tensor:
    return source.read(part).to(layer.norm_feedforward.weight.device)


def _gather(layer: EncoderLayer, source: Rows, parts: Sequence[slice]) -> FlowSums:
    attention, norm = layer.attention, layer.norm_attention
    assert isinstance(attention, FlowAttention)
    assert norm is not None
    width, heads = norm.normalized_shape[0], attention.heads
    device = norm.weight.device
    # Chunks are summed in float64 where there is one, so that the result does not depend on where they are cut.
    exact = torch.float32 if device.type == "mps" else torch.float64
    query_sum, key_sum, incoming_query, outgoing_key = torch.zeros(
        4, heads, width // heads, dtype=exact, device=device
    ).unbind()
    competition = torch.zeros(heads, dtype=exact, device=device)
    memory = torch.zeros(heads, width // heads, width // heads, dtype=exact, device=device)
    for part in parts:
        cells = norm(_load(layer, source, part))
        query_sum += attention.queries(cells).sum(0)
        key_sum += attention.keys(cells).sum(0)
    for part in parts:
        cells = norm(_load(layer, source, part))
        query, key = attention.queries(cells), attention.keys(cells)
        # (n, h, d) weighted by (n, h)
        incoming_query += torch.einsum("nhd,nh->hd", query, 1 / flow(query, key_sum.float()))
        outgoing_key += torch.einsum("nhd,nh->hd", key, 1 / flow(key, query_sum.float()))
    for part in parts:
        cells = norm(_load(layer, source, part))
        key = attention.keys(cells)
        attraction = flow(key, incoming_query.float()).clamp(-1, 1).exp()
        competition += attraction.sum(0)
        memory += torch.einsum("nhd,nhe->hde", key, attention.values(cells) * attraction[..., None])
    share = (sum(part.stop - part.start for part in parts) / competition)[:, None, None]
    return FlowSums(key=key_sum.float(), outgoing_key=outgoing_key.float(), memory=(memory * share).float())


def _read(layer: EncoderLayer, part: Tensor, sums: FlowSums) -> Tensor:
    """Return what a chunk of cells takes from its tissue, ``(n, width)``."""
    assert isinstance(layer.attention, FlowAttention)
    assert layer.norm_attention is not None
    query = layer.attention.queries(layer.norm_attention(part))
    allocation = flow(query, sums.outgoing_key).sigmoid() / flow(query, sums.key)
    mixed = torch.einsum("nhd,hde->nhe", query, sums.memory) * allocation[..., None]
    out: Tensor = layer.attention.out(mixed.flatten(1))
    return out
