"""cq.embed: what the embedding depends on, what it must not depend on, and what is refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, CountsError, GenesError
from examples import GENES, IDS, cells, small_model

MODEL = small_model()


def embedding(adata: ad.AnnData, model: cq.CellModel = MODEL, **options) -> np.ndarray:
    result = cq.embed(adata, model=model, progress=False, copy=True, **{"precision": "float32"} | options)
    return result.obsm["X_celloquy"]


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


drawn_cells = st.builds(cells, n=st.integers(1, 40), seed=st.integers(0, 1000), tissues=st.integers(1, 5))
tissue_keys = st.sampled_from([None, "sample"])
examples = settings(max_examples=25)


@given(adata=drawn_cells, tissue_key=tissue_keys, seed=st.integers(0, 100))
@examples
def test_embedding_follows_the_order_of_the_cells(adata, tissue_key, seed):
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    assert_same(embedding(adata[order].copy(), tissue_key=tissue_key), embedding(adata, tissue_key=tissue_key)[order])


@given(adata=drawn_cells, seed=st.integers(0, 100))
@examples
def test_embedding_does_not_depend_on_the_order_of_genes(adata, seed):
    order = np.random.default_rng(seed).permutation(adata.n_vars)
    assert_same(embedding(adata[:, order].copy()), embedding(adata))


@given(adata=drawn_cells, tissue_key=tissue_keys, batch_size=st.integers(1, 45))
@examples
def test_embedding_does_not_depend_on_the_batch_size(adata, tissue_key, batch_size):
    assert_same(embedding(adata, tissue_key=tissue_key, batch_size=batch_size), embedding(adata, tissue_key=tissue_key))


@given(adata=drawn_cells)
@examples
def test_tissues_do_not_influence_each_other(adata):
    together = embedding(adata, tissue_key="sample", spatial_key="spatial")
    for sample in adata.obs["sample"].unique():
        here = (adata.obs["sample"] == sample).to_numpy()
        assert_same(embedding(adata[here].copy(), spatial_key="spatial"), together[here])


@given(
    adata=st.builds(cells, n=st.integers(8, 40), seed=st.integers(0, 1000)),
    extra=st.integers(1, 10),
    known=st.booleans(),
    seed=st.integers(0, 100),
)
@examples
def test_unknown_genes_and_genes_without_counts_change_nothing(adata, extra, known, seed):
    rng = np.random.default_rng(seed)
    # The model's last genes are measured but never seen, or genes that it does not know are seen.
    less = adata[:, : GENES - 10].copy()
    added = np.zeros((adata.n_obs, extra), np.float32) if known else rng.poisson(0.2, (adata.n_obs, extra))
    more = ad.AnnData(sparse.hstack([less.X, sparse.csr_matrix(added, dtype=np.float32)]).tocsr(), obs=less.obs)
    more.var_names = [*less.var_names, *(IDS[-extra:] if known else [f"not_a_gene_{i}" for i in range(extra)])]
    assert_same(embedding(more), embedding(less))


@pytest.mark.parametrize(
    "form",
    [
        sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array, sparse.csc_array, sparse.csr_matrix.toarray,
        lambda x: np.asfortranarray(x.toarray()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint16])
def test_embedding_does_not_depend_on_storage(form, dtype):
    adata = cells()
    stored = form(adata.X.astype(dtype))
    if isinstance(stored, sparse.coo_matrix):
        other = adata.copy()
        other.X = stored.tocsr()
        other.layers["counts"] = stored.tocsr()
    else:
        other = ad.AnnData(stored, obs=adata.obs, var=adata.var)
    np.testing.assert_array_equal(embedding(other), embedding(adata))


def test_explicit_zeros_change_nothing():
    adata = cells()
    other = adata.copy()
    dense = other.X.toarray()
    rows, columns = np.nonzero(np.ones_like(dense))
    other.X = sparse.csr_matrix((dense[rows, columns], (rows, columns)), shape=dense.shape)
    assert other.X.nnz == dense.size
    np.testing.assert_array_equal(embedding(other), embedding(adata))


def test_columns_of_the_same_gene_are_summed():
    adata = cells()
    dense = adata.X.toarray()
    half = np.floor(dense[:, :1] / 2)
    twice = ad.AnnData(np.hstack([dense[:, :1] - half, dense[:, 1:], half]), obs=adata.obs)
    twice.var_names = [f"{IDS[0]}.3", *IDS[1:], f"{IDS[0]}.4"]
    assert_same(embedding(twice), embedding(adata))


@pytest.mark.parametrize("attention", ["flow", "softmax", "none"])
@pytest.mark.parametrize("latent", ["mixture", "gaussian", "none"])
def test_every_kind_of_model_embeds_and_does_so_twice_the_same(attention, latent):
    model = small_model(attention=attention, latent=latent)
    adata = cells()
    first = embedding(adata, model, tissue_key="sample", batch_size=3)
    assert first.shape == (adata.n_obs, model.config.latent_width)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(embedding(adata, model, tissue_key="sample", batch_size=3), first)


def test_positions_count_and_their_unit_does_not():
    adata = cells()
    placed = embedding(adata, spatial_key="spatial")
    assert np.abs(placed - embedding(adata)).max() > 1e-3
    adata.obsm["spatial"] = adata.obsm["spatial"] * 0.001 + 7
    assert_same(embedding(adata, spatial_key="spatial"), placed)


def test_bfloat16_stays_close():
    adata = cells(200)
    exact, half = embedding(adata), embedding(adata, precision="bfloat16")
    cosine = (exact * half).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(half, axis=1)
    assert cosine.min() > 0.999


def test_a_model_in_training_is_used_in_evaluation_and_given_back_in_training():
    model, adata = small_model(dropout=0.5, latent="mixture"), cells()
    np.testing.assert_array_equal(embedding(adata, model.train()), embedding(adata, model))
    assert model.training


def test_result_and_provenance_are_written_and_nothing_else():
    adata = cells()
    before = adata.copy()
    assert cq.embed(adata, model=MODEL, tissue_key="sample", progress=False) is None
    note = adata.uns.pop("celloquy")["X_celloquy"]
    assert adata.obsm.pop("X_celloquy").shape == (20, 8)
    assert note["version"] == cq.__version__
    assert note["model"] == MODEL.fingerprint
    assert note["empty_cells"].tolist() == ["0"]
    assert note["parameters"]["tissue_key"] == "sample"
    assert_unchanged(adata, before)


def test_provenance_survives_a_file(tmp_path):
    adata = cells()
    cq.embed(adata, model=MODEL, progress=False)
    adata.write_h5ad(tmp_path / "out.h5ad")
    again = ad.read_h5ad(tmp_path / "out.h5ad")
    assert again.uns["celloquy"]["X_celloquy"]["model"] == MODEL.fingerprint
    np.testing.assert_array_equal(again.obsm["X_celloquy"], adata.obsm["X_celloquy"])


def test_a_copy_leaves_the_input_alone():
    adata = cells()
    before = adata.copy()
    result = cq.embed(adata, model=MODEL, copy=True, key_added="X_mine", progress=False)
    assert "X_mine" in result.obsm
    assert_unchanged(adata, before)


def test_a_backed_file_and_a_saved_model_give_the_same(tmp_path):
    adata = cells()
    MODEL.save(tmp_path / "model")
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    cq.embed(backed, model=tmp_path / "model", precision="float32", progress=False)
    np.testing.assert_array_equal(backed.obsm["X_celloquy"], embedding(adata))
    backed.file.close()


def assert_unchanged(adata: ad.AnnData, before: ad.AnnData) -> None:
    assert adata.obsm.keys() == before.obsm.keys()
    assert adata.uns.keys() == before.uns.keys()
    assert adata.layers.keys() == before.layers.keys()
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    if adata.X is not None:
        found, expected = (x.toarray() if sparse.issparse(x) else np.asarray(x) for x in (adata.X, before.X))
        np.testing.assert_array_equal(found, expected)
        assert adata.X.dtype == before.X.dtype


def spoil(adata: ad.AnnData, **changes) -> ad.AnnData:
    for name, value in changes.items():
        setattr(adata, name, value)
    return adata


def with_value(value: float) -> ad.AnnData:
    adata = cells()
    adata.X = adata.X.toarray()
    adata.X[3, 4] = value
    return adata


def log_normalised() -> ad.AnnData:
    adata = cells()
    dense = adata.X.toarray()
    return spoil(adata, X=np.log1p(dense / dense.sum(1, keepdims=True).clip(1) * 1e4))


def scaled() -> ad.AnnData:
    adata = log_normalised()
    return spoil(adata, X=(adata.X - adata.X.mean(0)) / (adata.X.std(0) + 1e-6))


BAD_CELLS = {
    "NaN": (lambda: with_value(np.nan), CountsError, "NaN"),
    "infinity": (lambda: with_value(np.inf), CountsError, "infinit"),
    "negative": (lambda: with_value(-1), CountsError, "negative"),
    "scaled": (scaled, CountsError, "scaled"),
    "log-normalised": (log_normalised, CountsError, "recover_counts"),
    "no cells": (lambda: cells()[:0].copy(), CountsError, "no cells"),
    "no genes": (lambda: cells()[:, :0].copy(), CountsError, "no genes"),
    "boolean": (lambda: spoil(cells(), X=cells().X.astype(bool)), CountsError, "bool"),
    "unknown genes": (lambda: spoil(cells(), var_names=[f"x{i}" for i in range(GENES)]), GenesError, "ENSG"),
}


@pytest.mark.parametrize("name", BAD_CELLS)
def test_unfit_cells_are_refused_and_left_unchanged(name):
    make, error, message = BAD_CELLS[name]
    adata, before = make(), make()
    with pytest.raises(error, match=message) as caught:
        cq.embed(adata, model=MODEL, progress=False)
    assert caught.value.remedy
    assert_unchanged(adata, before)


BAD_ARGUMENTS = {
    "tissue_key": ({"tissue_key": "donor"}, ArgumentError, r"'donor'(.|\n)*sample"),
    "spatial_key": ({"spatial_key": "X_space"}, ArgumentError, r"'X_space'(.|\n)*spatial"),
    "batch_size": ({"batch_size": 0}, ArgumentError, "batch_size"),
    "precision": ({"precision": "float8"}, ArgumentError, "float8"),
    "device": ({"device": "abacus"}, ArgumentError, "abacus"),
    "layer": ({"layer": "spliced"}, CountsError, "spliced"),
    "model": ({"model": "no/such/model"}, CheckpointError, "no such directory"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_unfit_arguments_are_refused_and_the_object_left_unchanged(name):
    options, error, message = BAD_ARGUMENTS[name]
    adata, before = cells(), cells()
    with pytest.raises(error, match=message) as caught:
        cq.embed(adata, **{"model": MODEL, "progress": False} | options)
    assert caught.value.remedy
    assert_unchanged(adata, before)


def test_keys_of_what_a_model_does_not_read_are_refused():
    adata = cells()
    adata.obsm["spatial"] = np.random.default_rng(0).random((adata.n_obs, 2))
    alone, unplaced = small_model(attention="none", positions=False), small_model(positions=False)
    refused = [
        ("cells-mini", "tissue_key", "sample"), ("cells-mini", "spatial_key", "spatial"),
        (alone, "tissue_key", "sample"), (alone, "spatial_key", "spatial"), (unplaced, "spatial_key", "spatial"),
    ]  # fmt: skip
    before = adata.copy()
    for model, name, key in refused:
        with pytest.raises(ArgumentError, match=f"`{name}` has no use with this model") as caught:
            cq.embed(adata, model=model, progress=False, **{name: key})
        assert caught.value.argument == name
        assert_unchanged(adata, before)
    # What is taken has an effect.
    for model, name, key in [(MODEL, "spatial_key", "spatial"), (unplaced, "tissue_key", "sample")]:
        with_it = cq.embed(adata, model=model, progress=False, copy=True, **{name: key})
        without = cq.embed(adata, model=model, progress=False, copy=True)
        assert not np.allclose(with_it.obsm["X_celloquy"], without.obsm["X_celloquy"], atol=1e-4)


def test_missing_tissues_and_odd_positions_are_refused():
    adata = cells()
    adata.obs["sample"] = adata.obs["sample"].where(np.arange(adata.n_obs) > 2)
    with pytest.raises(ArgumentError, match="3 of 20 cells"):
        cq.embed(adata, model=MODEL, tissue_key="sample", progress=False)
    adata.obsm["spatial"] = np.ones((adata.n_obs, 3))
    with pytest.raises(ArgumentError, match=r"shape \(20, 3\)"):
        cq.embed(adata, model=MODEL, spatial_key="spatial", progress=False)
    adata.obsm["spatial"] = np.full((adata.n_obs, 2), np.inf)
    with pytest.raises(ArgumentError, match="infinite"):
        cq.embed(adata, model=MODEL, spatial_key="spatial", progress=False)
