"""A blend finds the predictor that is right; reliability follows what is known of a gene."""

import numpy as np
import pytest

from celloquy.tasks.imputation.reliability import Blend, agreement, choose_blend, describe, moments, predict_reliability


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.gamma(1, 1, (80, 7)).astype(np.float32)
    predictors = rng.gamma(1, 1, (3, 80, 7)).astype(np.float32)
    return true, predictors, rng.gamma(1, 1, (3, 80, 7)).astype(np.float32)


def test_agreement_from_moments_is_that_of_the_values(values):
    true, predictors, smoothed = values
    weighing = Blend((0.5, 0.25, 0.25), 0.25)
    found = weighing.apply(predictors, smoothed)
    weights = np.array(weighing.weights)
    correlation, cosine = agreement(
        moments(true, predictors, smoothed), np.concatenate([weights * 0.75, weights * 0.25])
    )
    for gene in range(7):
        a, b = true[:, gene], found[:, gene]
        assert correlation[gene] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-5)
        assert cosine[gene] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_way_that_is_right_gets_all_the_weight(values, right):
    true, predictors, smoothed = values
    predictors[right] = true
    weighing, reached = choose_blend(moments(true, predictors, smoothed))
    assert weighing.weights[right] == 1
    assert weighing.smoothing == 0
    np.testing.assert_allclose(reached, 1, atol=1e-5)


def test_smoothing_is_chosen_where_it_helps(values):
    true, predictors, smoothed = values
    smoothed[:] = true
    assert choose_blend(moments(true, predictors, smoothed))[0].smoothing == 0.5


def test_predictions_are_never_negative(values):
    _, predictors, smoothed = values
    assert (Blend((0, 0, 1.0), 0.0).apply(-predictors, smoothed) == 0).all()


def test_reliability_follows_what_goes_with_it_in_the_panel():
    rng = np.random.default_rng(0)
    panel, wanted = rng.normal(size=(200, 5)), rng.normal(size=(50, 5))
    truth = [np.clip(0.3 + 0.1 * one[:, 0], -1, 1) for one in (panel, wanted)]
    found = predict_reliability(panel, truth[0] + rng.normal(size=200) * 0.02, wanted)
    assert np.corrcoef(found, truth[1])[0, 1] > 0.98


def test_with_two_genes_reliability_stays_near_their_mean():
    found = predict_reliability(np.eye(2, 5), np.array([0.2, 0.4]), np.random.default_rng(0).normal(size=(20, 5)))
    assert np.abs(found - 0.3).max() <= 0.45


def test_what_is_known_of_a_gene_is_finite_even_where_nothing_varies():
    assert np.isfinite(describe(np.zeros((3, 10, 4), dtype=np.float32), np.zeros(4))).all()
