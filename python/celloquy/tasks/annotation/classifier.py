"""Logits of a cell's label: a linear head on log-normalised expression, and a head on the embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from celloquy.nn.dropout import Dropout
from celloquy.nn.expression import WeightedGeneSum
from celloquy.tasks.annotation.novelty import Novelty

if TYPE_CHECKING:
    from celloquy.data import CellBatch


DEPTH = 10_000.0
"""Counts that a cell is scaled to."""


class LogNormaliser(nn.Module):
    """Counts to log1p of counts at a common depth, and the genes' means on that scale.

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
        self.share: Tensor
        """``(genes,)``, counts of each gene in the average training cell at a depth of :data:`DEPTH`."""
        self.mean: Tensor
        """``(genes,)``, mean of the values over the training cells."""

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
        genes, number = cells.indices.long(), max(1, len(cells))
        total = torch.zeros(cells.n_genes, dtype=torch.float64)
        self.share.copy_(total.index_add(0, genes, relative) * (DEPTH / number))
        self.mean.copy_(total.index_add(0, genes, self(cells).double()) / number)


class LabelClassifier(nn.Module):
    """Logits of labels from two heads.

    The linear head is the sum of two multinomial regressions: on log-normalised expression, exact about single genes
    where labelled cells are few, and on its principal components, steady where another platform measures single genes
    otherwise. The head on the embedding adds what genes say together, and what the cells around say. Each has a weight,
    which makes the sum of their logits a calibrated one.

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
        self.novelty = Novelty(classes)
        self.register_buffer("gene", torch.zeros(genes, classes))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("weight", torch.ones(2))
        self.gene: Tensor
        """``(genes, classes)``, weights of the linear head, 0 for genes that it does not use."""
        self.bias: Tensor
        self.weight: Tensor
        """Weights of the linear head and of the head on the embedding: the inverse of their temperatures."""
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, batch: CellBatch, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits ``(n, c)`` and the novelty ``(n,)`` of cells with their embedding ``(n, width)``."""
        linear = self.linear_logits(batch)
        return self.weight[0] * linear + self.weight[1] * self.embedding_logits(embedding), self.novelty(linear)

    def embedding_logits(self, embedding: Tensor) -> Tensor:
        """Return the logits of the head on the embedding, ``(n, c)``."""
        logits: Tensor = self.head(self.dropout(embedding))
        return logits

    def linear_logits(self, batch: CellBatch) -> Tensor:
        """Return the logits of the linear head, ``(n, c)``, from the expression alone."""
        values = self.normalise(batch)
        summed: Tensor = WeightedGeneSum.apply(self.gene, batch.indices, batch.indptr, values)
        # A gene that was not measured is taken to be at its mean, so it says nothing.
        usual = (batch.measured.float() * self.normalise.mean) @ self.gene
        return summed - usual[batch.panel] + self.bias
