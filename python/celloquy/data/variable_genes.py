"""Variable genes: those in which cells differ beyond chance, for a model that is trained on few cells."""

from __future__ import annotations

import warnings

import numpy as np

from celloquy.data.batch import CellBatch


def variable_genes(cells: CellBatch, n_top: int) -> np.ndarray:
    """Return the places of the most variable genes, rising, at most ``n_top``.

    By the variance of analytic Pearson residuals (Lause et al. 2021), in every batch of its own; a gene counts by its
    median rank. Genes that some source did not measure come last.

    Parameters
    ----------
    cells
        Cells of one or several batches.
    n_top
        Number of genes.
    """
    import scanpy as sc
    from anndata import AnnData

    rows = cells.to_csr()
    often = np.bincount(rows.indices, minlength=cells.n_genes) > 2
    everywhere = np.flatnonzero(cells.measured.all(0).numpy() & often)
    if len(everywhere) <= n_top:
        return everywhere
    counts = AnnData(rows[:, everywhere])
    counts.obs["batch"] = cells.batch.numpy().astype(str)
    counts = counts[np.asarray(counts.X.sum(1)).ravel() > 0].copy()
    with warnings.catch_warnings(action="ignore"):
        sc.experimental.pp.highly_variable_genes(counts, n_top_genes=n_top, batch_key="batch")
    return everywhere[counts.var["highly_variable"].to_numpy()]
