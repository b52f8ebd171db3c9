"""The protocol holds out the given share of the counts and scores by the published formulas."""

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


def test_a_share_of_every_cells_counts_is_removed_and_nothing_else(adata):
    held_out = cq.evaluate.hold_out_counts(adata, 0.2, 0)
    before, after = adata.X.toarray(), held_out.adata.X.toarray()
    expressed = (before > 0).sum(1)
    np.testing.assert_array_equal(np.bincount(held_out.cells, minlength=40), np.floor(0.2 * expressed))
    np.testing.assert_array_equal(before[held_out.cells, held_out.genes], held_out.counts)
    assert (held_out.counts > 0).all()
    assert (after[held_out.cells, held_out.genes] == 0).all()
    after[held_out.cells, held_out.genes] = held_out.counts
    np.testing.assert_array_equal(after, before)


def test_the_corrupted_object_holds_no_other_matrix_with_the_counts(adata):
    held_out = cq.evaluate.hold_out_counts(adata)
    assert not held_out.adata.layers
    assert held_out.adata.raw is None
    assert list(held_out.adata.obs) == ["donor"]


def test_low_counts_are_removed_more_often():
    counts = np.tile(np.array([1.0, 60.0] * 50), (200, 1))
    held_out = cq.evaluate.hold_out_counts(ad.AnnData(counts.astype(np.float32)), 0.1)
    ones, sixties = (held_out.counts == 1).sum(), (held_out.counts == 60).sum()
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


def test_the_scores_follow_their_formulas(adata):
    held_out = cq.evaluate.hold_out_counts(adata)
    found = np.random.default_rng(1).gamma(1, 2, adata.shape)
    true = adata.X.toarray()
    at = held_out.cells, held_out.genes
    error = np.log1p(found[at]) - np.log1p(true[at])
    scaled = [np.log1p(one / one.sum(1, keepdims=True) * 1e4)[at] for one in (found, true)]
    score = held_out.score(found)
    assert score["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert score["mae"] == pytest.approx(np.abs(error).mean())
    assert score["pearson"] == pytest.approx(np.corrcoef(np.log1p(found[at]), np.log1p(true[at]))[0, 1])
    assert score["rmse_normalised"] == pytest.approx(np.sqrt(((scaled[0] - scaled[1]) ** 2).mean()), rel=1e-6)
    assert score["mae_normalised"] == pytest.approx(np.abs(scaled[0] - scaled[1]).mean(), rel=1e-6)


def test_the_scores_do_not_depend_on_the_size_of_the_blocks(adata, monkeypatch):
    held_out = cq.evaluate.hold_out_counts(adata)
    found = sparse.csr_matrix(np.random.default_rng(1).gamma(1, 2, adata.shape))
    whole = held_out.score(found)
    monkeypatch.setattr("celloquy.evaluate.denoising.BLOCK", 7)
    assert held_out.score(found) == pytest.approx(whole)


def test_the_true_counts_score_without_error(adata):
    score = cq.evaluate.hold_out_counts(adata).score(adata.X)
    assert score["rmse"] == pytest.approx(0, abs=1e-7)
    assert score["rmse_normalised"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_fraction_that_is_no_share_is_refused(adata, fraction):
    with pytest.raises(cq.errors.ArgumentError, match="fraction"):
        cq.evaluate.hold_out_counts(adata, fraction)


def test_values_that_are_no_expected_counts_are_refused(adata):
    held_out = cq.evaluate.hold_out_counts(adata)
    with pytest.raises(cq.errors.ArgumentError, match="shape"):
        held_out.score(np.zeros((3, 3)))
    with pytest.raises(cq.errors.ArgumentError, match="negative"):
        held_out.score(np.full(adata.shape, -1.0))
    with pytest.raises(cq.errors.ArgumentError, match="nothing to take out"):
        cq.evaluate.hold_out_counts(ad.AnnData(np.eye(8, dtype=np.float32)))
