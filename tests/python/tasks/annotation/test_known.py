"""Coarse types without a reference: told by the genes of the types, each cell for itself, unknown where none fits."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, GenesError
from celloquy.tasks.annotation import known
from celloquy.tasks.annotation.known import read_types


def drawn(names: list[str], n: int = 20, depth: float = 3000, seed: int = 0, species: str = "human") -> ad.AnnData:
    """Cells drawn from what the box knows of some types."""
    types, ontology, vocabulary = read_types()
    random = np.random.default_rng(seed)
    places = [list(ontology).index(name) for name in names]
    log = (types.mean + types.centres)[places].clamp(min=0).expm1().numpy().astype(float)
    shares = np.repeat(log / log.sum(1, keepdims=True), n, 0)
    counts = random.poisson(shares * random.uniform(0.5, 2, (len(shares), 1)) * depth).astype(np.float32)
    names_of = vocabulary.human_symbols if species == "human" else vocabulary.mouse_symbols
    kept = np.array(names_of)[types.genes.numpy()]
    adata = ad.AnnData(sparse.csr_matrix(counts[:, kept != ""]), var=pd.DataFrame(index=kept[kept != ""]))
    adata.obs_names = [f"c{i}" for i in range(len(shares))]
    adata.obs["type"] = np.repeat(names, n)
    return adata


USUAL = ["T cell", "B cell", "monocyte", "endothelial cell", "fibroblast", "erythroid cell"]


@pytest.mark.parametrize("species", ["human", "mouse"])
def test_types_of_either_species_are_named_without_a_reference(species):
    adata = drawn(USUAL, species=species)
    assert cq.annotate(adata, top_k=2) is None
    assert (adata.obs["celloquy_label"].astype(str) == adata.obs["type"]).mean() > 0.9
    found = cq.get(adata, "celloquy_probability")
    assert list(found.columns) == cq.known_types()["name"].tolist()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert (cq.get(adata, "celloquy_top")["1"].to_numpy() == found.idxmax(1).to_numpy()).all()
    assert adata.uns["celloquy"]["celloquy_label"]["parameters"]["label_key"] == "known_types"


def test_every_type_has_an_id_of_the_cell_ontology():
    table = cq.known_types()
    assert table["name"].is_unique
    assert table["cell_ontology"].str.fullmatch(r"CL:\d{7}( CL:\d{7})*").all()


@given(seed=st.integers(0, 200), n=st.integers(1, 30))
@settings(max_examples=10)
def test_a_cell_is_named_for_itself_whatever_the_order_of_cells_and_genes(seed, n):
    adata, random = drawn(USUAL, 6, seed=seed), np.random.default_rng(seed)
    whole = cq.get(cq.annotate(adata, copy=True), "celloquy_probability")
    rows, columns = random.permutation(adata.n_obs)[:n], random.permutation(adata.n_vars)
    part = cq.get(cq.annotate(adata[rows, columns].copy(), copy=True), "celloquy_probability")
    np.testing.assert_allclose(part, whole.iloc[rows], atol=1e-5)


def test_a_cell_of_few_counts_or_none_is_unknown_unless_every_cell_shall_be_named():
    adata = drawn(USUAL, 3, depth=2)
    adata.X = sparse.diags_array(np.arange(adata.n_obs) > 0, dtype=np.float32).tocsr() @ adata.X
    cq.annotate(adata)
    assert (adata.obs["celloquy_label"] == "unknown").mean() > 0.5
    assert adata.obs["celloquy_label"].iloc[0] == "unknown"
    assert ((adata.obs["celloquy_novelty"] > 0.5) == (adata.obs["celloquy_label"] == "unknown")).all()
    cq.annotate(adata, false_unknown_rate=0)
    assert not (adata.obs["celloquy_label"] == "unknown").any()


def test_a_gene_that_was_not_measured_makes_a_label_less_certain_not_another():
    adata = drawn(USUAL)
    few = adata[:, np.sort(np.random.default_rng(1).permutation(adata.n_vars)[:600])].copy()
    cq.annotate(adata)
    cq.annotate(few, false_unknown_rate=0)
    assert (few.obs["celloquy_label"].astype(str) == few.obs["type"]).mean() > 0.8
    assert few.obs["celloquy_confidence"].mean() < adata.obs["celloquy_confidence"].mean()


@pytest.mark.parametrize(
    "given",
    [{"label_key": "type"}, {"model": "cells-mini"}, {"epochs": 3}, {"return_evidence": True}, {"seed": 1},
     {"drop_rare": 3}, {"false_unknown_rate": 0.1}, {"tissue_key": "type"}, {"config": "small"}],
)  # fmt: skip
def test_what_is_about_a_reference_has_no_use_without_one(given):
    adata = drawn(USUAL, 3)
    with pytest.raises(ArgumentError, match=f"`{next(iter(given))}` has no use without a reference"):
        cq.annotate(adata, **given)
    assert "celloquy_label" not in adata.obs


def test_a_reference_needs_its_column_of_labels():
    with pytest.raises(ArgumentError, match="`label_key` is missing"):
        cq.annotate(drawn(USUAL, 3), reference=drawn(USUAL, 3))


def test_a_panel_without_the_genes_of_the_types_is_refused():
    adata = drawn(USUAL)
    with pytest.raises(GenesError, match="Too few genes that tell cell types apart"):
        cq.annotate(adata[:, :9].copy())


def test_types_of_other_genes_than_those_in_the_box_are_refused(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    save_file(read_types()[0].weights(), tmp_path / "types", {"types": json.dumps({}), "vocabulary": "another"})
    monkeypatch.setattr(known, "FILE", tmp_path / "types")
    with pytest.raises(CheckpointError, match="not those of its genes"):
        known.read_types.__wrapped__()


def test_an_annotation_by_a_reference_stays_beside_that_of_known_types():
    adata = drawn(USUAL, 20)
    cq.annotate(adata)
    with pytest.warns(cq.errors.KeyWarning, match="stays"):
        cq.annotate(adata, reference=drawn(USUAL, 20, seed=1), label_key="type", model="cells-mini", progress=False)
    assert {"celloquy_label", "celloquy_type_label"} <= set(adata.obs)
