"""One model of an imputation, and its three predictors of the genes that the panel lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.data import CellReader, CellSource
from celloquy.data.neighbours import nearest_of
from celloquy.genes import GeneVocabulary
from celloquy.models import Model
from celloquy.tasks.imputation.objective import at_panel_depth

if TYPE_CHECKING:
    from celloquy.data import CellBatch

SPATIAL, REFERENCE = 0, 1
"""Codes of the two sources, which are the batches of the model."""

PREDICTORS = ("decoder", "neighbours", "linear")

NEIGHBOURS = 30
"""Reference cells that the second predictor averages over."""

PENALTY = 0.1
"""Ridge penalty of the linear predictor, for each reference cell."""

CHUNK = 4096
"""Cells that are decoded at a time."""

BLOCK_ENTRIES = 2**24
"""Entries (cells × genes) that are predicted at a time."""


PARTS = ("seen", "held_out", "embedding", "centre")
"""Arrays of a :class:`PanelModel`."""


class PanelReader(CellReader):
    """Cells that a model sees through some genes, at one depth; see :func:`at_panel_depth`.

    Parameters
    ----------
    source, vocabulary
        The cells, and the genes of the model.
    genes
        ``(genes,)`` bool, the genes that are seen.
    """

    def __init__(self, source: CellSource, vocabulary: GeneVocabulary, genes: torch.Tensor) -> None:
        super().__init__(source, vocabulary, warn=False)
        self.genes = genes

    def read(self, start: int, stop: int) -> CellBatch:
        """Return a run of cells as they are seen."""
        return at_panel_depth(super().read(start, stop), self.genes)


@dataclass
class PanelModel:
    """A model that was trained on a panel without some of its genes, and on the reference.

    Shapes: ``r`` reference cells, ``w`` genes wanted.
    """

    model: Model
    seen: NDArray[np.bool_]
    """``(genes,)``, the genes that its encoder sees."""
    held_out: NDArray[np.int64]
    """Genes of the panel that it has never seen there."""
    embedding: NDArray[np.float32]
    """``(r, width)``, embedding of the reference."""
    centre: NDArray[np.float32] | float = 0.0
    """``(width,)``, mean of the panel's cells in training: both sources are centred, so that a shift is no signal."""

    def tensors(self) -> dict[str, Tensor]:
        """Return everything by name, to be saved."""
        arrays = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in PARTS}
        return arrays | {f"model.{name}": weight for name, weight in self.model.state_dict().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], like: Model) -> Self:
        """Return what :meth:`tensors` returned as a model of the same genes and configuration as another."""
        weights = {name.removeprefix("model."): one for name, one in tensors.items() if name.startswith("model.")}
        model = type(like).from_weights(like.config, like.vocabulary, weights, name="a model of the imputer")
        return cls(model, *(tensors[name].numpy() for name in PARTS))

    @torch.inference_mode()
    def predictors(
        self, embedding: NDArray[np.float32], expression: sparse.csr_matrix, genes: NDArray[np.int64], depth: float
    ) -> NDArray[np.float32]:
        """Return log1p of counts at a depth, three times, ``(3, cells, w)``, in the order of :data:`PREDICTORS`.

        Parameters
        ----------
        embedding
            ``(cells, embedding)`` of the panel's cells.
        expression
            ``(r, w)``, log-normalised expression of the genes in the reference.
        genes
            ``(w,)``, the genes in the vocabulary.
        depth
            Counts of the seen genes together.
        """
        values = np.empty((len(PREDICTORS), len(embedding), len(genes)), dtype=np.float32)
        places, seen = torch.from_numpy(genes), torch.from_numpy(np.flatnonzero(self.seen))
        for start in range(0, len(embedding), CHUNK):
            rows = slice(start, start + CHUNK)
            cells = torch.from_numpy(embedding[rows])
            # As the reference would have measured it: the panel's own levels of these genes were never seen.
            batch = torch.full((len(cells),), REFERENCE)
            total = self.model.expected_counts(cells, batch, seen).sum(1, keepdim=True)
            values[0, rows] = (self.model.expected_counts(cells, batch, places) * (depth / total)).log1p().numpy()
            nearest = nearest_of(self.embedding, embedding[rows], min(NEIGHBOURS, len(self.embedding)))
            share = np.full(nearest.size, 1 / nearest.shape[1])
            bounds = np.arange(0, nearest.size + 1, nearest.shape[1])
            means = sparse.csr_matrix((share, nearest.ravel(), bounds), shape=(len(nearest), len(self.embedding)))
            values[1, rows] = (means @ expression).toarray()
        slopes, level = self._slopes(expression)
        values[2] = (embedding - self.centre) @ slopes + level
        return values

    def _slopes(self, expression: sparse.csr_matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Ridge regression of expression on the reference's embedding: slopes ``(width, w)`` and means ``(w,)``."""
        centred = (self.embedding - self.embedding.mean(axis=0)).astype(np.float64)
        gram = centred.T @ centred + PENALTY * len(centred) * np.eye(centred.shape[1])
        # The centred embedding sums to 0, so the expression need not be centred, and stays sparse.
        products = (expression.T @ centred).T
        level = np.asarray(expression.mean(axis=0), dtype=np.float32).ravel()
        return np.linalg.solve(gram, products).astype(np.float32), level

    def fitted_in_reference(self, expression: sparse.csr_matrix) -> NDArray[np.float64]:
        """Correlation ``(w,)`` of each gene in the reference with what the linear way makes of it there."""
        slopes, level = self._slopes(expression)
        found = (self.embedding - self.embedding.mean(axis=0)) @ slopes
        products = np.asarray(expression.multiply(found).sum(axis=0), dtype=np.float64).ravel()
        square = np.asarray(expression.multiply(expression).mean(axis=0), dtype=np.float64).ravel()
        lengths = np.sqrt(np.maximum(square - level.astype(np.float64) ** 2, 0) * len(found)) * np.linalg.norm(
            found, axis=0
        )
        return np.where(lengths > 0, products / np.maximum(lengths, 1e-12), 0.0)


def log_normalised(cells: CellBatch, genes: NDArray[np.int64], depth: float) -> sparse.csr_matrix:
    """Return log1p of counts ``(cells, vocabulary)``, scaled such that some genes together have a depth."""
    counts = cells.to_csr()
    total = np.maximum(np.asarray(counts[:, genes].sum(axis=1), dtype=np.float64).ravel(), 1)
    return sparse.csr_matrix(sparse.diags(depth / total) @ counts).log1p().astype(np.float32)


def blocks(n_cells: int, n_genes: int) -> Iterator[slice]:
    """Cut the genes into blocks that are predicted at a time."""
    step = max(1, BLOCK_ENTRIES // max(1, n_cells))
    for start in range(0, n_genes, step):
        yield slice(start, min(start + step, n_genes))
