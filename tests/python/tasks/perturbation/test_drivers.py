"""Drivers are the genes that move source cells toward the target; where the states do not differ there are none."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

import celloquy as cq
from celloquy.errors import ArgumentError, GenesError, ModelError
from celloquy.tasks.perturbation.baselines import simple_scores
from celloquy.tasks.perturbation.matched import MatchedGenes, false_discovery, standing_out
from celloquy.tasks.perturbation.states import states_differ
from examples import small_model
from gene_examples import HUMAN, small_factor_model, small_gene_model

RAISED, LOWERED = HUMAN[4], HUMAN[9]
MODELS = {"factors": small_factor_model(), "genes": small_gene_model(pooling="value")}
EACH_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def states(n=80, *, seed=0, change=12) -> ad.AnnData:
    """Cells of two states that differ in two genes, or with ``change=0`` in none, and some of a third."""
    random = np.random.default_rng(seed)
    mean = np.full((n, len(HUMAN)), 6.0) * random.gamma(8, 1 / 8, (n, 1))
    state = np.array(["before", "after", "other"])[np.arange(n) % 5 % 3]
    if change:
        mean[state == "after", 4] *= change
        mean[state == "after", 9] /= change
    adata = ad.AnnData(sparse.csr_matrix(random.poisson(mean).astype(np.float32)))
    adata.var_names = HUMAN
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obs["state"] = state
    return adata


def ranked(adata, model=MODELS["factors"], **options) -> pd.DataFrame:
    given = {"source": "before", "target": "after", "by": "state", "n_random": 8, "progress": False}
    return cq.rank_drivers(adata, model=model, **given | options)


def test_the_genes_that_differ_come_first_each_in_its_direction():
    found = ranked(states())
    assert set(found["gene"][:2]) == {RAISED, LOWERED}
    by_gene = found.set_index("gene")
    assert by_gene.loc[RAISED, "direction"] == "up"
    assert by_gene.loc[LOWERED, "direction"] == "down"
    assert by_gene.loc[[RAISED, LOWERED], "cosine"].min() > 0.5
    assert by_gene.loc[[RAISED, LOWERED], "confidence"].min() > 0.99
    assert (found["states_p"] == 0.001).all()
    assert found["rank"].tolist() == list(range(1, len(HUMAN) + 1))
    back = ranked(states(), source="after", target="before").set_index("gene")
    assert back.loc[RAISED, "direction"] == "down"
    assert back.loc[LOWERED, "direction"] == "up"


def test_pairs_of_the_best_are_changed_at_once_each_gene_in_its_direction():
    found = ranked(states(), pairs=True)
    pairs = found[found["gene"].str.contains("+", regex=False)]
    assert len(pairs) == 45
    assert pairs["rank"].tolist() == list(range(1, 46))
    best = pairs.iloc[0]
    assert set(best["gene"].split("+")) == {RAISED, LOWERED}
    assert set(best["direction"].split("+")) == {"up", "down"}
    single = found.set_index("gene")["cosine"]
    assert best["cosine"] > single[[RAISED, LOWERED]].max()
    pd.testing.assert_frame_equal(found[: len(HUMAN)], ranked(states()), check_dtype=False)


@EACH_MODEL
def test_states_that_do_not_differ_have_no_drivers(model):
    told = [ranked(states(60, seed=seed, change=0), model, n_cells=30) for seed in range(6)]
    apart = [table["states_p"][0] <= 0.05 for table in told]
    assert sum(apart) <= 1
    for table, differ in zip(told, apart, strict=True):
        if not differ:
            assert (table["q"] == 1).all()
            assert (table["confidence"] == 0).all()


@EACH_MODEL
@given(order=st.permutations(range(60)))
@settings(max_examples=3)
def test_the_order_of_cells_does_not_matter_and_the_object_stays(model, order):
    adata = states(60)
    expected = ranked(adata, model, n_cells=12)
    shuffled = adata[list(order)].copy()
    before = shuffled.copy()
    found = ranked(shuffled, model, n_cells=12)
    columns = ["gene", "direction", "n_cells", "states_p"]
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    np.testing.assert_allclose(found["cosine"], expected["cosine"], atol=1e-3)
    np.testing.assert_array_equal(shuffled.X.toarray(), before.X.toarray())


def test_a_table_says_how_it_was_made():
    found = ranked(states(), candidates=[RAISED], seed=3).attrs["celloquy"]
    assert found["task"] == "rank_drivers"
    assert found["model"] == MODELS["factors"].fingerprint
    assert found["parameters"]["seed"] == 3
    assert cq.perturb(states(), [RAISED], model=MODELS["factors"], n_random=8, progress=False).attrs["celloquy"][
        "model"
    ]
    edges = cq.infer_network(states(), method="pearson", regulators=[RAISED], progress=False)
    assert edges.attrs["celloquy"]["parameters"]["method"] == {"pearson": 1.0}


def test_candidates_and_one_kind_of_change_are_as_asked():
    found = ranked(states(), candidates=[RAISED, HUMAN[1]], how="delete")
    assert set(found["gene"]) == {RAISED, HUMAN[1]}
    assert set(found["direction"]) == {"down"}
    assert found.set_index("gene").loc[RAISED, "cosine"] < 0
    assert set(ranked(states(), candidates=[RAISED, HUMAN[1]], how=4.0)["direction"]) == {"up"}


@given(seed=st.integers(0, 100))
@settings(max_examples=15)
def test_simple_scores_are_those_of_scipy(seed):
    random = np.random.default_rng(seed)
    values = random.poisson(2, (20, 6)).astype(float)
    is_target, along = random.permutation(20) < 8, random.normal(size=20)
    values[:, 0] = 0
    found = simple_scores(sparse.csc_matrix(values), is_target, along)
    expected = stats.ttest_ind(values[is_target, 1:], values[~is_target, 1:], equal_var=False)
    np.testing.assert_allclose(found.t[1:], expected.statistic, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        found.log_fold_change, values[is_target].mean(0) - values[~is_target].mean(0), atol=1e-12
    )
    r = [stats.pearsonr(column, along).statistic for column in values[:, 1:].T]
    np.testing.assert_allclose(found.correlation[1:], r, rtol=1e-9, atol=1e-12)
    assert found.t[0] == found.correlation[0] == 0


def test_p_of_the_states_is_uniform_where_they_are_alike():
    random = torch.Generator().manual_seed(0)
    p = [states_differ(torch.randn(40, 5, generator=random), torch.arange(40) % 2 == 0, seed) for seed in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    apart = torch.randn(40, 5, generator=random)
    apart[::2] += 3
    assert states_differ(apart, torch.arange(40) % 2 == 0, 0) == 0.001


@given(seed=st.integers(0, 50))
@settings(max_examples=10)
def test_random_genes_are_others_expressed_alike_and_p_is_that_of_a_further_draw(seed):
    random = np.random.default_rng(seed)
    means = random.gamma(0.5, 4, (2, 60))
    matched = MatchedGenes(means, np.array([3]), 8, seed)
    for place in (3, 20):
        drawn = matched.of(place)
        assert len(set(drawn.tolist())) == 8
        assert place not in drawn
        assert 3 not in drawn
        far = np.square(np.log1p(means) - np.log1p(means[:, [place]])).sum(0)
        others = np.setdiff1d(np.arange(60), [3, place])
        assert (far[drawn] <= np.sort(far[others])[15]).all()
    assert all(len(set(one)) == 2 and not set(one) & {3, 20} for one in matched.sets([3, 20]))
    p = [standing_out(float(one[0]), one[1:])[1] for one in random.normal(size=(300, 12))]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert (false_discovery(np.array(p)) >= np.array(p) - 1e-12).all()


def test_what_is_no_way_is_refused():
    adata = states()
    for name, value, said in (
        ("source", "beforehand", "no state to compare"),
        ("target", "before", "no state to compare"),
        ("by", "kind", "no column 'kind'"),
        ("pairs", 3, "`pairs` can't be used"),
        ("how", "silence", "`how` can't be used"),
        ("n_random", 0, "`n_random` can't be used"),
    ):
        with pytest.raises(ArgumentError, match=said) as caught:
            ranked(adata, **{name: value})
        assert caught.value.argument == name
    with pytest.raises(GenesError, match="does not know these genes") as unknown:
        ranked(adata, candidates=["NEUROG33"])
    assert unknown.value.argument == "candidates"
    with pytest.raises(ModelError, match=r"CellModel can't read changed counts[\s\S]*such as a "):
        ranked(adata, small_model())
    empty = adata.copy()
    empty.X = empty.X * 0
    with pytest.raises(GenesError, match="No gene can be a driver"):
        ranked(empty)
    adata.obs["state"] = ["after", *["before"] * (len(adata) - 1)]
    with pytest.raises(ArgumentError, match="'after' of `state` has too few cells"):
        ranked(adata)
