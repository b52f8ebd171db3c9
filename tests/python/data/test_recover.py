"""Counts are recovered from normalised values exactly, or not at all."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import CountsError


@st.composite
def counted_cells(draw):
    """Cells with enough different counts to determine their unit, always with a count of 1."""
    cells = draw(st.integers(2, 10))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = rng.negative_binomial(0.5, 0.05, size=(cells, 60))
    counts[:, 0], counts[:, 1:4] = 1, rng.integers(2, 9, (cells, 3))
    return counts.astype(np.float64)


@given(
    counts=counted_cells(),
    target=st.sampled_from([1.0, 1e4, 1e6, 1234.5]),
    dtype=st.sampled_from([np.float32, np.float64]),
    logarithm=st.sampled_from([np.log1p, lambda x: np.log2(1 + x), lambda x: np.log10(1 + x)]),
    library=st.floats(1.0, 20.0),
)
def test_log_normalised_counts_are_recovered_exactly(counts, target, dtype, logarithm, library):
    # The library size includes genes that were dropped since, so the values that are left do not give it.
    depth = counts.sum(1, keepdims=True) * library
    adata = ad.AnnData(sparse.csr_matrix(logarithm(counts / depth * target).astype(dtype)))
    result = cq.recover_counts(adata)
    np.testing.assert_array_equal(result.X.toarray(), counts)
    np.testing.assert_array_equal(result.layers["counts"].toarray(), counts)


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sc.datasets.pbmc68k_reduced()


def test_the_counts_of_scanpys_blood_cells_are_recovered(pbmc):
    result = cq.recover_counts(pbmc)
    assert result.shape == (700, 765)
    counts = result.X
    assert np.array_equal(counts.data, np.rint(counts.data))
    assert counts.data.min() == 1
    # One factor a cell turns the counts into the normalised values.
    normalised = np.expm1(pbmc.raw.X.toarray().astype(np.float64))
    dense = counts.toarray()
    factor = normalised.sum(1, keepdims=True) / dense.sum(1, keepdims=True)
    np.testing.assert_allclose(normalised, dense * factor, rtol=2e-3)
    # The depth of the whole cell, which scanpy kept, has the same factor for all.
    assert np.abs(factor.ravel() * pbmc.obs["n_counts"].to_numpy() / 1e4 - 1).max() < 1e-3
    pd.testing.assert_frame_equal(result.obs, pbmc.obs)


def test_recovering_leaves_the_input_unchanged(pbmc):
    before = pbmc.copy()
    cq.recover_counts(pbmc)
    np.testing.assert_array_equal(pbmc.X, before.X)
    assert (pbmc.raw.X != before.raw.X).nnz == 0
    assert list(pbmc.layers) == list(before.layers)


def test_existing_counts_are_returned_unchanged():
    counts = np.random.default_rng(0).poisson(2.0, (5, 8)).astype(np.float32)
    np.testing.assert_array_equal(cq.recover_counts(ad.AnnData(counts)).X.toarray(), counts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.random.default_rng(0).gamma(1.0, 1.0, (30, 40)), "not normalised in a way"),
        (np.random.default_rng(0).normal(size=(30, 40)), "scaled|negative"),
    ],
)
def test_values_from_which_no_counts_follow_are_refused(values, message):
    with pytest.raises(CountsError, match=message):
        cq.recover_counts(ad.AnnData(values))


def test_the_error_counts_the_cells_that_can_not_be_recovered():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (30, 40)).astype(np.float64)
    values = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    values[4] = rng.gamma(1.0, 1.0, 40)
    with pytest.raises(CountsError, match="1 cells without a common unit"):
        cq.recover_counts(ad.AnnData(values))


@given(seed=st.integers(0, 2**31), base=st.sampled_from([1.0, np.log(2), np.log(10)]))
def test_values_that_were_once_stored_in_half_precision_give_the_counts_or_none(seed, base):
    counts = np.random.default_rng(seed).poisson(2, (6, 40))
    counts[:, 0] = 1
    values = (np.log1p(counts / counts.sum(axis=1, keepdims=True)) / base).astype(np.float16).astype(np.float64)
    try:
        found = cq.recover_counts(ad.AnnData(values)).X.toarray()
    except CountsError:
        return
    np.testing.assert_array_equal(found, counts)


def test_counts_with_rounding_errors_are_rounded():
    counts = np.random.default_rng(0).poisson(3.0, (8, 12)).astype(np.float64)
    adata = ad.AnnData(counts * (1 + np.random.default_rng(1).normal(0, 1e-7, counts.shape)))
    assert np.array_equal(cq.recover_counts(adata).X.toarray(), counts)
