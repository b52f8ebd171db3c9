"""Gaussian factors: the closed form against the textbook's, and what a refinement may and may not do."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import cell_batch
from celloquy.nn.factors import OWN_FACTORS, logged, posterior_map, refine, top_axes


def factors(genes: int, width: int, seed: int):
    random = np.random.default_rng(seed)
    loadings = torch.from_numpy(random.normal(size=(genes, width))).float()
    return loadings, torch.from_numpy(random.uniform(0.2, 2, genes)).float(), random


@given(genes=st.integers(1, 20), width=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_the_posterior_mean_is_that_of_the_joint_gaussian(genes, width, seed):
    loadings, noise, random = factors(genes, width, seed)
    measured = torch.from_numpy(random.random(genes) < 0.7)
    x = torch.from_numpy(random.normal(size=(3, genes))).float()
    seen = loadings[measured].double()
    # Cov(z, x) Cov(x)⁻¹ x, over the measured genes alone.
    covariance = seen @ seen.T + torch.diag(noise[measured].double())
    expected = x[:, measured].double() @ torch.linalg.solve(covariance, seen)
    np.testing.assert_allclose(x.double() @ posterior_map(loadings, noise, measured).double(), expected, atol=1e-4)


@given(width=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_a_gene_without_loadings_says_nothing(width, seed):
    loadings, noise, _ = factors(9, width, seed)
    loadings[4] = 0
    assert not posterior_map(loadings, noise, torch.ones(9, dtype=torch.bool))[4].any()


def test_expression_is_logged_at_one_depth():
    batch = cell_batch(np.array([[1, 3, 0], [10, 30, 0], [0, 0, 0]]), measured=np.ones((1, 3), bool))
    values = logged(batch)
    np.testing.assert_allclose(values, np.log1p([2500, 7500, 2500, 7500]), rtol=1e-6)


def test_the_first_axes_are_the_principal_components():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(60, 40)) * np.r_[20, 12, 8, np.ones(37)]
    singular, axes = top_axes(torch.from_numpy(matrix).float(), 3)
    expected, right = np.linalg.svd(matrix)[1:]
    np.testing.assert_allclose(singular, expected[:3], rtol=1e-4)
    np.testing.assert_allclose(np.abs(axes.numpy() @ right[:3].T), np.eye(3), atol=1e-3)


def study(n: int, seed: int, known: bool):
    """Cells of two kinds that differ along one axis, which the factors know or do not, among 60 noisy genes."""
    random = np.random.default_rng(seed)
    axis = np.zeros(60)
    axis[:12] = 1.0
    other = np.zeros(60)
    other[30:42] = 1.0
    kind = random.random(n) < 0.5
    cells = np.outer(np.where(kind, 1.5, -1.5), axis) + random.normal(size=(n, 60))
    loadings = torch.from_numpy((axis if known else other)[:, None]).float()
    return kind, torch.from_numpy(cells - cells.mean(0)).float(), loadings


def parted(kind, embedding):
    """Distance of the kinds' means in units of the spread within them."""
    apart = embedding[kind].mean(0) - embedding[~kind].mean(0)
    within = torch.cat([embedding[kind] - embedding[kind].mean(0), embedding[~kind] - embedding[~kind].mean(0)])
    along = within @ (apart / apart.norm())
    return float(apart.norm() / along.std())


@given(n=st.integers(40, 120), seed=st.integers(0, 300), known=st.booleans())
@settings(max_examples=20)
def test_refined_factors_part_kinds_that_the_corpus_knew_and_kinds_that_it_did_not(n, seed, known):
    kind, cells, loadings = study(n, seed, known)
    learned = refine(loadings, torch.ones(60), cells)
    table = posterior_map(learned.loadings, learned.noise, torch.ones(60, dtype=torch.bool)) * learned.scale
    assert parted(kind, cells @ table) > 4
    assert learned.loadings.shape[1] <= 1 + OWN_FACTORS


@given(n=st.integers(30, 80), seed=st.integers(0, 300))
@settings(max_examples=15)
def test_noise_alone_adds_few_factors_and_shrinks_what_the_cells_do_not_vary_in(n, seed):
    random = np.random.default_rng(seed)
    cells = torch.from_numpy(random.normal(size=(n, 200))).float()
    loadings = torch.zeros(200, 1)
    loadings[:20] = 1.0
    learned = refine(loadings, torch.ones(200), cells - cells.mean(0))
    assert learned.loadings.shape[1] <= 4
    embedding = cells @ (
        posterior_map(learned.loadings, learned.noise, torch.ones(200, dtype=torch.bool)) * learned.scale
    )
    assert float(embedding[:, 0].std()) < 1.0
