"""Linear scores are those of their definitions, however many targets are dense at a time."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from celloquy.tasks.networks import linear, moments
from celloquy.tasks.networks.scores import combined, percentiles

REGULATORS, TARGETS = np.array([0, 2, 5, 7]), np.array([0, 1, 3, 4, 5, 6, 8, 9])


def expression(cells=4000, genes=10, seed=0) -> sparse.csc_matrix:
    random = np.random.default_rng(seed)
    values = random.normal(size=(cells, genes)) @ random.normal(size=(genes, genes)) + 3
    return sparse.csc_matrix(values)


def found(values, **options) -> moments.Moments:
    return moments.moments(values, REGULATORS, TARGETS, **options)


def test_correlations_are_those_of_numpy_and_scipy(monkeypatch):
    values = expression(200)
    dense = values.toarray()
    monkeypatch.setattr(moments, "_TARGETS", 3)
    pearson = np.corrcoef(dense.T)
    assert found(values).across == pytest.approx(pearson[np.ix_(REGULATORS, TARGETS)])
    assert found(values).among == pytest.approx(pearson[np.ix_(REGULATORS, REGULATORS)])
    spearman = spearmanr(dense).statistic
    assert found(values, ranks=True).across == pytest.approx(spearman[np.ix_(REGULATORS, TARGETS)])


def test_a_gene_that_does_not_vary_correlates_with_nothing():
    values = expression(50).toarray()
    values[:, [2, 3]] = 1.5
    across = found(sparse.csc_matrix(values)).across
    assert not across[1].any()
    assert not across[:, 2].any()
    assert across[0, 1]


def test_partial_correlations_of_many_cells_are_those_given_the_other_regulators():
    values = expression()
    dense = values.toarray()
    partial = linear.partial_correlation(found(values))
    for row, regulator in enumerate(REGULATORS):
        for column, target in enumerate(TARGETS):
            if regulator == target:
                continue
            given = [one for one in REGULATORS if one not in (regulator, target)]
            genes = [regulator, target, *given]
            precision = np.linalg.inv(np.corrcoef(dense[:, genes].T))
            expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
            # Of 4,000 cells little is shrunk.
            assert partial[row, column] == pytest.approx(expected, abs=0.02)


def test_partial_correlations_of_few_cells_of_independent_genes_are_shrunk():
    noise = sparse.csc_matrix(np.random.default_rng(0).normal(size=(12, 10)))
    plain = found(noise).across
    off = REGULATORS[:, None] != TARGETS
    assert np.abs(linear.partial_correlation(found(noise))[off]).max() < 0.5 * np.abs(plain[off]).max()


def test_ridge_is_that_of_sklearn_and_leaves_the_regulator_that_is_the_target_out(monkeypatch):
    values = expression(60)
    dense = values.toarray()
    scaled = (dense - dense.mean(0)) / dense.std(0)
    monkeypatch.setattr(linear, "_PENALTIES", np.array([0.3]))
    coefficients = linear.ridge(found(values))
    for column, target in enumerate(TARGETS):
        others = [place for place, one in enumerate(REGULATORS) if one != target]
        model = Ridge(alpha=0.3 * 60, fit_intercept=False).fit(scaled[:, REGULATORS[others]], scaled[:, target])
        assert coefficients[others, column] == pytest.approx(model.coef_, abs=1e-9)


def test_the_penalty_grows_with_noise():
    random = np.random.default_rng(0)
    cause = random.normal(size=(30, 10))
    sizes = []
    for noise in (0.01, 30.0):
        values = cause + 0
        values[:, 8] = cause[:, 0] + noise * random.normal(size=30)
        chosen = moments.moments(sparse.csc_matrix(values), REGULATORS, np.array([8]))
        sizes.append(abs(linear.ridge(chosen)[0, 0]) / abs(chosen.across[0, 0]))
    assert sizes[0] > sizes[1]


def test_scores_are_combined_by_the_share_of_pairs_that_score_higher():
    usable = np.array([[False, True, True, True, True]])
    scores = np.array([[9.0, 1.0, 3.0, 3.0, np.nan]])
    assert percentiles(scores, usable)[0, 1:].tolist()[:3] == pytest.approx([1 / 6, 4 / 6, 4 / 6])
    assert np.isnan(percentiles(scores, usable)[0, [0, 4]]).all()
    other = np.array([[0.0, 4.0, 3.0, 2.0, 1.0]])
    both = combined([(1.0, scores), (3.0, other)], usable)[0]
    # What a score knows nothing of is in its middle.
    assert both[4] == pytest.approx(-(np.log(1 / 2) + 3 * np.log(7 / 8)) / 4)
    assert both[1] == pytest.approx(-(np.log(5 / 6) + 3 * np.log(1 / 8)) / 4)
    assert combined([(2.0, other)], usable)[0, 1:].argsort().tolist() == [3, 2, 1, 0]
