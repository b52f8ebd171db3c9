"""Vectors of genes: outside of any cell, and in the cells that express them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from celloquy.models.genecompass.encoding import cells_of_like_length

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.genes import GeneVocabulary
    from celloquy.models.genecompass.fusion import GeneFusion
    from celloquy.models.genecompass.tokens import GeneTokens


class GeneReader(Protocol):
    """A gene model, as far as the vectors of its genes ask for it."""

    vocabulary: GeneVocabulary
    fusion: GeneFusion
    token: Tensor
    partner: Tensor

    def tokenise(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens of some cells."""

    def encode(self, ids: Tensor, values: Tensor, species: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the last layer's vectors."""


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
    tokens = model.tokenise(batch)
    token = model.token.cpu()
    row_of = torch.zeros(len(model.partner), dtype=torch.int64)
    row_of[token] = torch.arange(len(token))
    for cells in cells_of_like_length(tokens.lengths):
        ids, values = tokens.padded(cells)
        if not ids.numel():
            continue
        there = ids > 0
        _, vectors = model.encode(ids.to(model.token.device), values, tokens.species[cells])
        number = cells[:, None].expand_as(ids)[there]
        yield number, row_of[ids[there]], vectors[there.to(vectors.device)]
