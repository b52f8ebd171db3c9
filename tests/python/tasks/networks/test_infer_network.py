"""A network is found where there is one, is nobody's where there is none, and does not depend on any order."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

import celloquy as cq
from celloquy.errors import AbsentGenesWarning, ArgumentError, CountsError, GenesError
from network_examples import FACTORS, TARGETS, cells, network

EXPRESSION = ("pearson", "spearman", "partial", "ridge", "boosting")


def infer(adata, **options) -> pd.DataFrame:
    return cq.infer_network(adata, **{"progress": False, "n_edges": None, "method": "pearson"} | options)


def roc(edges: pd.DataFrame, truth) -> float:
    among = edges[edges["target"].isin(TARGETS)]
    pairs = zip(among["regulator"], among["target"], strict=True)
    return roc_auc_score([pair in truth for pair in pairs], among["score"])


@pytest.mark.parametrize("method", EXPRESSION)
def test_a_planted_network_is_recovered_with_its_signs(method):
    edges = infer(cells(), method=method)
    truth = network()
    assert roc(edges, truth) > 0.98
    first = edges[edges["target"].isin(TARGETS)][: len(truth)]
    pairs = list(zip(first["regulator"], first["target"], strict=True))
    hits = [pair for pair in pairs if pair in truth]
    assert len(hits) > 0.9 * len(truth)
    signs = dict(zip(pairs, first["sign"], strict=True))
    assert all(signs[pair] == truth[pair] for pair in hits)


@pytest.mark.parametrize("method", [*EXPRESSION, "auto"])
def test_a_shuffled_truth_scores_at_chance(method):
    edges = infer(cells(), method=method)
    random, scores = np.random.default_rng(0), []
    for _ in range(30):
        names = dict(zip(TARGETS, random.permutation(TARGETS), strict=True))
        scores.append(roc(edges, {(factor, names[gene]) for factor, gene in network()}))
    assert abs(np.mean(scores) - 0.5) < 0.06


def test_edges_are_ranked_from_the_surest_and_no_gene_regulates_itself():
    edges = infer(cells())
    assert list(edges.columns) == ["regulator", "target", "score", "sign", "rank"]
    assert set(edges["regulator"]) == set(FACTORS)
    assert len(edges) == len(FACTORS) * (len(FACTORS) + len(TARGETS) - 1)
    assert (edges["regulator"] != edges["target"]).all()
    assert not edges.duplicated(["regulator", "target"]).any()
    assert (edges["score"].diff()[1:] <= 0).all()
    assert edges["rank"].tolist() == list(range(1, len(edges) + 1))
    pd.testing.assert_frame_equal(infer(cells(), n_edges=7), edges[:7])
    assert len(cq.infer_network(cells(), progress=False)) == len(edges)


@settings(max_examples=6)
@given(data=st.data(), method=st.sampled_from([*EXPRESSION, "auto"]))
def test_no_order_of_cells_or_genes_matters(data, method):
    adata = cells(40)[:, [*FACTORS, *TARGETS[:6]]].copy()
    rows, columns = (data.draw(st.permutations(range(size))) for size in adata.shape)
    moved = adata[rows, columns].copy()
    expected = infer(adata, method=method, max_cells=30)
    found = infer(moved, method=method, max_cells=30)
    ends = ["regulator", "target"]
    both = found.merge(expected, on=ends)
    assert len(both) == len(found) == len(expected)
    # Sums in another order differ in their last digits.
    assert both["score_x"].to_numpy() == pytest.approx(both["score_y"].to_numpy(), rel=1e-4, abs=1e-6)


def test_a_group_has_the_network_of_its_own_cells():
    adata = cells(names=True)
    edges = infer(adata, by="type")
    assert edges["group"].cat.categories.tolist() == ["A", "B"]
    for name, part in edges.groupby("group", observed=True):
        own = infer(adata[adata.obs["type"] == name].copy())
        pd.testing.assert_frame_equal(part.drop(columns="group").reset_index(drop=True), own)
    structured, noise = (part for _, part in edges.groupby("group", observed=True))
    assert roc(structured, network()) > 0.95
    assert 0.3 < roc(noise, network()) < 0.7


def test_normalised_values_are_taken_as_they_are_where_the_caller_says_so():
    adata = cells()
    expected = infer(adata)
    logged = adata.copy()
    depth = np.asarray(adata.X.sum(1))
    logged.X = adata.X.multiply(1e4 / depth).tocsr().log1p()
    with pytest.raises(CountsError):
        infer(logged)
    found = infer(logged, normalised=True)
    pd.testing.assert_frame_equal(found, expected, atol=1e-5, rtol=1e-4)
    logged.layers["log"], logged.X = logged.X, logged.X * 0
    pd.testing.assert_frame_equal(infer(logged, normalised=True, layer="log"), found)
    logged.layers["log"].data[0] = np.nan
    with pytest.raises(CountsError, match="not finite"):
        infer(logged, normalised=True, layer="log")


def test_files_give_what_memory_gives_and_the_object_stays_as_it_is(tmp_path):
    adata = cells()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    before = adata.copy()
    expected = infer(adata, method="auto")
    pd.testing.assert_frame_equal(infer(tmp_path / "cells.h5ad", method="auto"), expected)
    assert (adata.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


def test_of_many_cells_some_are_drawn_by_their_names():
    adata = cells(400)
    drawn = infer(adata, max_cells=100)
    pd.testing.assert_frame_equal(infer(adata, max_cells=100), drawn)
    assert not infer(adata, max_cells=100, seed=1)["score"].equals(drawn["score"])
    assert not infer(adata)["score"].equals(drawn["score"])
    assert roc(drawn, network()) > 0.9


def test_genes_are_named_by_symbol_id_or_ortholog():
    adata = cells()
    ids = cq.identify_genes(["GATA1", "SPI1"]).ids
    expected = infer(adata, regulators=["GATA1", "SPI1"], targets=TARGETS[:4])
    assert set(expected["regulator"]) == {"GATA1", "SPI1"}
    assert set(expected["target"]) == set(TARGETS[:4])
    pd.testing.assert_frame_equal(infer(adata, regulators=ids, targets=TARGETS[:4]), expected)
    pd.testing.assert_frame_equal(infer(adata, regulators=["Gata1", "Spi1"], targets=TARGETS[:4]), expected)
    by_id = adata.copy()
    by_id.var_names = cq.identify_genes(adata.var_names).ids
    assert infer(by_id)["score"].tolist() == pytest.approx(infer(adata)["score"].tolist(), abs=1e-6)


def test_mouse_cells_have_the_factors_of_mice():
    adata = cells()
    adata.var_names = [name.capitalize() if name != "GAPDH" else "Gapdh" for name in adata.var_names]
    edges = infer(adata)
    assert {"Gata1", "Sox2"} <= set(edges["regulator"]) <= {factor.capitalize() for factor in FACTORS}


def test_columns_of_one_gene_are_added_up():
    adata = cells()
    place = list(adata.var_names).index("GATA1")
    counts = adata.X.toarray()
    half = counts[:, place] // 2
    columns = np.column_stack([counts, counts[:, place] - half])
    columns[:, place] = half
    names = [*adata.var_names, "ENSG00000102145"]
    twice = ad.AnnData(sparse.csr_matrix(columns), obs=adata.obs, var=pd.DataFrame(index=names))
    found = infer(twice)
    # The gene has the name that sorts first.
    found = found.replace({"ENSG00000102145": "GATA1"})
    expected = infer(adata)
    both = found.merge(expected, on=["regulator", "target"])
    assert len(both) == len(expected) == len(found)
    assert both["score_x"].to_numpy() == pytest.approx(both["score_y"].to_numpy(), abs=1e-5)


def test_a_gene_that_does_not_vary_has_no_edges():
    adata = cells()
    adata.X = adata.X.multiply(~np.isin(adata.var_names, ["HBB", "SOX2"])).tocsr()
    for method in ("pearson", "auto"):
        edges = infer(adata, method=method)
        assert not {"HBB", "SOX2"} & {*edges["regulator"], *edges["target"]}


def test_methods_are_combined_by_name_or_weight():
    adata = cells(60)
    assert infer(adata, method=["ridge"]).equals(infer(adata, method="ridge"))
    both = infer(adata, method=["pearson", "spearman"])
    pd.testing.assert_frame_equal(infer(adata, method={"pearson": 2, "spearman": 2}), both)
    assert not infer(adata, method={"pearson": 5, "spearman": 1}).equals(both)
    auto = infer(adata, method="auto")
    named = infer(adata, method={"prior": 2, "pearson": 1, "coexpression": 1})
    pd.testing.assert_frame_equal(auto, named)


def test_what_is_known_of_genes_needs_no_cells():
    one, other = (infer(cells(seed=seed), method="prior") for seed in (0, 1))
    columns = ["regulator", "target", "score", "rank"]
    pd.testing.assert_frame_equal(one[columns], other[columns])
    elsewhere = infer(cells(), method="coexpression").set_index(["regulator", "target"])["score"]
    assert elsewhere["SPI1", "LYZ"] > elsewhere["SPI1", "ALB"]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"regulators": ["GATA9", "HBBB"]}, GenesError, r"None of the `regulators`[\s\S]*GATA1[\s\S]*"),
        ({"targets": ["nothing"]}, GenesError, "None of the `targets`"),
        ({"regulators": []}, ArgumentError, "`regulators` can't be used"),
        ({"regulators": [1]}, ArgumentError, "`regulators` can't be used"),
        ({"method": "scenic"}, ArgumentError, "`method` can't be used"),
        ({"method": []}, ArgumentError, "`method` can't be used"),
        ({"method": ["auto", "ridge"]}, ArgumentError, "`method` can't be used"),
        ({"method": {"ridge": 0}}, ArgumentError, "`method` can't be used"),
        ({"n_edges": 0}, ArgumentError, "`n_edges` can't be used"),
        ({"max_cells": 2}, ArgumentError, "`max_cells` can't be used"),
        ({"seed": -1}, ArgumentError, "`seed` can't be used"),
        ({"n_jobs": 0}, ArgumentError, "`n_jobs` can't be used"),
        ({"by": "kind"}, ArgumentError, "no column 'kind'"),
        ({"by": "single"}, ArgumentError, r"group 'one' has too few cells[\s\S]*1 cell\b"),
        ({"layer": "log"}, CountsError, "no layer 'log'"),
        ({"model": "genes-mini"}, ArgumentError, "`model` has no use"),
        ({"method": "cosine", "normalised": True}, ArgumentError, "reads counts"),
    ],
)
def test_what_can_not_be_inferred_is_refused(options, error, match):
    adata = cells(40)
    adata.obs["single"] = ["one", *["many"] * 39]
    with pytest.raises(error, match=match):
        infer(adata, **options)


def test_objects_without_factors_of_few_cells_or_of_two_species_are_refused():
    adata = cells(40)
    with pytest.raises(GenesError, match="None of the genes is a transcription factor"):
        infer(adata[:, ["HBB", "ALB", "ACTB"]].copy())
    with pytest.raises(ArgumentError, match="too few cells"):
        infer(adata[:9].copy())
    strange = adata.copy()
    strange.var_names = [f"gene-{number}" for number in range(adata.n_vars)]
    with pytest.raises(GenesError, match="human and mouse alone"):
        infer(strange)
    assert len(infer(strange, regulators=["gene-0"])) == adata.n_vars - 1
    mixed = adata.copy()
    mixed.var_names = [name if place % 2 else name.capitalize() for place, name in enumerate(adata.var_names)]
    with pytest.raises(GenesError, match="of one species"):
        infer(mixed)


def test_genes_that_are_not_there_are_left_out_with_a_warning():
    with pytest.warns(AbsentGenesWarning, match="RUNX1"):
        edges = infer(cells(), regulators=["GATA1", "RUNX1"])
    assert set(edges["regulator"]) == {"GATA1"}


def test_processes_share_the_targets_of_boosting():
    few = {"method": "boosting", "regulators": FACTORS[:2], "targets": TARGETS[:4]}
    pd.testing.assert_frame_equal(infer(cells(60), n_jobs=2, **few), infer(cells(60), **few))


def test_a_network_is_kept_in_the_object_where_that_is_asked_for(tmp_path):
    adata = cells(60)
    edges = infer(adata, key_added="network")
    pd.testing.assert_frame_equal(adata.uns["network"], edges)
    matrix = adata.varp["network"]
    first = edges.iloc[0]
    place = [adata.var_names.get_loc(first[side]) for side in ("regulator", "target")]
    assert matrix[*place] == pytest.approx(first["score"] * first["sign"])
    assert matrix.nnz == len(edges)
    adata.obs["kind"] = np.where(adata.obs["type"] == "A", "T/NK", "B")
    by_group = infer(adata, key_added="network", by="kind")
    assert {"network_T_NK", "network_B"} <= set(adata.varp)
    adata.write_h5ad(tmp_path / "kept.h5ad")
    again = ad.read_h5ad(tmp_path / "kept.h5ad")
    assert (again.varp["network_B"] != adata.varp["network_B"]).nnz == 0
    assert again.uns["network"]["target"].tolist() == by_group["target"].tolist()
    for where, key in ((tmp_path / "kept.h5ad", "network"), (adata, "a/b")):
        with pytest.raises(ArgumentError, match="`key_added` can't be used"):
            infer(where, key_added=key)
