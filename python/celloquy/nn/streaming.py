"""One tissue of any size through the encoder, a chunk of cells at a time, with the result of reading it at once.

Flow attention needs of a tissue only sums over its cells, so three passes over the chunks gather them and a last one
uses them. What is held beside one chunk is the cells' vectors, in a buffer that may lie in memory or in a mapped file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def stream_encoder(
    encoder: CellEncoder, buffer: Tensor, rows: Tensor, chunk: int, tick: Callable[[int], object] = lambda cells: None
) -> None:
    """Encode one tissue in place.

    Parameters
    ----------
    encoder
        In evaluation mode, with flow attention or none.
    buffer
        ``(cells, width)`` float32 vectors, on any device; those of the tissue are overwritten with the encoded ones.
    rows
        ``(n,)`` int64 rows of the buffer that hold the tissue.
    chunk
        Cells computed at a time, on the encoder's device.
    tick
        Called with the number of cells after every chunk of every layer, for a progress bar.
    """
    parts = rows.split(chunk)
    for layer in encoder.layers:
        assert isinstance(layer, EncoderLayer)
        sums = None if layer.attention is None else _gather(layer, buffer, parts)
        for part in parts:
            cells = _load(layer, buffer, part)
            if sums is not None:
                cells = cells + _read(layer, cells, sums)
            buffer[part] = layer.think(cells).to(buffer)
            tick(len(part))


def _load(layer: EncoderLayer, buffer: Tensor, part: Tensor) -> Tensor:
    return buffer[part].to(layer.norm_feedforward.weight.device)


def _gather(layer: EncoderLayer, buffer: Tensor, parts: Sequence[Tensor]) -> FlowSums:
    attention, norm = layer.attention, layer.norm_attention
    assert isinstance(attention, FlowAttention)
    assert norm is not None
    width, heads = buffer.shape[1], attention.heads
    device = norm.weight.device
    # Chunks are summed in float64 where there is one, so that the result does not depend on where they are cut.
    exact = torch.float32 if device.type == "mps" else torch.float64
    query_sum, key_sum, incoming_query, outgoing_key = torch.zeros(
        4, heads, width // heads, dtype=exact, device=device
    ).unbind()
    competition = torch.zeros(heads, dtype=exact, device=device)
    memory = torch.zeros(heads, width // heads, width // heads, dtype=exact, device=device)
    for part in parts:
        cells = norm(_load(layer, buffer, part))
        query_sum += attention.queries(cells).sum(0)
        key_sum += attention.keys(cells).sum(0)
    for part in parts:
        cells = norm(_load(layer, buffer, part))
        query, key = attention.queries(cells), attention.keys(cells)
        # (n, h, d) weighted by (n, h)
        incoming_query += torch.einsum("nhd,nh->hd", query, 1 / flow(query, key_sum.float()))
        outgoing_key += torch.einsum("nhd,nh->hd", key, 1 / flow(key, query_sum.float()))
    for part in parts:
        cells = norm(_load(layer, buffer, part))
        key = attention.keys(cells)
        attraction = flow(key, incoming_query.float()).clamp(-1, 1).exp()
        competition += attraction.sum(0)
        memory += torch.einsum("nhd,nhe->hde", key, attention.values(cells) * attraction[..., None])
    share = (sum(map(len, parts)) / competition)[:, None, None]
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
