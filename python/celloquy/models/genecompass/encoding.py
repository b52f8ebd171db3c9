"""Embed cells gene by gene: tokenised a run at a time, those of like length read together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from celloquy.models.encoding import Embedder, Embedding, EmbeddingOptions, Encoding
from celloquy.runtime.hardware import autocast

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader
    from celloquy.models.genecompass.config import GeneModelConfig
    from celloquy.models.genecompass.tokens import GeneTokens

LONGER = {"cpu": 1.125, "cuda": 2.0, "mps": 1.5}
MORE = 8
"""Cells are read together if the longest is no longer than the shortest by this factor and this number of tokens. A GPU
computes the padding in less time than its host takes to ask for more groups."""

TOKENS_AT_A_TIME = {"cpu": 2**13, "cuda": 2**18, "mps": 2**16}
"""Tokens that are read at a time in training, where nothing else is asked for. A GPU is kept busy by more."""

CHUNK_BYTES = {"cpu": 20 * 2**20, "cuda": 2**30, "mps": 2**28}
"""Memory for what a layer computes of the tokens that are read at a time: a processor's cache holds so little."""


def cells_of_like_length(lengths: Tensor, most: int | None = None, device: str = "cpu") -> list[Tensor]:
    """Return groups of cells, the shortest first, in which little is padding.

    Parameters
    ----------
    lengths
        ``(n,)``: tokens of each cell.
    most
        Tokens of a group, the padding and a token for each cell included, unless it is a single cell.
    device
        Kind of device that reads them.
    """
    most, longer = most or TOKENS_AT_A_TIME[device], LONGER[device]
    order = lengths.argsort(stable=True)
    sizes = lengths[order].tolist()
    groups, first = [], 0
    for last, size in enumerate(sizes):
        if last > first and (size > longer * sizes[first] + MORE or (last - first + 1) * (size + 1) > most):
            groups.append(order[first:last])
            first = last
    return [*groups, order[first:]] if sizes else []


class TokenModel(Embedder, Protocol):
    """A gene model, as far as its encoding asks for it."""

    config: GeneModelConfig

    def tokens_of(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens of some cells that an embedding takes."""

    def table(self, species: int) -> Tensor:
        """Return word and priors of every gene in one row."""

    def embed_tokens(
        self, tokens: GeneTokens, tables: Mapping[int, Tensor] | None = None, most: int | None = None
    ) -> Tensor:
        """Return the embedding of cells that are tokenised."""


class GeneEncoding(Encoding):
    """The embedding of cells that are read alone, each as a sentence of its genes."""

    def __init__(self, model: TokenModel, cells: CellReader, options: EmbeddingOptions) -> None:
        self.model = model
        super().__init__(model, cells, options)
        config = model.config
        # Of each token a layer holds its vector, queries, keys and values, what attention read, and the wide vector.
        room = min(self.room // 4, CHUNK_BYTES[options.device.type])
        self.most = max(1, room // (4 * (6 * config.width + 2 * config.feedforward)))

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        tables: dict[int, Tensor] = {}
        with self.bar() as bar, autocast(self.options.precision, self.options.device):
            for part, batch in self.read_ahead(bar):
                tokens = self.model.tokens_of(batch)
                for species in tokens.species.unique().tolist():
                    if species not in tables:
                        tables[species] = self.model.table(species)
                self.embedding.vectors.write(part, self.model.embed_tokens(tokens, tables, self.most))
        return self.collected()
