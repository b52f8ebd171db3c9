"""One model of an imputation, and its three ways from a cell's latent to the genes that the panel lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data import Cells
from celloquy.models import CellModel
from celloquy.tasks.neighbours import nearest_of
from celloquy.training.panel import see

if TYPE_CHECKING:
    from celloquy.data import CellBatch

SPATIAL, REFERENCE = 0, 1
"""Batches of the decoder."""

WAYS = ("decoder", "neighbours", "linear")

NEIGHBOURS = 30
"""Reference cells that are averaged."""

PENALTY = 0.1
"""Of the linear way, for each reference cell."""

CHUNK = 4096
"""Cells that are decoded at a time."""


class PanelCells(Cells):
    """Cells that the encoder sees through some genes, at one depth; see :func:`celloquy.training.panel.see`."""

    genes: torch.Tensor

    def read(self, start: int, stop: int) -> CellBatch:
        """Return a run of cells as they are seen."""
        return see(super().read(start, stop), self.genes)


@dataclass
class Member:
    """A model that was trained on a panel without some of its genes, and on the reference.

    Shapes: ``r`` reference cells, ``w`` genes wanted.
    """

    model: CellModel
    seen: NDArray[np.bool_]
    """``(genes,)``, the genes that its encoder sees."""
    held_out: NDArray[np.int64]
    """Genes of the panel that it has never seen there."""
    latent: NDArray[np.float32]
    """``(r, latent)`` of the reference."""
    centre: NDArray[np.float32]
    """``(latent,)``, mean of the panel's cells in training: both sources are centred, so that a shift is no signal."""

    @torch.inference_mode()
    def ways(
        self, latent: NDArray[np.float32], expression: sparse.csr_matrix, genes: NDArray[np.int64], depth: float
    ) -> NDArray[np.float32]:
        """Return log1p of counts at a depth, three times, ``(3, cells, w)``, in the order of :data:`WAYS`.

        Parameters
        ----------
        latent
            ``(cells, latent)`` of the panel's cells.
        expression
            ``(r, w)``, log-normalised expression of the genes in the reference.
        genes
            ``(w,)``, the genes in the vocabulary.
        depth
            Counts of the seen genes together.
        """
        values = np.empty((len(WAYS), len(latent), len(genes)), dtype=np.float32)
        decoder = self.model.decoder
        places, seen = torch.from_numpy(genes), torch.from_numpy(np.flatnonzero(self.seen))
        for start in range(0, len(latent), CHUNK):
            rows = slice(start, start + CHUNK)
            cells = torch.from_numpy(latent[rows])
            # As the reference would have measured it: the panel's own levels of these genes were never seen.
            hidden = decoder(cells, {"batch": torch.full((len(cells),), REFERENCE)})
            total = decoder.mean(hidden, seen).sum(1, keepdim=True)
            values[0, rows] = (decoder.mean(hidden, places) * (depth / total)).log1p().numpy()
            nearest = nearest_of(self.latent, latent[rows], min(NEIGHBOURS, len(self.latent)))
            share = np.full(nearest.size, 1 / nearest.shape[1])
            bounds = np.arange(0, nearest.size + 1, nearest.shape[1])
            means = sparse.csr_matrix((share, nearest.ravel(), bounds), shape=(len(nearest), len(self.latent)))
            values[1, rows] = (means @ expression).toarray()
        slopes, level = self._slopes(expression)
        values[2] = (latent - self.centre) @ slopes + level
        return values

    def _slopes(self, expression: sparse.csr_matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Ridge regression of expression on the reference's latent: slopes ``(latent, w)`` and means ``(w,)``."""
        centred = (self.latent - self.latent.mean(axis=0)).astype(np.float64)
        gram = centred.T @ centred + PENALTY * len(centred) * np.eye(centred.shape[1])
        # The centred latent sums to 0, so the expression need not be centred, and stays sparse.
        products = (expression.T @ centred).T
        level = np.asarray(expression.mean(axis=0), dtype=np.float32).ravel()
        return np.linalg.solve(gram, products).astype(np.float32), level

    def fitted_in_reference(self, expression: sparse.csr_matrix) -> NDArray[np.float64]:
        """Correlation ``(w,)`` of each gene in the reference with what the linear way makes of it there."""
        slopes, level = self._slopes(expression)
        found = (self.latent - self.latent.mean(axis=0)) @ slopes
        products = np.asarray(expression.multiply(found).sum(axis=0), dtype=np.float64).ravel()
        square = np.asarray(expression.multiply(expression).mean(axis=0), dtype=np.float64).ravel()
        lengths = np.sqrt(np.maximum(square - level.astype(np.float64) ** 2, 0) * len(found)) * np.linalg.norm(
            found, axis=0
        )
        return np.where(lengths > 0, products / np.maximum(lengths, 1e-12), 0.0)
