"""Attributions of genes to labels by integrated gradients, averaged over groups of cells as they stream.

An annotator reads a cell by two weighted sums over its genes: of the values that its regressions read, and of the
values that its model reads. The gradient is integrated along the straight way from the mean cell to the cell in these
sums (Sundararajan et al. 2017), so that no gradient of a gene is ever computed: a gene's share is its value, less that
of the mean cell, times its row of the table, times the mean gradient of the sum. Where the model is linear, such as the
one in the box, that is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celloquy.data import CellBatch, CellReader
from celloquy.models import Model
from celloquy.runtime.arrays import runs
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.annotation.classifier import LabelClassifier

CELLS_READ = 128
"""Cells that are explained at a time: a vector for each of their counts is in memory."""
NODES = 64
"""Places on the way to the mean cell at which the gradient is taken (Gauss and Legendre)."""


class SumsGenes(Protocol):
    """A model of the ability ``"sum genes"``: all that its embedding reads of a cell is one weighted sum of genes."""

    def expression(self, batch: CellBatch) -> Tensor:
        """Return the value of each count, ``(z,)``."""

    def expression_table(self, measured: Tensor) -> Tensor:
        """Return the vector of each gene that is summed with these values, ``(genes, d)``."""

    def embed_sums(self, sums: Tensor) -> Tensor:
        """Return the embedding of cells with these sums ``(n, d)``, up to a constant."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """What genes add to labels, for ``k`` groups of cells."""

    values: NDArray[np.float64]
    """``(k, genes)``: mean over a group's cells of each gene's share in the difference below."""
    expression: NDArray[np.float64]
    """``(k, genes)``: mean log expression of the cells, less that of the mean cell."""
    difference: NDArray[np.float64]
    """``(k,)``: mean over the cells of how much the logit of their label exceeds the mean of the others, less the same
    of the mean cell."""
    n_cells: NDArray[np.int64]
    """``(k,)``: cells of each group."""


def attributions(
    classifier: LabelClassifier, model: Model, cells: CellReader, label: Tensor, group: Tensor, *, progress: bool
) -> Attributions:
    """Explain the labels of cells, group by group.

    Parameters
    ----------
    classifier, model
        The two parts of an annotator.
    cells
        Cells over its genes.
    label, group
        ``(cells,)`` int64: label and group of each cell; cells of group -1 are part of the mean cell alone.
    progress
        Show a progress bar.
    """
    was_training = model.training
    model.eval()
    try:
        with (
            torch.no_grad(),
            ProgressBar(total=2 * len(cells), desc="Explaining", unit=" cells", disable=not progress) as bar,
        ):
            run = _Explaining(classifier, cast("SumsGenes", model), cells, label, group)
            for part in runs(0, len(cells), CELLS_READ):
                run.add_to_means(cells.read(part.start, part.stop))
                bar.update(part.stop - part.start)
            run.finish_means()
            for part in runs(0, len(cells), CELLS_READ):
                chosen = torch.nonzero(group[part] >= 0)[:, 0]
                if len(chosen):
                    run.add_attributions(cells.read(part.start, part.stop).select(chosen), part.start + chosen)
                bar.update(part.stop - part.start)
            return run.found()
    finally:
        model.train(was_training)


class _Explaining:
    """Sums over the cells that were read: ``g`` genes, ``c`` labels, ``k`` groups."""

    def __init__(
        self, classifier: LabelClassifier, model: SumsGenes, cells: CellReader, label: Tensor, group: Tensor
    ) -> None:
        self.classifier, self.model, self.label, self.group = classifier, model, label, group
        classes, genes = classifier.gene.shape[1], len(cells.measured)
        # The logit of a label less the mean of the others'.
        contrast = (torch.eye(classes) * classes - 1) / max(1, classes - 1)
        self.table = model.expression_table(cells.measured).detach()
        self.gene = classifier.weight[0] * classifier.gene @ contrast
        self.head = classifier.weight[1] * contrast @ classifier.head.weight.detach()
        groups = int(group.max()) + 1
        self.mean_read, self.mean_linear, self.of = torch.zeros(genes), torch.zeros(genes), len(cells)
        self.n_cells = torch.bincount(group[group >= 0], minlength=groups)
        self.values, self.expression = (torch.zeros(groups, genes, dtype=torch.float64) for _ in range(2))
        self.labels = torch.zeros(groups, classes)
        self.gradients = torch.zeros(groups, self.table.shape[1])
        self.difference = torch.zeros(groups, dtype=torch.float64)
        self.middle = torch.zeros(0)

    def add_to_means(self, batch: CellBatch) -> None:
        """First pass: the mean cell, of all cells, whichever are asked for."""
        genes = batch.indices.long()
        self.mean_read.index_add_(0, genes, self.model.expression(batch) / self.of)
        self.mean_linear.index_add_(0, genes, self.classifier.normalise(batch) / self.of)

    def finish_means(self) -> None:
        """Between the passes."""
        self.middle = self.mean_read @ self.table

    def add_attributions(self, batch: CellBatch, places: Tensor) -> None:
        """Second pass: what the genes of some cells add to their labels."""
        label, group, cell = self.label[places], self.group[places], batch.cell_of_count
        genes, of_label = batch.indices.long(), label[cell]
        logged = self.classifier.normalise(batch)
        linear = logged * self.gene[genes, of_label]
        rows = self.table[genes] * self.model.expression(batch)[:, None]
        sums = torch.zeros(len(batch), rows.shape[1]).index_add_(0, cell, rows)
        gradient, embedded = self._integrated(sums, self.head[label])
        shares = linear + (rows * gradient[cell]).sum(1)
        self.values.index_put_((group[cell], genes), shares.double(), accumulate=True)
        self.expression.index_put_((group[cell], genes), logged.double(), accumulate=True)
        self.labels.index_put_((group, label), torch.ones(len(label)), accumulate=True)
        self.gradients.index_add_(0, group, gradient)
        usual = self.mean_linear @ self.gene
        summed = torch.zeros(len(batch)).index_add_(0, cell, linear)
        self.difference.index_add_(0, group, (summed - usual[label] + embedded).double())

    def _integrated(self, sums: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        """Mean gradient along the way from the mean cell ``(n, d)``, and the difference of what lies at its ends."""
        places, weights = np.polynomial.legendre.leggauss(NODES)
        total = torch.zeros_like(sums)
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            at = (self.middle + float(place) * (sums - self.middle)).requires_grad_()
            with torch.enable_grad():
                told = (self.model.embed_sums(at) * head).sum()
            total += float(weight) * torch.autograd.grad(told, at)[0]
        ends = self.model.embed_sums(sums) - self.model.embed_sums(self.middle[None])
        return total, (ends * head).sum(1)

    def found(self) -> Attributions:
        """The means over groups, from the mean cell on."""
        usual = self.labels @ (self.gene * self.mean_linear[:, None]).T
        usual += self.gradients @ (self.table * self.mean_read[:, None]).T
        number = self.n_cells.clamp(min=1).double()
        values = (self.values - usual) / number[:, None]
        expression = self.expression / number[:, None] - self.mean_linear
        difference = self.difference / number
        return Attributions(values.numpy(), expression.numpy(), difference.numpy(), self.n_cells.numpy())
