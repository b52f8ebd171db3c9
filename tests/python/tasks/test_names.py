"""Labels, genes, cells and batches of any name: what the tasks find can be written, and is read back as it was."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError
from celloquy.tasks.annotation.annotator import SHAPE
from examples import cells as plain_cells
from examples import small_model

KNOWN = list(cq.GeneVocabulary.from_names(
    ["Gad1", "Gad2", "Pvalb", "Sst", "Vip", "Lamp5", "Snap25", "Slc17a7", "Cux2", "Rorb", "Fezf2", "Foxp2", "Mbp",
     "Plp1", "Aqp4", "Gfap", "Cx3cr1", "Csf1r", "Cldn5", "Flt1", "Reln", "Calb1", "Calb2", "Npy"]
).symbols)  # fmt: skip
SMALL = {"width": 8, "layers": 1, "feedforward": 8, "decoder_width": 8, "decoder_rank": 8}
TINY = cq.CellModelConfig(**SMALL, latent_width=8, positions=False)
QUICK = {"epochs": 1, "progress": False}
# An example trains a model, so the least example that fails is not looked for.
QUICKLY = (Phase.explicit, Phase.reuse, Phase.generate)
ODD = (
    "NK/T", "NK", "/", "a//b", "../x", ".", "_index", "index", "__categories", "nan", "None", "zarr.json", ".zgroup",
    "a\\b", "é" * 300, "x" * 70_000, " ", "'\"", "列", "columns", "0",
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
names = st.one_of(st.sampled_from(ODD), texts)
# The table of genes of a saved model has a line for each gene, and columns.
genes = st.one_of(st.sampled_from(ODD), texts).filter(lambda name: name.strip() and not set(name) & set("\t\r\n"))


def cells(names: list[str], seed: int = 0, n: int = 30) -> ad.AnnData:
    """Cells of three kinds that express every gene."""
    rng, kind = np.random.default_rng(seed), np.arange(n) % 3
    rates = np.random.default_rng(7).gamma(0.5, 6, (3, len(names)))[kind] + 0.5
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names, adata.obs["kind"] = names, kind
    return adata


def assert_equal_after_writing(adata: ad.AnnData, *tables: str) -> None:
    """Write to both kinds of file; tables, labels, layers and provenance are as they were."""
    # anndata announces other defaults of zarr.
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        adata.write_h5ad(Path(folder) / "x.h5ad")
        adata.write_zarr(Path(folder) / "x.zarr")
        for found in (ad.read_h5ad(Path(folder) / "x.h5ad"), ad.read_zarr(Path(folder) / "x.zarr")):
            for key in tables:
                pd.testing.assert_frame_equal(cq.get(found, key), cq.get(adata, key))
            assert set(found.obsm) == set(adata.obsm)
            for key in adata.obs:
                assert found.obs[key].astype(str).tolist() == adata.obs[key].astype(str).tolist()
            assert_same(found.uns["celloquy"], adata.uns["celloquy"])


def assert_same(one: object, other: object) -> None:
    if isinstance(other, dict):
        assert set(one) == set(other)
        for key in other:
            assert_same(one[key], other[key])
    elif isinstance(other, np.ndarray):
        np.testing.assert_array_equal(np.asarray(one, dtype=other.dtype), other)
    else:
        assert one == other


@settings(max_examples=8, phases=QUICKLY)
@given(labels=st.lists(names, min_size=3, max_size=3, unique=True), own=names, level=names)
def test_labels_and_reference_cells_of_any_name(labels, own, level):
    reference, adata = cells(KNOWN), cells(KNOWN, seed=1)
    labels = [label if label != "unknown" else "unknown?" for label in labels]
    reference.obs["type"] = np.array(labels, dtype=object)[reference.obs["kind"]]
    reference.obs_names = [own, *reference.obs_names[1:]]
    reference.obs["batch"] = np.array([level, f"{level}/2"], dtype=object)[np.arange(reference.n_obs) % 2]
    options = {"reference": reference, "label_key": "type", "config": SHAPE.replace(**SMALL), **QUICK}
    cq.annotate(adata, batch_key="batch", top_k=2, return_evidence=True, drop_missing=False, **options)
    assert set(cq.get(adata, "celloquy_probability")) == set(labels)
    assert set(cq.get(adata, "celloquy_top")["1"]) <= set(labels)
    assert_equal_after_writing(adata, "celloquy_probability", "celloquy_top", "celloquy_evidence")


@settings(max_examples=8, phases=QUICKLY)
@given(odd=st.lists(genes, min_size=1, max_size=4, unique=True))
def test_denoised_genes_of_any_name(odd):
    adata = cells([*KNOWN, *(name for name in odd if name not in KNOWN)])
    wanted = [*adata.var_names[len(KNOWN) :], KNOWN[0]]
    cq.denoise(adata, genes=wanted, return_std=True, config=TINY, **QUICK)
    assert list(cq.get(adata, "celloquy_denoised")) == wanted
    assert_equal_after_writing(adata, "celloquy_denoised", "celloquy_denoised_std")


@settings(max_examples=5, phases=QUICKLY)
@given(odd=st.lists(genes, min_size=1, max_size=3, unique=True))
def test_imputed_genes_of_any_name(odd):
    # None is another spelling of a gene that the panel has.
    assume(not any(cq.identify_genes(odd, species="mouse").ids))
    spatial, reference = cells(KNOWN), cells([*KNOWN, *odd], seed=1)
    cq.impute(spatial, reference=reference, genes=odd, n_models=2, spatial_key=None, config=TINY, **QUICK)
    assert list(cq.get(spatial, "celloquy_imputed")) == odd
    assert_equal_after_writing(spatial, "celloquy_imputed")


@settings(max_examples=5, phases=QUICKLY)
@given(levels=st.lists(names, min_size=2, max_size=3, unique=True), odd=names)
def test_batches_tissues_and_cells_of_any_name(levels, odd):
    adata = plain_cells(24)
    adata.obs["batch"] = np.array(levels, dtype=object)[np.arange(24) % len(levels)]
    adata.obs_names = [odd, *adata.obs_names[1:]]
    cq.integrate(adata, batch_key="batch", tissue_key="batch", config=TINY, **QUICK)
    cq.embed(adata, model=small_model(), tissue_key="batch", key_added="X_own", progress=False)
    assert list(adata.uns["celloquy"]["X_own"]["empty_cells"]) == [odd]
    assert_equal_after_writing(adata)


def test_five_thousand_columns_fit_one_table(tmp_path):
    adata = ad.AnnData(sparse.csr_matrix(np.ones((3, 5000), dtype=np.float32)))
    adata.var_names = [f"a gene with a rather long name/{i}" for i in range(5000)]
    denoiser = cq.Denoiser(config=TINY, **QUICK).fit(adata)
    denoiser.predict(adata, genes=list(adata.var_names))
    assert_equal_after_writing(adata, "celloquy_denoised")


@pytest.mark.parametrize("key", ["a/b", "", ".", "..", ".zgroup", "a\\b", "a\0b", "\udce9", "x" * 300, 3])
def test_a_key_that_no_file_can_have_is_refused_before_the_training(key, monkeypatch):
    def no_training(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr("celloquy.training.trainer.Trainer.run", no_training)
    adata, reference = cells(KNOWN), cells(KNOWN)
    calls = (
        lambda: cq.denoise(adata, key_added=key, **QUICK),
        lambda: cq.integrate(adata, batch_key="kind", key_added=key, **QUICK),
        lambda: cq.annotate(adata, reference=reference, label_key="kind", key_added=key, **QUICK),
        lambda: cq.impute(adata, reference=reference, key_added=key, **QUICK),
        lambda: cq.embed(plain_cells(), model=small_model(), key_added=key, progress=False),
    )
    for call in calls:
        with pytest.raises(ArgumentError, match="`key_added` can't be used"):
            call()


def test_a_second_annotation_by_a_column_with_a_slash_has_keys_of_its_own():
    adata, reference = cells(KNOWN), cells(KNOWN)
    reference.obs["cell/type"] = reference.obs["cell_type"] = reference.obs["kind"].astype(str)
    options = {"reference": reference, "config": SHAPE.replace(**SMALL), **QUICK}
    cq.annotate(adata, label_key="kind", **options)
    for key in ("cell/type", "cell_type", "cell/type"):
        with pytest.warns(cq.errors.KeyWarning):
            cq.annotate(adata, label_key=key, **options)
    prefixes = [key.removesuffix("_label") for key in adata.obs if key.endswith("_label")]
    assert prefixes == ["celloquy", "celloquy_cell_type", "celloquy_cell_type_2"]
    assert_equal_after_writing(adata, *(f"{prefix}_probability" for prefix in prefixes))


@pytest.mark.parametrize("bad", ["a\0b", "\udce9"])
def test_labels_that_no_file_can_hold_are_refused(bad):
    reference = cells(KNOWN)
    reference.obs["type"] = np.array(["x", bad, "y"], dtype=object)[reference.obs["kind"]]
    with pytest.raises(ArgumentError, match="no file can hold"):
        cq.annotate(cells(KNOWN), reference=reference, label_key="type", **QUICK)
