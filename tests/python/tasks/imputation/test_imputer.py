"""Imputed genes: right, with the reliability that they have, from genes of the panel that no model has seen there."""

import subprocess
import sys
import textwrap
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celloquy as cq

TINY = cq.CellModelConfig(
    width=32, layers=1, feedforward=32, latent_width=8, decoder_width=32, decoder_rank=32, positions=False
)
QUICK = cq.TrainingOptions(epochs=25, batch_size=128, learning_rate=3e-3, validation=0.0, patience=None)
SYMBOLS = cq.GeneVocabulary.from_names(
    ["Gad1", "Gad2", "Pvalb", "Sst", "Vip", "Lamp5", "Snap25", "Slc17a7", "Cux2", "Rorb", "Fezf2", "Foxp2", "Mbp",
     "Plp1", "Aqp4", "Gfap", "Cx3cr1", "Csf1r", "Cldn5", "Flt1", "Reln", "Calb1", "Calb2", "Npy"]
).symbols  # fmt: skip
GENES = list(SYMBOLS)
PANEL, WANTED, NOISE = GENES[:18], GENES[18:23], GENES[23]
LEVELS = np.random.default_rng(7).gamma(0.4, 6, (4, 24))
LEVELS[:, 23] = 1.0


def cells_of(kind: np.ndarray, genes: list[str], depth: float, seed: int) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    rates = LEVELS[kind][:, [GENES.index(gene) for gene in genes]] * depth
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = genes
    return adata


def make_spatial() -> ad.AnnData:
    """Layers of four kinds in two slices."""
    rng = np.random.default_rng(1)
    place = rng.random((160, 2)) * 100
    kind = (place[:, 0] // 25).astype(int)
    adata = cells_of(kind, PANEL, 0.6, 2)
    adata.obsm["spatial"] = place
    adata.obs["slice"] = pd.Categorical(np.where(np.arange(160) % 2, "s1", "s2"))
    adata.uns["kind"] = kind
    return adata


def make_reference() -> ad.AnnData:
    return cells_of(np.random.default_rng(3).integers(0, 4, 120), GENES, 3.0, 4)


spatial, reference = (pytest.fixture(make, name=make.__name__[5:]) for make in (make_spatial, make_reference))


@pytest.fixture(scope="module")
def imputer() -> cq.Imputer:
    options = {"config": TINY, "training": QUICK, "progress": False, "tissue_key": "slice"}
    return cq.Imputer(**options).fit(make_spatial(), make_reference(), genes=[*WANTED, NOISE])


def imputed(adata: ad.AnnData) -> pd.DataFrame:
    return cq.get(adata, "celloquy_imputed")


def test_imputed_genes_follow_the_truth_and_are_named_as_asked_for(imputer, spatial):
    imputer.predict(spatial)
    assert list(imputed(spatial).columns) == [*WANTED, NOISE]
    assert imputed(spatial).index.equals(spatial.obs_names)
    truth = LEVELS[spatial.uns["kind"]][:, 18:23]
    found = [np.corrcoef(truth[:, k], imputed(spatial)[gene])[0, 1] for k, gene in enumerate(WANTED)]
    assert np.mean(found) > 0.7
    assert (imputed(spatial).to_numpy() >= 0).all()


def test_a_gene_that_says_nothing_of_the_cells_is_trusted_least(imputer, spatial):
    imputer.predict(spatial)
    reliability = spatial.uns["celloquy"]["celloquy_imputed"]["reliability"]
    predicted = pd.Series(reliability["predicted"], index=reliability["gene"])
    assert predicted.idxmin() == NOISE
    assert predicted[WANTED].mean() > predicted[NOISE] + 0.1
    assert sorted(spatial.uns["celloquy"]["celloquy_imputed"]["panel"]["gene"]) == sorted(PANEL)


def test_no_model_has_seen_the_genes_that_are_held_out_from_it(imputer, spatial, reference):
    held_out = [imputer.model_.vocabulary.symbols[place] for place in imputer.models_[0].held_out]
    counts = spatial.to_df()
    counts[held_out] = np.random.default_rng(0).permutation(counts[held_out].to_numpy() + 3)
    other = spatial.copy()
    other.X = sparse.csr_matrix(counts.to_numpy())
    again = cq.Imputer(config=TINY, training=QUICK, progress=False, tissue_key="slice").fit(
        other, reference, genes=[*WANTED, NOISE]
    )
    assert again.models_[0].model.fingerprint == imputer.models_[0].model.fingerprint
    assert again.models_[1].model.fingerprint != imputer.models_[1].model.fingerprint
    np.testing.assert_array_equal(again.models_[0].centre, imputer.models_[0].centre)


def test_every_shared_gene_is_held_out_once(imputer):
    held_out = np.concatenate([one.held_out for one in imputer.models_])
    assert sorted(imputer.model_.vocabulary.symbols[place] for place in held_out) == sorted(PANEL)
    assert not any(one.seen[one.held_out].any() for one in imputer.models_)


def test_the_order_of_cells_and_the_block_of_genes_change_nothing(imputer, spatial, monkeypatch):
    order = np.random.default_rng(0).permutation(spatial.n_obs)
    shuffled = imputer.predict(spatial[order].copy(), copy=True)
    imputer.predict(spatial)
    np.testing.assert_allclose(
        imputed(shuffled).loc[spatial.obs_names], imputed(spatial), rtol=1e-3, atol=1e-4
    )  # fmt: skip
    monkeypatch.setattr("celloquy.tasks.imputation.ensemble.BLOCK_ENTRIES", 2 * spatial.n_obs)
    monkeypatch.setattr("celloquy.tasks.imputation.ensemble.CHUNK", 13)
    blocks = imputer.predict(spatial, copy=True)
    np.testing.assert_allclose(imputed(blocks), imputed(spatial), rtol=1e-4, atol=1e-5)


def test_a_saved_imputer_gives_the_same_in_another_process_for_genes_in_another_order(imputer, spatial, tmp_path):
    imputer.save(tmp_path / "imputer")
    order = np.random.default_rng(0).permutation(len(PANEL))
    spatial[:, order].copy().write_h5ad(tmp_path / "cells.h5ad")
    script = f"""
    import anndata, celloquy
    adata = anndata.read_h5ad({str(tmp_path / "cells.h5ad")!r})
    celloquy.Imputer.load({str(tmp_path / "imputer")!r}).predict(adata)
    adata.write_h5ad({str(tmp_path / "imputed.h5ad")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    there = ad.read_h5ad(tmp_path / "imputed.h5ad")
    imputer.predict(spatial)
    np.testing.assert_allclose(imputed(there), imputed(spatial), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        there.uns["celloquy"]["celloquy_imputed"]["reliability"]["predicted"], imputer.reliability_
    )
    assert there.uns["celloquy"]["celloquy_imputed"]["task"] == "impute"


def test_a_reference_of_the_other_species_is_mapped_when_asked(spatial, reference):
    human = cq.orthologs(GENES, to="human").frame.set_index("name")["ortholog_id"]
    other = reference[:, [gene for gene in GENES if gene in human.index]].copy()
    other.var_names = human[other.var_names].tolist()
    options = {"reference": other, "config": TINY, "epochs": 1, "progress": False}
    with pytest.raises(cq.errors.GenesError, match="different species"):
        cq.impute(spatial, **options)
    with pytest.warns(cq.errors.OtherSpeciesWarning, match="one-to-one"):
        result = cq.impute(spatial, genes=[human["Reln"]], species="auto", copy=True, **options)
    assert list(imputed(result).columns) == [human["Reln"]]


def test_a_model_of_both_species_takes_a_reference_of_the_other_species(spatial, reference):
    human = cq.orthologs(GENES, to="human").frame.set_index("name")["ortholog_symbol"]
    other = reference[:, [gene for gene in GENES if gene in human.index]].copy()
    other.var_names = human[other.var_names].tolist()
    model = cq.CellModel(TINY, cq.GeneVocabulary.both(GENES, ["H2-K1", "AMY1A"]))
    options = {"genes": ["RELN", "CALB1"], "model": model, "epochs": 2, "progress": False, "copy": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cq.impute(spatial, reference=other, **options)
        same = cq.impute(spatial, reference=reference, **options | {"genes": ["Reln", "Calb1"]})
    assert list(imputed(result).columns) == ["RELN", "CALB1"]
    np.testing.assert_allclose(imputed(result), imputed(same), rtol=1e-3, atol=1e-4)


def test_names_in_capitals_are_no_other_species(spatial, reference):
    reference.var_names = [gene.upper() for gene in GENES]
    result = cq.impute(spatial, reference=reference, genes=["RELN"], config=TINY, epochs=1, progress=False, copy=True)
    assert list(imputed(result).columns) == ["RELN"]


def test_all_that_the_panel_lacks_is_imputed_by_default_without_a_warning(spatial, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cq.impute(spatial, reference=reference, config=TINY, epochs=1, progress=False, copy=True)
    assert list(imputed(result).columns) == [*WANTED, NOISE]
    assert "celloquy_imputed" not in spatial.obsm


def test_a_wide_reference_of_which_little_is_wanted_is_no_error(spatial, reference):
    wide = ad.concat([reference, ad.AnnData(np.full((120, 1), 9999.0, dtype=np.float32), var={"x": [1]})], axis=1)
    wide.var_names = [*GENES, "Malat1"]
    result = cq.impute(spatial, reference=wide, genes=["Reln"], config=TINY, epochs=1, progress=False, copy=True)
    assert list(imputed(result).columns) == ["Reln"]


def test_a_gene_that_the_reference_never_saw_is_nowhere(spatial, reference):
    reference = reference.copy()
    reference.X = reference.to_df().assign(Reln=0.0).to_numpy()
    imputer = cq.Imputer(config=TINY, training=QUICK, progress=False).fit(spatial, reference, genes=["Reln", "Calb1"])
    found = imputed(imputer.predict(spatial, copy=True))
    assert found["Reln"].max() < 0.1 * found["Calb1"].max()
    everything = cq.impute(spatial, reference=reference, config=TINY, epochs=1, progress=False, copy=True)
    assert "Reln" not in imputed(everything).columns


def test_a_pretrained_model_is_tuned(spatial, reference):
    model = cq.pretrain(reference, config=TINY, epochs=1, progress=False)
    result = cq.impute(
        spatial, reference=reference, genes=WANTED, model=model, epochs=1, progress=False, copy=True
    )  # fmt: skip
    assert list(imputed(result).columns) == WANTED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": ["Nobody"]}, "not in the reference"),
        ({"genes": ["Gad1"]}, "Gad1 in the panel"),
        ({"genes": []}, "nothing to impute"),
        ({"tissue_key": "section"}, "no column 'section'"),
        ({"spatial_key": "place"}, "no 'place' in adata.obsm"),
        ({"layer": "counts"}, "counts"),
        ({"reference_layer": "counts"}, "counts"),
    ],
)
def test_an_error_names_what_is_wrong_and_leaves_the_input_alone(spatial, reference, options, message):
    with pytest.raises(cq.errors.CelloquyError, match=message):
        cq.impute(spatial, reference=reference, config=TINY, epochs=1, progress=False, **options)
    assert list(spatial.obsm) == ["spatial"]
    assert list(spatial.uns) == ["kind"]


def test_objects_that_share_no_genes_are_refused(spatial, reference):
    reference.var_names = [f"other{number}" for number in range(24)]
    with pytest.raises(cq.errors.GenesError, match="0 shared"):
        cq.impute(spatial, reference=reference, progress=False)


def test_cells_without_the_fitted_panel_or_positions_are_refused(imputer, spatial):
    with pytest.raises(cq.errors.GenesError, match="1 of 18 missing, such as Gad1"):
        imputer.predict(spatial[:, 1:].copy())
    del spatial.obsm["spatial"]
    with pytest.raises(cq.errors.ArgumentError, match=r"no 'spatial' in adata.obsm"):
        imputer.predict(spatial)


def test_without_positions_nothing_is_smoothed(spatial, reference):
    options = {
        "config": TINY,
        "epochs": 2,
        "progress": False,
        "spatial_key": None,
        "n_models": 2,
    }
    first = cq.Imputer(**options).fit(spatial, reference, genes=WANTED)
    del spatial.obsm["spatial"]
    second = cq.Imputer(**options).fit(spatial, reference, genes=WANTED)
    result = [imputed(one.predict(spatial, copy=True)) for one in (first, second)]
    pd.testing.assert_frame_equal(*result)


def test_arguments_that_mean_nothing_are_refused(spatial, reference):
    with pytest.raises(cq.errors.ArgumentError, match="`batch_key` has no use"):
        cq.Imputer(batch_key="slice").fit(spatial, reference)
    with pytest.raises(cq.errors.ArgumentError, match="`n_models` can't be used"):
        cq.Imputer(n_models=1).fit(spatial, reference)
    with pytest.raises(cq.errors.ArgumentError, match="`batch_mixing` can't be used"):
        cq.Imputer(batch_mixing=-1).fit(spatial, reference)
    with pytest.raises(cq.errors.ArgumentError, match="has not been fitted"):
        cq.Imputer().predict(spatial)
