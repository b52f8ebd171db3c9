"""A second opinion: what R's SCEToAnnData() and anndata2ri both carry is the same.

R runs inside these tests' process; `make test-r` starts them where there is one.
"""

import os
import sys

import numpy as np
import pandas as pd
import pytest

needs_r = pytest.mark.skipif("CELLOQUY_TEST_R" not in os.environ, reason="needs R: make test-r runs it")
pytestmark = needs_r


@pytest.fixture(scope="module")
def converted(r):
    """Seurat's small object as SingleCellExperiment, then as AnnData: by celloquy and by anndata2ri."""
    import anndata2ri

    r("""
      object <- suppressWarnings(suppressMessages(SeuratObject::UpdateSeuratObject(SeuratObject::pbmc_small)))
      n <- ncol(object)
      object$donor <- factor(rep(c("b", "a", NA), length.out = n), levels = c("c", "b", "a"))
      object$stage <- factor(rep(c("late", "early"), length.out = n), levels = c("early", "late"), ordered = TRUE)
      object$doublet <- rep(c(TRUE, FALSE, FALSE), length.out = n)
      object$filtered <- rep(c(TRUE, NA, FALSE), length.out = n)
      object$passage <- seq_len(n)
      object$plate <- rep(c(1L, NA), length.out = n)
      object$note <- rep(c("x", NA, "NA"), length.out = n)
      object$score <- rep(c(0.1, NA), length.out = n)
      experiment <- Seurat::as.SingleCellExperiment(object)
      SummarizedExperiment::rowData(experiment)$rank <- rev(seq_len(nrow(experiment)))
      SummarizedExperiment::rowData(experiment)$kind <- factor(rep(c("p", "q"), length.out = nrow(experiment)))
      adata <- celloquy::SCEToAnnData(experiment, verbose = FALSE)
      reticulate::py_set_attr(reticulate::import_main(convert = FALSE), "from_celloquy", adata)
    """)
    with anndata2ri.converter.context():
        theirs = r("experiment")
    return vars(sys.modules["__main__"]).pop("from_celloquy"), theirs


def test_the_cells_and_genes_are_the_same(converted):
    ours, theirs = converted
    assert list(ours.obs_names) == list(theirs.obs_names)
    assert list(ours.var_names) == list(theirs.var_names)


def test_counts_and_layers_are_the_same(converted):
    ours, theirs = converted
    assert set(theirs.layers) == {"logcounts"} <= set(ours.layers)
    for mine, other in [(ours.X, theirs.X), (ours.layers["logcounts"], theirs.layers["logcounts"])]:
        assert mine.nnz == other.nnz == 4456
        assert (mine != other).nnz == 0


def test_reductions_are_the_same(converted):
    ours, theirs = converted
    assert set(theirs.obsm) == {"X_pca", "X_tsne"} <= set(ours.obsm)
    for name in theirs.obsm:
        np.testing.assert_array_equal(np.asarray(ours.obsm[name]), np.asarray(theirs.obsm[name]))


@pytest.mark.parametrize("name", ["donor", "stage", "ident", "RNA_snn_res.0.8"])
def test_factors_are_the_same(converted, name):
    mine, other = (adata.obs[name] for adata in converted)
    # anndata2ri forgets that a factor is ordered.
    assert list(mine.cat.categories) == list(other.cat.categories)
    np.testing.assert_array_equal(mine.cat.codes, other.cat.codes)


@pytest.mark.parametrize("name", ["passage", "plate", "nFeature_RNA", "nCount_RNA", "score"])
def test_numbers_are_the_same(converted, name):
    mine, other = (adata.obs[name] for adata in converted)
    np.testing.assert_array_equal(mine.isna(), other.isna())
    np.testing.assert_array_equal(mine.dropna().astype(float), other.dropna().astype(float))


def test_text_is_the_same(converted):
    mine, other = (adata.obs["note"] for adata in converted)
    assert [None if pd.isna(value) else value for value in mine] == list(other)


@pytest.mark.parametrize("name", ["doublet", "filtered"])
def test_logical_values_are_the_same(converted, name):
    mine, other = (adata.obs[name] for adata in converted)
    # anndata2ri gives R's integers: a missing value is the smallest of them.
    missing = other == np.iinfo(np.int32).min
    np.testing.assert_array_equal(mine.isna(), missing)
    np.testing.assert_array_equal(mine[~missing].astype(int), other[~missing])


def test_columns_of_genes_are_the_same(converted):
    ours, theirs = converted
    assert list(ours.var["rank"]) == list(theirs.var["rank"]) == list(range(230, 0, -1))
    assert list(ours.var["kind"]) == list(theirs.var["kind"])
