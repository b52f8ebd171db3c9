"""Which genes are expressed together, as a prior computed from any number of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.checks import check_whole_number
from celloquy.errors import ArgumentError
from celloquy.genes.priors import Prior
from celloquy.genes.vocabulary import GeneVocabulary

LEAST_CELLS: Final = 10
"""Cells of a data set in which a gene must be found for its correlations there to count."""

_DEPTH = 10_000
_BLOCK = 512
# Correlations that are nearly 1 have a finite transform.
_NEARLY_ONE = 0.9999


def coexpression(counts: Sequence[sparse.csr_matrix], vocabulary: GeneVocabulary, *, n_neighbors: int = 20) -> Prior:
    """Compute which genes are expressed together, on average over data sets.

    Correlations are taken within each data set, so that differences between studies make none, and averaged by Fisher's
    transform over the data sets in which both genes are found, with one of correlation 0 added: a pair that was seen
    once ranks below one that was seen often. All data sets weigh the same.

    Parameters
    ----------
    counts
        Raw counts of each data set, ``(cells, rows of the vocabulary)``, sparse. A few thousand cells of each tell what
        more would; the time grows with the cells and the square of the genes that a cell expresses.
    vocabulary
        The genes; human, mouse or both.
    n_neighbors
        Genes to keep of each, those with the highest positive correlation; a pair is kept if either keeps the other.

    Returns
    -------
    Prior
        Its features are the genes themselves, by id, its values correlations in hundredths. The matrix is symmetric,
        with an empty diagonal.

    Raises
    ------
    ArgumentError
        If there is no data set, or one has not a column for each row of the vocabulary.

    Examples
    --------
    >>> import celloquy as cq
    >>> vocabulary = cq.GeneVocabulary.from_names(adata.var_names)
    >>> cells = cq.data.CellSource(adata).over(vocabulary).read_all()
    >>> together = cq.genes.coexpression([cells.to_csr()], vocabulary)
    """
    check_whole_number("n_neighbors", n_neighbors, least=1)
    sets = [_normalised(one, len(vocabulary)) for one in counts]
    if not sets:
        raise ArgumentError(
            "There are no counts to correlate.",
            found="no data set",
            expected="a sparse matrix of cells × genes for each data set",
            remedy="pass at least one, such as [batch.to_csr() for batch in batches].",
            argument="counts",
        )
    # Most rows of a vocabulary of two species are in no data set at all.
    genes = np.unique(np.concatenate([one.genes for one in sets]))
    blocks = [sparse.csr_matrix(np.zeros((0, len(genes)), dtype=np.float32))]
    for start in range(0, len(genes), _BLOCK):
        mean = _mean_correlation(sets, genes, start, min(start + _BLOCK, len(genes)))
        blocks.append(_highest(mean, n_neighbors))
    kept = sparse.vstack(blocks, format="csr")
    found = sparse.coo_matrix(kept.maximum(kept.T))
    shape = len(vocabulary), len(vocabulary)
    matrix = sparse.csr_matrix((found.data, (genes[found.row], genes[found.col])), shape=shape)
    source = f"correlations within {len(sets)} data sets, {sum(one.cells for one in sets):,} cells"
    return Prior("coexpression", vocabulary.ids, matrix, vocabulary.ids, source)


class _DataSet:
    """Logarithms of the counts of one data set, scaled to one depth, of the genes that enough of its cells have."""

    def __init__(self, log: sparse.csr_matrix) -> None:
        self.cells = log.shape[0]
        mean = np.asarray(log.mean(axis=0)).ravel()
        variance = np.asarray(log.multiply(log).mean(axis=0)).ravel() - mean**2
        enough = np.bincount(log.indices, minlength=log.shape[1]) >= LEAST_CELLS
        self.genes: NDArray[np.int64] = np.flatnonzero(enough & (variance > 0))
        self.log = log[:, self.genes]
        self.by_gene = self.log.T.tocsr()
        self.mean, self.spread = mean[self.genes], np.sqrt(variance[self.genes])

    def transformed(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return Fisher's transform of the correlations of some of its genes with all of them."""
        part = slice(start, stop)
        block: NDArray[np.float64] = (self.by_gene[part] @ self.log).toarray()
        block /= self.cells
        block -= np.outer(self.mean[part], self.mean)
        block /= np.outer(self.spread[part], self.spread)
        return np.arctanh(block.clip(-_NEARLY_ONE, _NEARLY_ONE, out=block), out=block)


def _normalised(counts: sparse.csr_matrix, genes: int) -> _DataSet:
    if not sparse.issparse(counts) or counts.shape[1] != genes:
        found = f"{type(counts).__name__} of shape {getattr(counts, 'shape', 'unknown')}"
        raise ArgumentError(
            "These counts do not fit the vocabulary.",
            found=found,
            expected=f"a sparse matrix of cells × {genes:,} genes",
            remedy="read the cells over the vocabulary, in its order.",
            argument="counts",
        )
    matrix = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    matrix.eliminate_zeros()
    depth = np.asarray(matrix.sum(axis=1)).ravel()
    matrix.data *= np.repeat(_DEPTH / np.maximum(depth, 1), np.diff(matrix.indptr))
    np.log1p(matrix.data, out=matrix.data)
    return _DataSet(matrix)


def _mean_correlation(sets: list[_DataSet], genes: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
    """Return the mean correlations of some of the genes with all of them, ``(stop - start, genes)``."""
    total, times = np.zeros((stop - start, len(genes))), np.ones((stop - start, len(genes)))
    for one in sets:
        own = np.searchsorted(genes, one.genes)
        first, last = np.searchsorted(own, [start, stop])
        places = np.ix_(own[first:last] - start, own)
        total[places] += one.transformed(first, last)
        times[places] += 1
    mean: NDArray[np.float64] = np.tanh(total / times)
    mean[np.arange(stop - start), np.arange(start, stop)] = 0
    return mean.round(2)


def _highest(mean: NDArray[np.float64], n: int) -> sparse.csr_matrix:
    """Return the highest positive correlations of each row."""
    n = min(n, mean.shape[1])
    columns = np.argpartition(-mean, n - 1, axis=1)[:, :n]
    rows = np.broadcast_to(np.arange(len(mean))[:, None], columns.shape)
    values = mean[rows, columns].clip(min=0).astype(np.float32)
    highest = sparse.csr_matrix((values.ravel(), (rows.ravel(), columns.ravel())), shape=mean.shape)
    highest.eliminate_zeros()
    return highest
