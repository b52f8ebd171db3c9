"""Embed cells by factors: one pass for the mean of all cells, unless the model has one, and one for the posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from celloquy.models.encoding import Embedder, Embedding, EmbeddingOptions, Encoding
from celloquy.nn.factors import logged
from celloquy.runtime.arrays import runs
from celloquy.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader

CELLS_SUMMED = 1024
"""Cells whose sum is taken at a time, whatever the size of the runs: the mean is then the same to the last bit."""


class Projector(Embedder, Protocol):
    """A factor model, as far as its encoding asks for it."""

    @property
    def mean(self) -> Tensor:
        """Mean log expression of the cells that the model learned from."""

    @property
    def keeps_mean(self) -> bool:
        """True if cells are centred on that mean."""

    def map_from_expression(self, measured: Tensor) -> Tensor:
        """Return the matrix that takes centred log expression to the embedding."""

    def project(self, batch: CellBatch, table: Tensor) -> Tensor:
        """Return the sum of a table's rows over a cell's genes."""


class FactorEncoding(Encoding):
    """The computation of posterior means; products in float32, as they are a small part of the work."""

    def __init__(self, model: Projector, cells: CellReader, options: EmbeddingOptions) -> None:
        self.model = model
        super().__init__(model, cells, options)

    @property
    def passes(self) -> int:
        """See :attr:`Encoding.passes`."""
        return 1 if self.model.keeps_mean else 2

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        table = self.model.map_from_expression(self.cells.measured.to(self.options.device))
        with self.bar() as bar:
            mean = self.model.mean @ table if self.model.keeps_mean else self._mean(table, bar)
            for part, batch in self.read_ahead(bar):
                full = (batch.indptr.diff() > 0)[:, None]
                self.embedding.vectors.write(part, (self.model.project(batch, table) - mean) * full)
        return self.collected()

    def _mean(self, table: Tensor, bar: ProgressBar) -> Tensor:
        """Return the mean of all cells that have counts, ``(embedding_width,)``."""
        total = torch.zeros(table.shape[1], dtype=torch.float64, device=table.device)
        filled = 0
        for part in runs(0, len(self.cells), CELLS_SUMMED):
            batch = self.cells.read(part.start, part.stop).to(table.device)
            total += self.model.project(batch, table).double().sum(0)
            filled += int((batch.indptr.diff() > 0).sum())
            bar.update((part.stop - part.start) / self.passes)
        n_filled = total.new_tensor(filled)
        self.add_up(total, n_filled)
        return (total / n_filled.clamp(min=1)).float()


def mean_expression(cells: CellReader, among: Tensor | None = None) -> Tensor:
    """Return the mean log expression, ``(genes,)``, of cells that have counts, or of those ``among`` them."""
    total, filled = torch.zeros(len(cells.measured), dtype=torch.float64), 0
    for part in runs(0, len(cells), CELLS_SUMMED):
        batch = cells.read(part.start, part.stop)
        if among is not None:
            batch = batch.select(torch.nonzero(among[part])[:, 0])
        total.index_add_(0, batch.indices.long(), logged(batch).double())
        filled += int((batch.indptr.diff() > 0).sum())
    return (total / max(filled, 1)).float()
