"""The ability of a gene model to describe genes: vectors of them, and the attention between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from torch import Tensor

from celloquy.models.genecompass.gene_attention import AttentiveModel, attention_in_cells
from celloquy.models.genecompass.gene_vectors import GeneReader, static_vectors, vectors_in_cells

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.models.genecompass.config import GeneModelConfig


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

    def gene_attention_in(
        self, batch: CellBatch, rows: Tensor, layer: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield how much some genes read of one another in some cells.

        Cell, query, key and weight, each ``(m,)``; query and key are places in ``rows`` of the vocabulary. Layers count
        from 0.
        """
        return attention_in_cells(cast("AttentiveModel", self), batch, rows, layer)
