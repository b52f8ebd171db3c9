"""Scores of predicted responses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from celloquy.errors import ArgumentError
from celloquy.evaluate import score_responses


def drawn(seed, conditions=5, genes=60):
    random = np.random.default_rng(seed)
    return random.normal(size=(2, conditions, genes))


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_their_formulas(seed):
    predicted, observed = drawn(seed)
    table = score_responses(predicted, observed)
    for row in range(5):
        assert table["pearson"][row] == pytest.approx(pearsonr(predicted[row], observed[row]).statistic)
        assert table["spearman"][row] == pytest.approx(spearmanr(predicted[row], observed[row]).statistic)
        assert table["l2"][row] == pytest.approx(np.linalg.norm(predicted[row] - observed[row]))
        assert table["mae"][row] == pytest.approx(np.abs(predicted[row] - observed[row]).mean())
        distances = np.linalg.norm(predicted[row] - observed, axis=1)
        assert table["discrimination"][row] == pytest.approx((distances > distances[row]).sum() / 4)


def test_the_truth_scores_best():
    _, observed = drawn(0)
    table = score_responses(observed, observed)
    assert (table[["pearson", "spearman", "overlap", "discrimination"]] > 0.999).all().all()
    assert (table[["l2", "mae"]] == 0).all().all()


def test_one_prediction_for_all_tells_nothing_apart():
    _, observed = drawn(1)
    none = score_responses(np.zeros_like(observed), observed)
    assert (none["pearson"] == 0).all()
    assert none["discrimination"].mean() == pytest.approx(0.5)
    same = score_responses(np.tile(observed.mean(0), (5, 1)), observed)
    assert same["discrimination"].mean() == pytest.approx(0.5)


def test_the_sign_of_a_change_counts():
    _, observed = drawn(2)
    assert (score_responses(-observed, observed)["overlap"] == 0).all()


def test_the_most_expressed_genes_are_scored():
    predicted, observed = drawn(3, genes=1500)
    level = np.zeros(1500)
    level[:1000] = 1
    changed = predicted.copy()
    changed[:, 1000:] = 99
    kept = ["pearson", "spearman", "l2", "mae", "overlap"]
    first, second = (score_responses(one, observed, level)[kept] for one in (predicted, changed))
    np.testing.assert_allclose(first, second)


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.full((5, 60), np.nan), np.zeros(4)])
def test_what_cannot_be_compared(wrong):
    with pytest.raises(ArgumentError, match="can't be compared"):
        score_responses(wrong, drawn(0)[1])
