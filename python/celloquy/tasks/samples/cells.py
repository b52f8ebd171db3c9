"""The cells of samples as they are read: an embedding of each cell, and the mean expression of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data.columns import codes, column
from celloquy.errors import ArgumentError, some
from celloquy.nn.factors import logged
from celloquy.runtime.arrays import runs

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellReader

Matrix = NDArray[np.float64]
CELLS_READ: Final = 2048
SORTED_BY: Final = 4
"""Dimensions of the embedding that order the cells of a sample, whatever the order in which they came."""


@dataclass(frozen=True, eq=False)
class SampleCells:
    """The cells of some samples.

    Attributes
    ----------
    names
        Names of the samples, sorted.
    sample
        ``(cells,)``: sample of each cell; -1 of a cell without counts, which is left out.
    vectors
        ``(cells, width)`` float32: embedding of each cell.
    labels
        ``(cells,)``: name of each cell's type or state; None where no column names them.
    expression
        ``(samples, genes)``: mean log expression of a sample's cells; 0 for genes that were not measured.
    measured
        ``(genes,)``.
    reader
        What reads the cells once more, where their expression is asked for.
    """

    names: tuple[str, ...]
    sample: NDArray[np.int64]
    vectors: NDArray[np.float32]
    labels: NDArray[np.object_] | None
    expression: Matrix
    measured: NDArray[np.bool_]
    reader: CellReader

    @property
    def sizes(self) -> NDArray[np.int64]:
        """``(samples,)``: number of cells with counts."""
        return np.bincount(self.sample[self.sample >= 0], minlength=len(self.names))

    def mean(self, values: Matrix | NDArray[np.float32]) -> Matrix:
        """Return the mean of ``(cells, width)`` over the cells of each sample, ``(samples, width)``."""
        return averages(self.sample, len(self.names)) @ values

    def some_of(self, rows: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
        """Return at most so many cells of each of some samples, the same ones in whatever order they came."""
        kept = []
        for row in rows:
            cells = np.flatnonzero(self.sample == row)
            cells = cells[np.lexsort(np.round(self.vectors[cells, :SORTED_BY], 3).T[::-1])]
            kept.append(cells[np.linspace(0, len(cells) - 1, min(most, len(cells))).round().astype(np.int64)])
        return kept

    def only(self, rows: NDArray[np.int64]) -> SampleCells:
        """Return some of the samples; the cells of the others are left out."""
        place = np.full(len(self.names) + 1, -1)
        place[rows] = np.arange(len(rows))
        names = tuple(self.names[row] for row in rows)
        return replace(self, names=names, sample=place[self.sample], expression=self.expression[rows])


def sample_codes(adata: AnnData, sample_key: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of samples, sorted, and the sample of each cell.

    Raises
    ------
    ArgumentError
        If there is no such column, or a cell has no sample.
    """
    codes_of, names = codes(adata, sample_key, "sample_key")
    return tuple(names), codes_of


def averages(sample: NDArray[np.int64], samples: int) -> sparse.csr_matrix:
    """Return the matrix ``(samples, cells)`` that takes means over the cells of each sample."""
    cells = np.flatnonzero(sample >= 0)
    codes = sample[cells]
    weights = 1 / np.bincount(codes, minlength=samples).clip(1)[codes]
    return sparse.csr_matrix((weights, (codes, cells)), shape=(samples, len(sample)))


def log_expression(reader: CellReader) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Yield runs of cells with the logarithms of their counts, which were scaled to 10,000, sparse."""
    for part in runs(0, len(reader), CELLS_READ):
        batch = reader.read(part.start, part.stop)
        values = sparse.csr_matrix(batch.to_csr(), dtype=np.float64, copy=True)
        values.data = logged(batch).double().numpy()
        yield part, values


def read_samples(
    adata: AnnData, reader: CellReader, vectors: NDArray[np.float32], sample_key: str, label_key: str | None = None
) -> SampleCells:
    """Return the cells of the samples of an object.

    Parameters
    ----------
    adata
        The object.
    reader
        Its cells over the genes of the model.
    vectors
        Their embedding.
    sample_key, label_key
        Columns of ``obs`` with the sample, and with the type of the cell.

    Raises
    ------
    ArgumentError
        If a sample has no cell with a count.
    """
    names, sample = sample_codes(adata, sample_key)
    total = np.zeros((len(names), len(reader.measured)))
    filled = np.zeros(len(reader), dtype=bool)
    for part, values in log_expression(reader):
        filled[part] = np.diff(values.indptr) > 0
        own = sample[part]
        member = sparse.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), (len(names), len(own)))
        total += (member @ values).toarray()
    empty = np.setdiff1d(np.arange(len(names)), sample[filled])
    if len(empty):
        raise ArgumentError(
            "Samples have no cell with a count.",
            found=some(repr(names[one]) for one in empty),
            expected="counts of genes that the model knows, in at least one cell of each sample",
            remedy="leave these samples out.",
            argument="sample_key",
        )
    sample[~filled] = -1
    labels = None
    if label_key is not None:
        labels = column(adata, label_key, "label_key").astype(str).to_numpy(dtype=object)
    expression = total / np.bincount(sample[filled], minlength=len(names))[:, None]
    return SampleCells(names, sample, vectors, labels, expression, reader.measured.numpy().astype(bool), reader)
