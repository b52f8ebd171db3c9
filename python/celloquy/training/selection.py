"""Which genes a model that is trained on a few cells is given: those in which the cells differ beyond chance."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse

from celloquy.data import CellBatch
from celloquy.genes import GeneVocabulary


def variable_genes(cells: CellBatch, number: int) -> np.ndarray:
    """Return the places of the most variable genes, rising, at most ``number``.

    By the variance of analytic Pearson residuals (Lause et al. 2021), in every batch of its own; a gene counts by its
    median rank. Genes that some source did not measure come last.

    Parameters
    ----------
    cells
        Of one or several batches.
    number
        How many.
    """
    import scanpy as sc
    from anndata import AnnData

    rows = sparse.csr_matrix(
        (cells.values.numpy(), cells.indices.numpy(), cells.indptr.numpy()), shape=(len(cells), cells.genes)
    )
    everywhere = np.flatnonzero(cells.measured.all(0).numpy() & (np.bincount(rows.indices, minlength=cells.genes) > 2))
    if len(everywhere) <= number:
        return everywhere
    counts = AnnData(rows[:, everywhere])
    counts.obs["batch"] = cells.batch.numpy().astype(str)
    counts = counts[np.asarray(counts.X.sum(1)).ravel() > 0].copy()
    with warnings.catch_warnings(action="ignore"):
        sc.experimental.pp.highly_variable_genes(counts, n_top_genes=number, batch_key="batch")
    return everywhere[counts.var["highly_variable"].to_numpy()]


def some_genes(vocabulary: GeneVocabulary, places: np.ndarray) -> GeneVocabulary:
    """Return the genes at some places of a vocabulary."""
    return GeneVocabulary(
        *(
            tuple(column[place] for place in places)
            for column in (vocabulary.ids, vocabulary.symbols, vocabulary.species)
        )
    )
