"""From a cell to the logits of its label: what its log-normalised expression says, and what its embedding says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from celloquy.nn.expression import WeightedGeneSum

if TYPE_CHECKING:
    from celloquy.data import CellBatch


class LogNormaliser(nn.Module):
    """Counts to log1p of counts at a common depth, and where the genes lie on that scale.

    Only genes that a cell's source measured count for its depth, and those of the training cells are scaled alike; so a
    panel of fewer genes gives the values that the whole transcriptome would have given.

    Parameters
    ----------
    genes
        Size of the vocabulary.
    """

    def __init__(self, genes: int) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros(genes))
        self.register_buffer("mean", torch.zeros(genes))
        self.register_buffer("deviation", torch.ones(genes))
        self.share: Tensor
        """``(genes,)``, counts of each gene in the average training cell at a depth of :data:`DEPTH`."""
        self.mean: Tensor
        """``(genes,)``, mean of the values over the training cells."""
        self.deviation: Tensor
        """``(genes,)``, their standard deviation."""

    def forward(self, batch: CellBatch) -> Tensor:
        """Return the values ``(z,)`` at the non-zero counts."""
        depth = batch.library_size().clamp(min=1)
        wanted = (batch.measured.float() @ self.share).clamp(min=1)[batch.panel]
        return (batch.values * (wanted / depth)[batch.cell_of_count]).log1p()

    @torch.no_grad()
    def fit(self, cells: CellBatch) -> None:
        """Take the scale from the training cells."""
        depth = cells.library_size().clamp(min=1).double()
        relative = cells.values.double() / depth[cells.cell_of_count]
        genes, cellnumber = cells.indices.long(), max(1, len(cells))
        total = torch.zeros(cells.genes, dtype=torch.float64)
        self.share.copy_(total.index_add(0, genes, relative) * (DEPTH / cellnumber))
        values = self(cells).double()
        mean = total.index_add(0, genes, values) / cellnumber
        square = total.index_add(0, genes, values**2) / cellnumber
        self.mean.copy_(mean)
        self.deviation.copy_((square - mean**2).clamp(min=0).sqrt())


DEPTH = 10_000.0
"""Counts a cell is scaled to."""


class LabelClassifier(nn.Module):
    """Logits of labels from two readings of a cell, added.

    The linear reading is a multinomial regression on log-normalised expression, exact about single genes where labelled
    cells are few. The embedding's adds what genes say together, and what the cells around say.

    Shapes: ``n`` cells, ``c`` classes.

    Parameters
    ----------
    genes
        Size of the vocabulary.
    width
        Width of the embedding.
    classes
        Number of labels.
    dropout
        Share of the embedding dropped in training.
    """

    def __init__(self, genes: int, width: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalise = LogNormaliser(genes)
        self.gene = nn.Parameter(torch.zeros(genes, classes))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: CellBatch, embedding: Tensor) -> Tensor:
        """Return the logits ``(n, c)`` of cells with their embedding ``(n, width)``."""
        logits: Tensor = self.linear(batch) + self.head(self.dropout(embedding))
        return logits

    def linear(self, batch: CellBatch) -> Tensor:
        """Return what the expression alone says, ``(n, c)``."""
        values = self.normalise(batch)
        summed: Tensor = WeightedGeneSum.apply(self.gene, batch.indices, batch.indptr, values)  # type: ignore[no-untyped-call]
        # A gene that was not measured is at its mean, so it says nothing.
        usual = (batch.measured.float() * self.normalise.mean) @ self.gene
        return summed - usual[batch.panel] + self.bias
