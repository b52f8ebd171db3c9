"""Attention between genes: how much the genes of a cell read of one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.models.genecompass.tokens import GeneTokens
    from celloquy.nn.transformer import Transformer


class AttentiveModel(Protocol):
    """A gene model, as far as the attention between its genes asks for it."""

    encoder: Transformer
    token: Tensor
    partner: Tensor

    def tokens_of(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens of some cells."""

    def read_together(self, tokens: GeneTokens) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield cells, the ids of their tokens, what of these is read, and what the encoder reads."""


def attention_in_cells(
    model: AttentiveModel, batch: CellBatch, rows: Tensor, layer: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield cell, query, key and weight, each ``(m,)``, of all pairs of some genes that a cell reads.

    No more is kept than the rows of these genes, of the cells that are read together.

    Parameters
    ----------
    model
        The model.
    batch
        The cells.
    rows
        ``(k,)`` int64: rows of the vocabulary; query and key are places in them.
    layer
        Layer of the encoder, counted from 0.
    """
    device = model.token.device
    place_of = torch.full((len(model.partner),), -1, device=device)
    place_of[model.token[rows.to(device)]] = torch.arange(len(rows), device=device)
    for cells, ids, mask, read in model.read_together(model.tokens_of(batch)):
        place = place_of[ids]
        # The cell's own token comes first.
        there = functional.pad(place >= 0, (1, 0))
        n_queries = int(there.sum(1).max()) if there.numel() else 0
        if not n_queries:
            continue
        queries = there.byte().argsort(dim=1, descending=True, stable=True)[:, :n_queries]
        asked = there.gather(1, queries)
        place = functional.pad(place, (1, 0), value=-1).gather(1, queries)
        mask = mask[:, None, None]
        for one in model.encoder.layers[:layer]:
            read = one(read, mask)
        weights = model.encoder.layers[layer].attention(read, mask, queries)  # type: ignore[operator]
        weights = weights.gather(2, queries[:, None].expand(-1, n_queries, -1))
        cell, query, key = torch.nonzero(asked[:, :, None] & asked[:, None], as_tuple=True)
        yield cells[cell.cpu()], place[cell, query].cpu(), place[cell, key].cpu(), weights[cell, query, key].cpu()
