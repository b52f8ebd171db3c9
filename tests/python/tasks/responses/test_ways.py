"""The ways to predict a response are those that papers describe."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from celloquy.tasks.responses import seen, unseen
from celloquy.tasks.responses.conditions import Condition, Naming
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Changes
from celloquy.tasks.responses.reading import normal_scores
from celloquy.tasks.responses.situations import SITUATIONS, folds_of, situation_of
from celloquy.tasks.responses.trials import _blend, _losses

GENES = tuple(f"G{place}" for place in range(12))
NO_KIN = Kinship((), {})


def changes(conditions, seed=0, contexts=("",)) -> Changes:
    random = np.random.default_rng(seed)
    values = random.normal(size=(len(conditions), len(GENES)))
    control = random.gamma(2, 1, size=(len(contexts), len(GENES)))
    return Changes(GENES, tuple(conditions), values, np.ones(len(conditions)), tuple(contexts), control)


SINGLES = changes([Condition((name,)) for name in GENES[:8]])


def test_the_linear_model_is_that_of_the_paper():
    """Ahlmann-Eltze et al. 2025: W = (GᵀG + λI)⁻¹ Gᵀ (Y − b) Pᵀ (PPᵀ + λI)⁻¹, and G W p + b."""
    y = SINGLES.values.T
    b = y.mean(1, keepdims=True)
    profiles = np.concatenate([y + SINGLES.control.T, SINGLES.control.T], axis=1)
    profiles = profiles - profiles.mean(0)
    left, size, _ = np.linalg.svd(profiles, full_matrices=False)
    g = (left * size)[:, : min(10, profiles.shape[1] - 1)]
    p = g[:8].T
    ridge = 0.1 * np.eye(g.shape[1])
    w = np.linalg.inv(g.T @ g + ridge) @ g.T @ (y - b) @ p.T @ np.linalg.inv(p @ p.T + ridge)
    expected = (g @ w @ g[9] + b[:, 0])[None]
    np.testing.assert_allclose(unseen.linear(SINGLES, [Condition(("G9",))], NO_KIN), expected, atol=1e-8)


def test_left_out_residuals_in_closed_form_choose_as_refits_do(monkeypatch):
    random = np.random.default_rng(0)
    features = sparse.csr_matrix(random.normal(size=(9, 3)))
    names = (*GENES[:8], "G9")
    kinship = Kinship(names, {"known": features})
    train = changes([Condition((name,)) for name in GENES[:8]])
    told = unseen.ridge("known")(train, [Condition(("G9",))], kinship)
    x = features.toarray()
    best = None
    for strength in unseen.STRENGTHS:
        centred = x[:8] - x[:8].mean(0)
        scale = (centred @ centred.T).diagonal().mean()
        rest = train.values - train.values.mean(0)
        errors = []
        for out in range(8):
            kept = np.arange(8) != out
            kernel = centred[kept] @ centred[kept].T + strength * scale * np.eye(7)
            errors.append(rest[out] - centred[out] @ centred[kept].T @ np.linalg.solve(kernel, rest[kept]))
        error = (np.array(errors) ** 2).sum()
        kernel = centred @ centred.T + strength * scale * np.eye(8)
        along = (x[8] - x[:8].mean(0)) @ centred.T
        predicted = train.values.mean(0) + along @ np.linalg.solve(kernel, rest)
        if best is None or error < best[0]:
            best = error, predicted
    np.testing.assert_allclose(told[0], best[1], atol=1e-8)


def chain(step=0.9) -> Kinship:
    """Perturbations G0 to G7 in a row, each like its neighbours alone, and G11, which is like none."""
    places = np.arange(8)
    features = np.zeros((9, 9))
    features[places, places], features[places, places + 1] = step, np.sqrt(1 - step**2)
    return Kinship((*GENES[:8], "G11"), {"known": sparse.csr_matrix(features)})


def test_on_a_graph_what_is_learned_reaches_beyond_the_likest():
    """G2 tells of G0, which it is not like, by way of G1; a regression on the same likeness can't."""
    kinship = chain()
    train = SINGLES.only(np.array([name not in ("G0", "G5") for name in GENES[:8]]))
    one = train.conditions.index(Condition(("G2",)))
    values = train.values.copy()
    values[one] += 1
    told = [unseen.graph(those, [Condition(("G0",))], kinship) for those in (train, replace(train, values=values))]
    away = [unseen.graph(those, [Condition(("G5",))], kinship) for those in (train, replace(train, values=values))]
    assert np.abs(told[1] - told[0]).mean() > np.abs(away[1] - away[0]).mean()


@pytest.mark.parametrize("way", [unseen.graph, unseen.smooth])
def test_what_is_told_of_a_perturbation_is_the_same_in_all_company(way):
    train = SINGLES.only(np.arange(8) < 6)
    asked = [Condition(("G6",)), Condition(("G7",)), Condition(("G11",))]
    together = way(train, asked, chain())
    for row, condition in enumerate(asked):
        np.testing.assert_allclose(together[row], way(train, [condition], chain())[0], atol=1e-12)


def test_what_is_like_nothing_changes_less_by_the_smooth_way():
    train = SINGLES.only(np.arange(8) < 7)
    size = np.linalg.norm(unseen.smooth(train, [Condition(("G11",)), Condition(("G7",))], chain()), axis=1)
    assert size[0] < size[1]


def test_parts_add_up():
    told = seen.additive(SINGLES, [Condition(("G1", "G3"))], NO_KIN)
    np.testing.assert_allclose(told[0], SINGLES.values[1] + SINGLES.values[3])
    half = seen.mean_of_parts(SINGLES, [Condition(("G1", "G3"))], NO_KIN)
    np.testing.assert_allclose(half * 2, told)
    largest = seen.largest_part(SINGLES, [Condition(("G1", "G3"))], NO_KIN)[0]
    assert (np.abs(largest) == np.maximum(np.abs(SINGLES.values[1]), np.abs(SINGLES.values[3]))).all()


def test_doses_are_interpolated_on_a_logarithmic_scale():
    train = changes([Condition(("a",), dose=dose) for dose in (1.0, 100.0)])
    between = seen.interpolated_dose(train, [Condition(("a",), dose=10.0)], NO_KIN)[0]
    np.testing.assert_allclose(between, train.values.mean(0))
    for dose, place in ((0.1, 0), (2.0, 0), (50.0, 1), (1e4, 1)):
        nearest = seen.nearest_dose(train, [Condition(("a",), dose=dose)], NO_KIN)[0]
        np.testing.assert_array_equal(nearest, train.values[place])


def test_a_fold_change_is_carried_to_the_level_of_another_context():
    a, b = Condition(("x",), "a"), Condition(("x",), "b")
    control = np.log1p(np.array([[100.0] * len(GENES), [400.0] * len(GENES)]))
    doubled = np.log1p(200.0) - np.log1p(100.0)
    train = Changes(GENES, (a,), np.full((1, len(GENES)), doubled), np.ones(1), ("a", "b"), control)
    told = seen.fold_change(train, [b], NO_KIN)
    np.testing.assert_allclose(told, np.log1p(800.0) - np.log1p(400.0), rtol=1e-3)


def test_the_perturbed_gene_falls_by_the_share_that_others_fell_by():
    train = changes([Condition((name,)) for name in GENES[:8]])
    values = np.zeros_like(train.values)
    values[np.arange(8), np.arange(8)] = -0.8 * train.control[0, :8]
    train = Changes(GENES, train.conditions, values, train.weights, train.contexts, train.control)
    told = unseen.own_gene(train, [Condition(("G10",))], NO_KIN)[0]
    expected = np.zeros(len(GENES))
    expected[10] = -0.8 * train.control[0, 10]
    np.testing.assert_allclose(told, expected)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_blend_is_at_least_as_good_as_any_way_on_what_it_is_learned_from(seed):
    random = np.random.default_rng(seed)
    told = random.normal(size=(6, 4, 15))
    grams = np.einsum("nig,njg->nij", told, told)
    weights = _blend(grams, np.ones(6))
    assert (weights >= 0).all()
    direct = ((np.einsum("nig,i->ng", told[:, :-1], weights) - told[:, -1]) ** 2).sum(1)
    np.testing.assert_allclose(_losses(grams, weights), direct, atol=1e-8)
    for way in [np.zeros(3), *np.eye(3)]:
        assert direct.sum() <= _losses(grams, way).sum() * (1 + 1e-4)


CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=2, unique=True).map(lambda one: tuple(sorted(one))),
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from([1.0, 10.0]),
    ),
    min_size=2, max_size=25, unique=True,
)  # fmt: skip


@given(CONDITIONS, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_is_asked_for_is_hidden_and_in_its_situation(conditions, seed):
    train = changes(sorted(conditions), contexts=("x", "y", "z"))
    for situation in SITUATIONS:
        for hidden, asked in folds_of(situation, train, seed):
            assert hidden[asked].all()
            left = train.only(~hidden)
            for place in asked:
                condition = train.conditions[place]
                assert situation_of(condition, left) == situation
                if situation == "new perturbation":
                    assert not any(set(condition.parts) & set(one.parts) for one in left.conditions)
                if situation == "new context":
                    assert all(one.context != condition.context for one in left.conditions)


@given(st.lists(st.integers(0, 50), min_size=4, max_size=40))
@settings(max_examples=40, deadline=None)
def test_scores_of_ranks_are_finite_and_in_their_order(ranks):
    scores = normal_scores(np.array([ranks], dtype=np.float64))[0]
    assert np.isfinite(scores).all()
    for first, second in pairwise(ranks):
        if 0 < first < second:
            assert scores[ranks.index(first)] > scores[ranks.index(second)]
    assert (scores[np.array(ranks) == 0] == 0).all()


@pytest.mark.parametrize(
    ("name", "parts"),
    [("A+B", ("A", "B")), ("B + A", ("A", "B")), ("A+ctrl", ("A",)), ("ctrl", ()), ("ctrl+ctrl", ())],
)
def test_names_are_split(name, parts):
    assert Naming("gene", ("ctrl",)).parts(name) == parts


def test_names_are_whole_without_a_separator():
    assert Naming("drug", ("DMSO",), separator="").parts("g(+)-JQ1") == ("g(+)-JQ1",)
