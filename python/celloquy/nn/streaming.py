"""One tissue of any size through the encoder, a chunk of cells at a time, with the result of reading it at once.

Flow attention needs of a tissue only sums over its cells, so three passes over the chunks gather them and a last one
uses them. What is held beside one chunk is the cells' vectors, in a buffer that may lie in memory or in a mapped file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from celloquy.nn.attention import FlowAttention, flow
from celloquy.nn.encoder import CellEncoder, EncoderLayer


@dataclass(frozen=True, slots=True)
class FlowSums:
    """What a cell has to know of its tissue in one layer; ``h`` heads of width ``d``."""

    key: Tensor
    """``(h, d)`` Σ k."""
    outgoing_key: Tensor
    """``(h, d)`` Σ O k."""
    memory: Tensor
    """``(h, d, d)`` n Σ k softmax(Ô) v."""


def stream_encoder(encoder: CellEncoder, cells: Tensor, chunk: int, tick: Callable[[], None] = lambda: None) -> None:
    """Encode one tissue in place.

    Parameters
    ----------
    encoder
        In evaluation mode, with flow attention or none.
    cells
        ``(n, width)`` vectors of all cells of the tissue on any device; overwritten with the encoded ones.
    chunk
        Cells computed at a time, on the encoder's device.
    tick
        Called after every chunk of every layer, for a progress bar.
    """
    for layer in encoder.layers:
        assert isinstance(layer, EncoderLayer)
        sums = None
        if layer.attention is not None:
            assert isinstance(layer.attention, FlowAttention)
            sums = _gather(layer, layer.attention, cells, chunk)
        for start in range(0, len(cells), chunk):
            part = _load(layer, cells, start, chunk)
            if sums is not None:
                part = part + _read(layer, part, sums)
            cells[start : start + chunk] = layer.think(part).to(cells)
            tick()


def _load(layer: EncoderLayer, cells: Tensor, start: int, chunk: int) -> Tensor:
    weight = layer.norm_feedforward.weight
    return cells[start : start + chunk].to(weight.device, weight.dtype)


def _gather(layer: EncoderLayer, attention: FlowAttention, cells: Tensor, chunk: int) -> FlowSums:
    assert layer.norm_attention is not None
    starts = range(0, len(cells), chunk)

    def normed(start: int) -> Tensor:
        assert layer.norm_attention is not None
        vectors: Tensor = layer.norm_attention(_load(layer, cells, start, chunk))
        return vectors

    # Chunks are summed in float64 where there is one, so that the result does not depend on where they are cut.
    query_sum = key_sum = incoming_query = outgoing_key = competition = memory = 0.0  # type: ignore[assignment]
    for start in starts:
        part = normed(start)
        query_sum += _exact(attention.queries(part).sum(0))
        key_sum += _exact(attention.keys(part).sum(0))
    query_sum, key_sum = query_sum.float(), key_sum.float()
    for start in starts:
        part = normed(start)
        query, key = attention.queries(part), attention.keys(part)
        # (n, h, d) weighted by (n, h)
        incoming_query += _exact(torch.einsum("nhd,nh->hd", query, 1 / flow(query, key_sum)))
        outgoing_key += _exact(torch.einsum("nhd,nh->hd", key, 1 / flow(key, query_sum)))
    incoming_query, outgoing_key = incoming_query.float(), outgoing_key.float()
    for start in starts:
        part = normed(start)
        key = attention.keys(part)
        attraction = flow(key, incoming_query).clamp(-1, 1).exp()
        competition += _exact(attraction.sum(0))
        memory += _exact(torch.einsum("nhd,nhe->hde", key, attention.values(part) * attraction[..., None]))
    share = (len(cells) / competition)[:, None, None]
    return FlowSums(key=key_sum, outgoing_key=outgoing_key, memory=(memory * share).float())


def _read(layer: EncoderLayer, part: Tensor, sums: FlowSums) -> Tensor:
    """Return what a chunk of cells takes from its tissue, ``(n, width)``."""
    assert isinstance(layer.attention, FlowAttention)
    assert layer.norm_attention is not None
    query = layer.attention.queries(layer.norm_attention(part))
    allocation = flow(query, sums.outgoing_key).sigmoid() / flow(query, sums.key)
    mixed = torch.einsum("nhd,hde->nhe", query, sums.memory) * allocation[..., None]
    out: Tensor = layer.attention.out(mixed.flatten(1))
    return out


def _exact(values: Tensor) -> Tensor:
    return values if values.device.type == "mps" else values.double()
