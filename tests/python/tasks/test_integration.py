"""Batches mix, cell types stay apart, and new batches need no new fit."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError

GENES = 40
IDS = np.array([f"ENSG{i:011d}" for i in range(1, GENES + 1)])
TINY = cq.CellModelConfig(
    width=16, layers=1, feedforward=16, latent_width=8, decoder_width=16, decoder_rank=16, positions=False
)


def cells(n: int = 200, seed: int = 0, batches=("a", "b")) -> ad.AnnData:
    """Cells of two types; in every second batch some genes are caught six times as often."""
    rng = np.random.default_rng(seed)
    kind, batch = rng.integers(0, 2, n), rng.integers(0, len(batches), n)
    rates = np.where((np.arange(GENES) % 2)[None, :] == kind[:, None], 5.0, 0.5)
    rates = rates * np.where((np.arange(GENES) < 12)[None, :] & (batch % 2 == 1)[:, None], 6.0, 1.0)
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = IDS
    adata.obs["donor"] = pd.Categorical(np.array(batches)[batch])
    adata.obs["type"] = np.array(["T", "B"])[kind]
    return adata


def fitted(adata: ad.AnnData, **options) -> cq.Integrator:
    shared = {
        "training": cq.TrainingOptions(epochs=40, learning_rate=8e-3, batch_size=100),
        "progress": False,
    } | ({} if "model" in options else {"config": TINY})
    options = shared | options
    return cq.Integrator(batch_key="donor", **options).fit(adata)


@pytest.fixture(scope="module")
def integrator() -> cq.Integrator:
    return fitted(cells())


def scores(integrator: cq.Integrator, adata: ad.AnnData) -> dict[str, float]:
    embedding = integrator.predict(adata, copy=True).obsm["X_celloquy"]
    return cq.evaluate.score_integration(embedding, adata.obs["donor"], adata.obs["type"])


def test_batches_mix_and_types_stay_apart(integrator):
    adata = cells()
    found = scores(integrator, adata)
    plain = adata.X.toarray()
    before = cq.evaluate.score_integration(np.log1p(plain), adata.obs["donor"], adata.obs["type"])
    assert found["iLISI"] > before["iLISI"] + 0.2
    assert found["cLISI"] > 0.9
    assert integrator.batches_ == ["a", "b"]
    assert {"loss", "discrepancy", "validation"} <= set(integrator.history_)


def test_drawing_batches_together_mixes_them_more(integrator):
    adata = cells()
    apart = scores(fitted(adata, batch_mixing=0), adata)
    assert scores(integrator, adata)["batch"] > apart["batch"]


def test_cells_of_a_new_batch_are_embedded_by_their_counts_alone(integrator):
    adata = cells(seed=1)
    first = integrator.predict(adata, copy=True).obsm["X_celloquy"]
    renamed = adata.copy()
    renamed.obs["donor"] = "somebody else"
    np.testing.assert_array_equal(integrator.predict(renamed, copy=True).obsm["X_celloquy"], first)
    del renamed.obs["donor"]
    np.testing.assert_array_equal(integrator.predict(renamed, copy=True).obsm["X_celloquy"], first)
    kinds = (adata.obs["type"] == "T").to_numpy()
    axis = first[kinds].mean(0) - first[~kinds].mean(0)
    assert ((first @ axis > np.median(first @ axis)) == kinds).mean() > 0.9


def test_a_seed_gives_the_same_embedding_bit_for_bit_also_after_saving(tmp_path):
    adata, short = cells(80), {"epochs": 3, "seed": 4}
    one = fitted(adata, **short)
    one.save(tmp_path / "integrator")
    for other in (fitted(adata, **short), cq.Integrator.load(tmp_path / "integrator")):
        np.testing.assert_array_equal(
            other.predict(adata, copy=True).obsm["X_celloquy"], one.predict(adata, copy=True).obsm["X_celloquy"]
        )
        assert other.batches_ == ["a", "b"]


def test_the_most_variable_genes_are_chosen():
    adata = cells()
    few = fitted(adata, n_top_genes=15, epochs=1)
    assert len(few.model_.vocabulary) == 15
    assert few.predict(adata, copy=True).obsm["X_celloquy"].shape == (200, 8)
    assert len(fitted(adata, n_top_genes=None, epochs=1).model_.vocabulary) == GENES


def test_one_call_writes_the_keys_and_a_copy_leaves_the_input_alone():
    adata = cells(60)
    options = {"batch_key": "donor", "config": TINY, "epochs": 2, "progress": False}
    copied = cq.integrate(adata, copy=True, **options)
    assert not adata.obsm
    assert not adata.uns
    assert cq.integrate(adata, key_added="X_mixed", **options) is None
    np.testing.assert_array_equal(adata.obsm["X_mixed"], copied.obsm["X_celloquy"])
    assert copied.uns["celloquy"]["X_celloquy"]["task"] == "integrate"
    assert copied.uns["celloquy"]["X_celloquy"]["parameters"]["batch_key"] == "donor"


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({}, lambda a: a.obs.drop(columns="donor", inplace=True), r"no column 'donor' in adata\.obs"),
        ({}, lambda a: a.obs.__setitem__("donor", "a"), r"are of one batch\.\nFound: a\nExpected: at least two"),
        ({}, lambda a: a.obs.__setitem__("donor", [None, *["a", "b"] * 29, "a"]), r"has missing values"),
        ({"tissue_key": "slice"}, lambda a: None, r"no column 'slice'"),
        ({"spatial_key": "place"}, lambda a: None, r"no 'place' in adata\.obsm"),
        ({"batch_mixing": -1.0}, lambda a: None, r"`batch_mixing` can't be used"),
    ],
)
def test_what_can_not_be_integrated_is_named_and_left_as_it_is(options, change, message):
    adata = cells(60)
    change(adata)
    columns = adata.obs.copy()
    with pytest.raises(ArgumentError, match=message):
        cq.integrate(adata, batch_key="donor", progress=False, **options)
    pd.testing.assert_frame_equal(adata.obs, columns)
    assert not adata.uns
    assert not adata.obsm


def test_a_pretrained_model_learns_the_batches_in_its_decoder():
    adata = cells(80)
    model = cq.pretrain(adata, config=TINY, epochs=2, progress=False)
    tuned = fitted(adata, model=model, freeze_encoder=True, epochs=2)
    assert tuned.model_.config.covariates == (("batch", 2),)
    assert torch.equal(tuned.model_.embedder.gene, model.embedder.gene)
