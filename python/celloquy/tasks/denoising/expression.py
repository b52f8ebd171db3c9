"""Denoised expression, a block of cells at a time: what the decoder expects, and the counts of the nearest cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celloquy.data import CellReader
from celloquy.data.neighbours import neighbour_means
from celloquy.models import Model
from celloquy.runtime.progress import ProgressBar

Unit = Literal["counts", "lognorm"]

SCALE = 1e4
"""Counts of a cell in the unit ``"lognorm"``."""

CHUNK_ENTRIES = 2**23
"""Entries (cells × genes) that are computed at a time."""


class DenoisedExpression:
    """Means and standard deviations of the counts of some cells.

    Shapes: ``n`` cells, ``g`` columns wanted.

    Parameters
    ----------
    model
        The model, which must decode.
    cells
        The cells, over the model's vocabulary.
    embedding
        ``(n, width)``, their embedding.
    n_neighbors
        Nearest cells of the same batch that the decoder is averaged with.
    columns
        ``(g,)``, columns of the counts that are wanted.
    unit
        ``"counts"``: at the cell's own depth; ``"lognorm"``: log1p of counts per 10,000.
    """

    def __init__(
        self,
        model: Model,
        cells: CellReader,
        embedding: NDArray[np.float32],
        *,
        n_neighbors: int,
        columns: NDArray[np.int64],
        unit: Unit,
    ) -> None:
        self._model, self._cells, self._embedding, self._unit = model, cells, embedding, unit
        counts = cells.read_all()
        self._counts = counts.to_csr()
        self._depth = np.asarray(self._counts.sum(axis=1), dtype=np.float64).ravel()
        self._measured = counts.measured[0].numpy()
        self._nearest = neighbour_means(embedding, cells.batch, n_neighbors) if n_neighbors else None
        self._columns = columns
        # Columns of one gene share what is expected of it as they share its counts.
        self._share = _shares(cells)
        self.shape = (len(cells), len(columns))
        self.step = max(1, CHUNK_ENTRIES // len(model.vocabulary))
        """Cells to compute at a time."""

    def block(self, start: int, stop: int, part: Literal["mean", "std"]) -> NDArray[np.float64]:
        """Return means or standard deviations ``(stop - start, g)`` of a run of cells."""
        chosen = slice(start, stop)
        batch = torch.from_numpy(self._cells.batch[chosen])
        expected = self._model.expected_counts(torch.from_numpy(self._embedding[chosen]), batch)
        share = expected.numpy().astype(np.float64)
        share[:, ~self._measured] = 0
        share /= share.sum(axis=1, keepdims=True)
        if self._nearest is not None:
            means = self._nearest[chosen]
            seen = np.asarray((means @ self._counts).todense(), dtype=np.float64)
            total = seen.sum(axis=1, keepdims=True)
            seen /= np.where(total > 0, total, 1)
            share = np.where(total > 0, (share + seen) / 2, share)
        depth = self._depth[chosen, None]
        known = self._cells.columns[self._columns] >= 0
        place = np.where(known, self._cells.columns[self._columns], 0)
        mean = share[:, place] * depth * self._share[self._columns]
        own = self._cells.own_counts(start, stop)[:, self._columns[~known]].toarray() if not known.all() else None
        if own is not None:
            mean[:, ~known] = own
        scale = SCALE / np.maximum(depth, 1)
        if part == "mean":
            return np.log1p(mean * scale) if self._unit == "lognorm" else mean
        deviation = np.sqrt(mean + mean**2 / self._model.count_dispersion().numpy()[place])
        if own is not None:
            deviation[:, ~known] = np.nan
        # To first order: the derivative of log1p.
        return deviation * scale / (1 + mean * scale) if self._unit == "lognorm" else deviation


@dataclass(frozen=True)
class DenoisedRows:
    """Denoised expression ``(cells, columns)`` float32, computed where it is read."""

    expression: DenoisedExpression
    part: Literal["mean", "std"] = "mean"
    """Part that is read: means or standard deviations."""
    progress: bool = False
    """Show a progress bar."""

    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and columns."""
        return self.expression.shape

    @torch.inference_mode()
    def read(self, rows: slice) -> Tensor:
        """Return a run of cells ``(rows, columns)``."""
        n, step = rows.stop - rows.start, self.expression.step
        values = np.empty((n, self.shape[1]), dtype=np.float32)
        bar = ProgressBar(total=n, desc="Denoising", unit=" cells", disable=not self.progress or n <= step)
        with bar:
            for start in range(rows.start, rows.stop, step):
                stop = min(start + step, rows.stop)
                values[start - rows.start : stop - rows.start] = self.expression.block(start, stop, self.part)
                bar.update(stop - start)
        return torch.from_numpy(values)


def _shares(cells: CellReader) -> NDArray[np.float64]:
    """Share ``(columns,)`` of the counts of its gene that a column has."""
    total = np.maximum(cells.column_totals, 1e-12)
    known = cells.columns >= 0
    gene = np.bincount(cells.columns[known], weights=total[known])
    shares = np.ones(len(total))
    shares[known] = total[known] / gene[cells.columns[known]]
    return shares
