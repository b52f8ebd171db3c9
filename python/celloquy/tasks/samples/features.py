"""Features of samples that are means over cells.

What a linear reading says of a sample is then a sum over its cells, which is their evidence. Whatever is learned of
features (centres, scales, states, the genes that are read) is learned from the samples that are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from celloquy.tasks.samples.cells import SampleCells, log_expression

Matrix = NDArray[np.float64]
STATES: Final = 16
"""States of cells whose shares are a composition, where no column names them."""
CLUSTERED: Final = 20_000
"""Cells that are clustered for that, at most."""
GENES: Final = 2000
"""Genes that are read, those that vary most between samples, at most."""
LEAST_SHARE: Final = 0.01
"""Share that is added to that of each state where it is scaled, so that a rare one does not count by its chance."""


class Features(Protocol):
    """Features of samples; every field is an array, which is what is saved."""

    name: ClassVar[str]

    @classmethod
    def learned(cls, cells: SampleCells, rows: NDArray[np.int64], seed: int) -> Self:
        """Return the features as some samples teach them."""

    def of_samples(self, cells: SampleCells) -> Matrix:
        """Return the features, ``(samples, width)``: 0 is the mean of those learned from, their mean length is 1."""

    def of_cells(self, cells: SampleCells, weights: Matrix) -> Matrix:
        """Return features of each cell times weights, ``(cells, k)``; their mean over a sample is that of the sample.

        Parameters
        ----------
        cells
            The cells.
        weights
            ``(width, k)``.
        """


@dataclass(frozen=True, eq=False)
class MeanEmbedding:
    """The mean of the embedding."""

    name: ClassVar[str] = "mean embedding"
    centre: Matrix
    scale: Matrix

    @classmethod
    def learned(cls, cells: SampleCells, rows: NDArray[np.int64], seed: int) -> Self:
        """See :meth:`Features.learned`."""
        return cls(*_centre_and_scale(cells.mean(cells.vectors)[rows]))

    def of_samples(self, cells: SampleCells) -> Matrix:
        """See :meth:`Features.of_samples`."""
        return np.asarray((cells.mean(cells.vectors) - self.centre) / self.scale)

    def of_cells(self, cells: SampleCells, weights: Matrix) -> Matrix:
        """See :meth:`Features.of_cells`."""
        weights = weights / self.scale
        return np.asarray(cells.vectors @ weights - self.centre @ weights)


@dataclass(frozen=True, eq=False)
class Composition:
    """Shares of states of cells: clusters of the embedding, or the names that a column has."""

    name: ClassVar[str] = "composition"
    centres: Matrix
    names: NDArray[np.str_]
    share: Matrix
    scale: Matrix

    @classmethod
    def learned(cls, cells: SampleCells, rows: NDArray[np.int64], seed: int) -> Self:
        """See :meth:`Features.learned`."""
        learned = np.isin(cells.sample, rows)
        centres, names = np.zeros((0, 0)), np.zeros(0, dtype=np.str_)
        if cells.labels is None:
            drawn = np.concatenate(cells.some_of(rows, max(1, CLUSTERED // len(rows))))
            vectors = cells.vectors[drawn].astype(np.float64)
            distinct = len(np.unique(vectors, axis=0))
            centres = KMeans(min(STATES, distinct), n_init=3, random_state=seed).fit(vectors).cluster_centers_
        else:
            names = np.unique(cells.labels[learned].astype(np.str_))
        share, many = np.zeros(0), max(len(centres), len(names))
        found = cells.mean(_member(_nearest(cells, centres, names), many))[rows]
        share = found.mean(0)
        # As in the analysis of correspondences, a share counts against the square root of its mean.
        root = np.sqrt(share + LEAST_SHARE)
        _, size = _centre_and_scale(found / root)
        return cls(centres, names, share, root * size)

    def of_samples(self, cells: SampleCells) -> Matrix:
        """See :meth:`Features.of_samples`."""
        states = _nearest(cells, self.centres, self.names)
        return np.asarray((cells.mean(_member(states, len(self.share))) - self.share) / self.scale)

    def of_cells(self, cells: SampleCells, weights: Matrix) -> Matrix:
        """See :meth:`Features.of_cells`."""
        weights = weights / self.scale[:, None]
        own = np.vstack([weights, np.zeros(weights.shape[1])])[_nearest(cells, self.centres, self.names)]
        return np.asarray(own - self.share @ weights)


@dataclass(frozen=True, eq=False)
class Pseudobulk:
    """Mean log expression of the genes that vary most between samples."""

    name: ClassVar[str] = "pseudobulk"
    genes: NDArray[np.int64]
    centre: Matrix
    scale: Matrix

    @classmethod
    def learned(cls, cells: SampleCells, rows: NDArray[np.int64], seed: int) -> Self:
        """See :meth:`Features.learned`."""
        own = cells.expression[rows]
        spread = own.var(0)
        # One at least, which then says nothing.
        genes = np.sort(np.argsort(-spread, kind="stable")[: min(GENES, max(1, int((spread > 0).sum())))])
        return cls(genes, *_centre_and_scale(own[:, genes]))

    def of_samples(self, cells: SampleCells) -> Matrix:
        """See :meth:`Features.of_samples`; a gene that was not measured says nothing."""
        centred = cells.expression[:, self.genes] - self.centre
        return np.asarray(centred * cells.measured[self.genes] / self.scale)

    def of_cells(self, cells: SampleCells, weights: Matrix) -> Matrix:
        """See :meth:`Features.of_cells`."""
        weights = weights * cells.measured[self.genes][:, None] / self.scale
        whole = np.zeros((len(cells.measured), weights.shape[1]))
        whole[self.genes] = weights
        found = np.empty((len(cells.sample), weights.shape[1]))
        for part, values in log_expression(cells.reader):
            found[part] = values @ whole
        return np.asarray(found - self.centre @ weights)


KINDS: Final[tuple[type[Features], ...]] = (MeanEmbedding, Composition, Pseudobulk)
"""The features whose readings are compared, the simplest first."""


def _centre_and_scale(values: Matrix) -> tuple[Matrix, Matrix]:
    """The mean of samples ``(samples, width)``, and their root mean squared distance from it, ``(1,)``."""
    centre = values.mean(0)
    size = float(np.sqrt(((values - centre) ** 2).sum(1).mean()))
    return centre, np.array([size or 1.0])


def _nearest(cells: SampleCells, centres: Matrix, names: NDArray[np.str_]) -> NDArray[np.int64]:
    """The state of each cell; the number of states for a name that was not learned from."""
    if cells.labels is None or len(centres):
        half = (centres**2).sum(1) / 2
        found = [
            (half - cells.vectors[start : start + CLUSTERED].astype(np.float64) @ centres.T).argmin(1)
            for start in range(0, len(cells.vectors), CLUSTERED)
        ]
        return np.concatenate(found).astype(np.int64)
    code = {name: place for place, name in enumerate(names.tolist())}
    return np.array([code.get(name, len(names)) for name in cells.labels.tolist()], dtype=np.int64)


def _member(states: NDArray[np.int64], many: int) -> Matrix:
    return np.eye(many + 1)[states][:, :many]
