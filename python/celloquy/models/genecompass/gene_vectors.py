"""Vectors of genes: outside of any cell, and in the cells that express them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from celloquy.models.genecompass.tokens import PADDING

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.genes import GeneVocabulary
    from celloquy.models.genecompass.fusion import GeneFusion
    from celloquy.models.genecompass.tokens import GeneTokens
    from celloquy.nn.transformer import Transformer


class GeneReader(Protocol):
    """A gene model, as far as the vectors of its genes ask for it."""

    vocabulary: GeneVocabulary
    fusion: GeneFusion
    token: Tensor
    partner: Tensor

    encoder: Transformer

    def tokens_of(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens of some cells."""

    def read_together(self, tokens: GeneTokens) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield cells, the ids of their tokens, what of these is read, and what the encoder reads."""


def static_vectors(model: GeneReader) -> Tensor:
    """Return a vector of every gene of ``vocabulary.genes()``, ``(genes, width)``: its word and what is known of it."""
    rows, mouse = zip(*((row, species == "mouse") for row, _, _, species in model.vocabulary.genes()), strict=True)
    words = model.token[torch.tensor(rows, device=model.token.device)]
    known = torch.where(torch.tensor(mouse, device=words.device), model.partner[words], words)
    parts = zip(words.split(8192), known.split(8192), strict=True)
    # A count that is the gene's median has the value log2(1 + 1).
    vectors = [
        model.fusion((folded := model.fusion.fold(*part)), folded.new_ones(len(folded)), placed=False) for part in parts
    ]
    return torch.cat(vectors)


def vectors_in_cells(model: GeneReader, batch: CellBatch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield cell ``(m,)``, row of the vocabulary ``(m,)`` and vector ``(m, width)`` of the genes that are read."""
    token = model.token.cpu()
    row_of = torch.zeros(len(model.partner), dtype=torch.int64)
    row_of[token] = torch.arange(len(token))
    for cells, ids, mask, read in model.read_together(model.tokens_of(batch)):
        there = ids > PADDING
        vectors = model.encoder(read, mask)[:, 1:][there]
        number = cells[:, None].expand_as(ids)[there.cpu()]
        yield number, row_of[ids[there].cpu()], vectors
