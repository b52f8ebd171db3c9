"""The ability of a gene model to describe genes: vectors of them, and the attention between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, cast

from torch import Tensor
from torch.nn import functional

from celloquy.models.genecompass.encoding import cells_of_like_length
from celloquy.models.genecompass.gene_attention import AttentiveModel, attention_in_cells
from celloquy.models.genecompass.gene_vectors import GeneReader, static_vectors, vectors_in_cells
from celloquy.models.genecompass.tokens import PADDING

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.models.genecompass.config import GeneModelConfig
    from celloquy.models.genecompass.tokens import GeneTokens


class TokenReader(Protocol):
    """A gene model, as far as reading its tokens asks for it."""

    token: Tensor

    def summarised(self, tokens: GeneTokens) -> Tensor:
        """Return what the token of each cell starts from."""

    def fold(self, ids: Tensor, species: Tensor) -> Tensor:
        """Return words and priors of tokens."""

    def cells_first(self, folded: Tensor, values: Tensor, start: Tensor) -> Tensor:
        """Return the cell's token and those of its genes."""


class DescribingGenes:
    """The methods of the ability ``"describe genes"``, a part of :class:`celloquy.GeneModel`."""

    config: GeneModelConfig

    @property
    def n_layers(self) -> int:
        """Layers in which genes read one another."""
        return self.config.layers

    def gene_vectors(self) -> Tensor:
        """Return a vector of every gene of ``vocabulary.genes()``, ``(genes, width)``.

        Word and priors, of a gene whose count is its median, outside of any cell.
        """
        return static_vectors(cast("GeneReader", self))

    def gene_vectors_in(self, batch: CellBatch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the last layer's vectors of the genes of some cells.

        Number of the cell ``(m,)``, row of the vocabulary ``(m,)`` and vector ``(m, width)`` of each gene that is read.
        """
        return vectors_in_cells(cast("GeneReader", self), batch)

    def read_together(self, tokens: GeneTokens) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield cells of like length ``(n,)``, ids of their tokens ``(n, l)``, which tokens are read, and these.

        The last two, ``(n, 1 + l)`` and ``(n, 1 + l, width)``, have the cell's own token first.
        """
        model = cast("TokenReader", self)
        device, start, tokens = model.token.device, model.summarised(tokens), tokens.first(self.config.context)
        for cells in cells_of_like_length(tokens.lengths):
            ids, values = (part.to(device) for part in tokens.padded(cells))
            folded = model.fold(ids, tokens.species[cells].to(device))
            there = functional.pad(ids != PADDING, (1, 0), value=True)
            yield cells, ids, there, model.cells_first(folded, values, start[cells.to(device)])

    def gene_attention_in(
        self, batch: CellBatch, rows: Tensor, layer: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield how much some genes read of one another in some cells.

        Cell, query, key and weight, each ``(m,)``; query and key are places in ``rows`` of the vocabulary. Layers count
        from 0.
        """
        return attention_in_cells(cast("AttentiveModel", self), batch, rows, layer)
