"""What is read of genes: blocks of features, each from one source, scaled in a way that no label has a part in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.genes import GeneVocabulary, Prior
from celloquy.genes.orthology import orthologs_of

SPARSE: Final = 0.1
"""Share of values other than 0 up to which a block is one of sets, weighted by their rarity."""


@dataclass(frozen=True, eq=False)
class Block:
    """Features of genes from one source.

    Attributes
    ----------
    name
        Name of the block.
    source
        The features of all genes that the source knows; their spread scales them.
    """

    name: str
    source: Prior

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.source.features)

    def over(self, vocabulary: GeneVocabulary) -> sparse.csr_matrix:
        """Return the scaled features of the rows of a vocabulary, ``(rows, width)``; 0 of a gene that is not known.

        Sets are weighted by the logarithm of their rarity, and a gene's sets have the length 1 together. Other features
        have mean 0 and variance 1 over all genes that the source knows, and the mean length of a gene is 1.
        """
        genes = [gene for _, gene, _, _ in vocabulary.genes()]
        if not any(other in self._ids for gene in genes for other in (gene, *orthologs_of(gene))):
            return sparse.csr_matrix((len(vocabulary), self.width), dtype=np.float64)
        values = self.source.over(vocabulary).matrix.astype(np.float64)
        known = np.diff(values.indptr) > 0
        if self._of_sets:
            weighted = sparse.csr_matrix(values @ sparse.diags(self._weights))
            length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
            return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)) @ weighted)
        dense = (values.toarray() - self._mean) * self._weights * known[:, None]
        return sparse.csr_matrix(dense)

    def knows(self, vocabulary: GeneVocabulary) -> NDArray[np.bool_]:
        """Return which rows of a vocabulary have features, ``(rows,)``."""
        return np.diff(self.over(vocabulary).indptr) > 0

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self.source.ids)

    @cached_property
    def _of_sets(self) -> bool:
        matrix = self.source.matrix
        return bool(matrix.nnz <= SPARSE * matrix.shape[0] * matrix.shape[1])

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        return np.asarray(self.source.matrix.mean(0), dtype=np.float64).ravel()

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        matrix = self.source.matrix
        if self._of_sets:
            size = np.bincount(matrix.indices, minlength=self.width)
            return np.log(max(1, matrix.shape[0]) / size.clip(1))
        squares = np.asarray(matrix.multiply(matrix).mean(0), dtype=np.float64).ravel()
        spread = np.sqrt((squares - self._mean**2).clip(0))
        scaled: NDArray[np.float64] = np.where(spread > 1e-9, 1 / np.where(spread > 1e-9, spread, 1), 0)
        return scaled / np.sqrt(max(1, int((scaled > 0).sum())))
