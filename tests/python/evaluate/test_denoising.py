"""The protocol takes what it says, hides it well, and scores by the plain formulas."""

import sys

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import celloquy as cq


@pytest.fixture
def adata() -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.7, 3, (40, 60))).astype(np.float32)
    adata = ad.AnnData(sparse.csr_matrix(counts))
    adata.layers["normalised"] = adata.X.copy()
    adata.obs["donor"] = "a"
    return adata


def test_a_share_of_the_counts_of_every_cell_is_removed_and_nothing_else_changes(adata):
    task = cq.evaluate.hold_out_counts(adata, 0.2, 0)
    before, after = adata.X.toarray(), task.adata.X.toarray()
    expressed = (before > 0).sum(1)
    np.testing.assert_array_equal(np.bincount(task.cells, minlength=40), np.floor(0.2 * expressed))
    np.testing.assert_array_equal(before[task.cells, task.genes], task.counts)
    assert (task.counts > 0).all()
    assert (after[task.cells, task.genes] == 0).all()
    after[task.cells, task.genes] = task.counts
    np.testing.assert_array_equal(after, before)


def test_the_corrupted_object_holds_no_other_matrix_from_which_the_counts_could_be_had(adata):
    task = cq.evaluate.hold_out_counts(adata)
    assert not task.adata.layers
    assert task.adata.raw is None
    assert list(task.adata.obs) == ["donor"]


def test_low_counts_are_removed_more_often():
    counts = np.tile(np.array([1.0, 60.0] * 50), (200, 1))
    task = cq.evaluate.hold_out_counts(ad.AnnData(counts.astype(np.float32)), 0.1)
    ones, sixties = (task.counts == 1).sum(), (task.counts == 60).sum()
    assert ones / sixties == pytest.approx(np.exp((60 - 1) / 20), rel=0.35)


def test_a_cell_with_few_expressed_genes_keeps_them_all():
    counts = np.zeros((2, 20), dtype=np.float32)
    counts[0, :5] = 1
    counts[1] = 1
    assert set(cq.evaluate.hold_out_counts(ad.AnnData(counts), 0.5).cells) == {1}


def test_the_seed_decides_what_is_removed(adata):
    first, same, other = (cq.evaluate.hold_out_counts(adata, 0.1, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.genes, same.genes)
    assert not np.array_equal(first.genes, other.genes)


def test_the_figures_follow_their_formulas(adata):
    task = cq.evaluate.hold_out_counts(adata)
    found = np.random.default_rng(1).gamma(1, 2, adata.shape)
    true = adata.X.toarray()
    at = task.cells, task.genes
    error = np.log1p(found[at]) - np.log1p(true[at])
    scaled = [np.log1p(one / one.sum(1, keepdims=True) * 1e4)[at] for one in (found, true)]
    score = task.score(found)
    assert score["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert score["mae"] == pytest.approx(np.abs(error).mean())
    assert score["pearson"] == pytest.approx(np.corrcoef(np.log1p(found[at]), np.log1p(true[at]))[0, 1])
    assert score["rmse_normalised"] == pytest.approx(np.sqrt(((scaled[0] - scaled[1]) ** 2).mean()), rel=1e-6)
    assert score["mae_normalised"] == pytest.approx(np.abs(scaled[0] - scaled[1]).mean(), rel=1e-6)


def test_figures_do_not_depend_on_the_block_in_which_cells_are_scored(adata, monkeypatch):
    task = cq.evaluate.hold_out_counts(adata)
    found = sparse.csr_matrix(np.random.default_rng(1).gamma(1, 2, adata.shape))
    whole = task.score(found)
    # The function hides the module of its name.
    monkeypatch.setattr(sys.modules["celloquy.evaluate.denoising"], "BLOCK", 7)
    assert task.score(found) == pytest.approx(whole)


def test_the_true_counts_score_without_error(adata):
    score = cq.evaluate.hold_out_counts(adata).score(adata.X)
    assert score["rmse"] == pytest.approx(0, abs=1e-7)
    assert score["rmse_normalised"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_fraction_that_is_none_is_refused(adata, fraction):
    with pytest.raises(cq.errors.ArgumentError, match="fraction"):
        cq.evaluate.hold_out_counts(adata, fraction)


def test_values_that_are_no_expected_counts_are_refused(adata):
    task = cq.evaluate.hold_out_counts(adata)
    with pytest.raises(cq.errors.ArgumentError, match="shape"):
        task.score(np.zeros((3, 3)))
    with pytest.raises(cq.errors.ArgumentError, match="negative"):
        task.score(np.full(adata.shape, -1.0))
    with pytest.raises(cq.errors.ArgumentError, match="nothing to take out"):
        cq.evaluate.hold_out_counts(ad.AnnData(np.eye(8, dtype=np.float32)))
