"""The linear head scales counts alike whatever was measured, and known cells have a low novelty."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from celloquy.data import CellBatch
from celloquy.tasks.annotation.classifier import LabelClassifier, LogNormaliser
from celloquy.tasks.annotation.linear import PENALTY, f_statistic, fit_linear, marker_genes
from celloquy.tasks.annotation.novelty import Novelty


def batch(counts: np.ndarray, measured: np.ndarray | None = None) -> CellBatch:
    rows = sparse.csr_matrix(counts.astype(np.float32))
    n, genes = counts.shape
    return CellBatch(
        indptr=torch.from_numpy(rows.indptr.astype(np.int64)), indices=torch.from_numpy(rows.indices.astype(np.int32)),
        values=torch.from_numpy(rows.data), tissue=torch.zeros(n, dtype=torch.int64),
        position=torch.full((n, 2), torch.nan), batch=torch.full((n,), -1), panel=torch.zeros(n, dtype=torch.int64),
        measured=torch.ones(1, genes, dtype=torch.bool) if measured is None else torch.from_numpy(measured)[None],
    )  # fmt: skip


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(np.linspace(0.2, 4, 30), (80, 30))


@pytest.fixture
def codes(counts) -> torch.Tensor:
    counts[:40, :5] += np.random.default_rng(1).poisson(4, (40, 5))
    return (torch.arange(80) >= 40).long()


def test_values_are_log1p_of_counts_at_a_common_depth(counts):
    normalise = LogNormaliser(30)
    cells = batch(counts)
    normalise.fit(cells)
    expected = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    np.testing.assert_allclose(normalise(cells).numpy(), expected[counts > 0], rtol=1e-5)
    np.testing.assert_allclose(normalise.mean.numpy(), expected.mean(0), rtol=1e-4)
    deeper = replace(cells, values=cells.values * 7)
    torch.testing.assert_close(normalise(deeper), normalise(cells))


def test_fewer_measured_genes_give_the_scale_of_all(counts):
    normalise = LogNormaliser(30)
    normalise.fit(batch(counts))
    measured = np.arange(30) % 3 > 0
    whole = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))[:, measured]
    part = normalise(batch(counts * measured, measured)).numpy()
    assert abs(part.mean() - whole[counts[:, measured] > 0].mean()) < 0.05


def test_the_linear_head_is_the_sum_of_two_balanced_logistic_regressions(counts, codes):
    classifier = LabelClassifier(30, 4, 2)
    cells = batch(counts)
    fit_linear(classifier, cells, codes)
    x = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))
    x -= x.mean(0)
    alike = x / x.std(0)
    # As many components as genes: the regression on all that the genes say.
    components = LogisticRegression(class_weight="balanced", max_iter=1000).fit(alike, codes.numpy())
    x /= np.sqrt((x**2).sum(1).mean())
    genes = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000).fit(x, codes.numpy())
    expected = genes.decision_function(x) + components.decision_function(alike)
    found = classifier.linear_logits(cells)
    np.testing.assert_allclose((found[:, 1] - found[:, 0]).numpy(), expected, atol=0.04)


def test_a_gene_that_was_not_measured_says_nothing(counts, codes):
    classifier = LabelClassifier(30, 4, 2)
    fit_linear(classifier, batch(counts), codes)
    nothing = batch(np.zeros((2, 30)), np.zeros(30, dtype=bool))
    torch.testing.assert_close(classifier.linear_logits(nothing), classifier.bias.expand(2, 2))


def test_genes_are_chosen_by_the_variance_between_labels(counts, codes, monkeypatch):
    monkeypatch.setattr("celloquy.tasks.annotation.linear.GENES", 5)
    every = torch.ones(30, dtype=torch.bool)
    np.testing.assert_array_equal(marker_genes(batch(counts), codes, 2, every), np.arange(5))
    without = torch.arange(30) != 2
    assert 2 not in marker_genes(batch(counts), codes, 2, without)


def test_the_f_statistic_is_that_of_an_analysis_of_variance(counts, codes):
    from sklearn.feature_selection import f_classif

    values = sparse.csr_matrix(np.log1p(counts))
    expected, _ = f_classif(values.toarray(), codes.numpy())
    often = (counts > 0).sum(0) >= 3
    np.testing.assert_allclose(f_statistic(values, codes.numpy(), 2)[often], expected[often], rtol=0.05)


def test_novelty_is_one_half_at_the_threshold_and_higher_for_the_strange():
    generator = torch.Generator().manual_seed(0)
    codes = torch.arange(200) % 3
    logits = 6 * torch.nn.functional.one_hot(codes).float() + torch.randn(200, 3, generator=generator)
    novelty = Novelty(3)
    novelty.set_centres(logits[:100], codes[:100])
    novelty.fit(logits[100:], 0.05)
    assert int((novelty(logits[100:]) > 0.5).sum()) == 5
    strange = torch.randn(50, 3, generator=generator)
    assert (novelty(strange) > 0.5).float().mean() > 0.9
    novelty.fit(logits[:0], 0.05)
    assert (novelty(strange) == 0).all()


def test_novelty_does_not_depend_on_a_labels_logit_scale():
    generator = torch.Generator().manual_seed(0)
    codes = torch.arange(4000) % 4
    size = torch.tensor([20.0, 20.0, 20.0, 5.0])[codes, None]
    logits = size * (torch.nn.functional.one_hot(codes) + 0.1 * torch.randn(4000, 4, generator=generator))
    novelty = Novelty(4)
    novelty.set_centres(logits[:2000], codes[:2000])
    novelty.fit(logits[2000:], 0.02)
    unknown = novelty(logits) > 0.5
    assert (unknown[codes == 3]).float().mean() < 0.06
    assert unknown.float().mean() < 0.04
