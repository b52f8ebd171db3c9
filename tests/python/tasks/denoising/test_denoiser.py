"""Denoised expression: every gene, at the cell's depth, better than the noise, the same wherever it is computed."""

import subprocess
import sys
import textwrap

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celloquy as cq
from celloquy.data.store import open_store
from celloquy.training.options import ALL_CELLS
from examples import IDS, cells, small_model

TINY = cq.CellModelConfig(width=32, layers=1, feedforward=32, latent_width=8, decoder_width=32, decoder_rank=32)
QUICK = cq.TrainingOptions(epochs=40, batch_size=64, learning_rate=3e-3, validation=0.0, patience=None)
NAMES = [*IDS[:20], "GFP", "transgene-2", *IDS[20:28]]


def kinds(n: int = 150, seed: int = 0) -> ad.AnnData:
    """Cells of three kinds, two genes of unknown name, one gene without counts."""
    rng = np.random.default_rng(seed)
    levels = np.random.default_rng(7).gamma(0.4, 4, (3, 30))
    levels[:, 29] = 0
    kind = rng.integers(0, 3, n)
    rates = levels[kind] * rng.gamma(8, 1 / 8, (n, 1))
    adata = ad.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = NAMES
    adata.obs["kind"] = pd.Categorical(kind.astype(str))
    adata.obs["donor"] = rng.choice(["a", "b"], n)
    adata.obsm["rates"] = rates
    return adata


@pytest.fixture(scope="module")
def denoiser() -> cq.Denoiser:
    return cq.Denoiser(config=TINY, training=QUICK, progress=False).fit(kinds())


def values(adata: ad.AnnData) -> np.ndarray:
    return adata.layers["celloquy_denoised"]


def test_denoised_counts_lie_nearer_to_the_truth_than_the_counts(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata)
    truth = adata.obsm["rates"]
    error = [np.abs(np.log1p(one) - np.log1p(truth)).mean() for one in (values(adata), adata.X.toarray())]
    assert error[0] < 0.5 * error[1]


def test_every_gene_is_denoised_at_the_depth_of_its_cell(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata)
    assert values(adata).dtype == np.float32
    np.testing.assert_allclose(values(adata).sum(1), adata.X.toarray().sum(1), rtol=1e-4)
    assert (values(adata)[:, :29] > 0).all()
    # A gene without a count anywhere keeps its zeros.
    assert (values(adata)[:, 29] == 0).all()


def test_genes_of_unknown_names_are_learned_too(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata)
    truth = adata.obsm["rates"][:, 20]
    assert np.corrcoef(values(adata)[:, 20], truth)[0, 1] > 0.7


def test_some_genes_are_what_they_are_among_all(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata)
    some = cq.get(denoiser.predict(adata, genes=["GFP", IDS[3]], copy=True), "celloquy_denoised")
    assert list(some.columns) == ["GFP", IDS[3]]
    np.testing.assert_allclose(some.to_numpy(), values(adata)[:, [20, 3]], rtol=1e-6)


def test_results_do_not_depend_on_the_block(denoiser, monkeypatch):
    whole = denoiser.predict(kinds(seed=1), copy=True)
    monkeypatch.setattr("celloquy.tasks.denoising.expression.CHUNK_ENTRIES", 7 * 30)
    np.testing.assert_allclose(values(denoiser.predict(kinds(seed=1), copy=True)), values(whole), rtol=1e-4, atol=1e-6)


def test_the_order_of_cells_changes_nothing(denoiser):
    adata = kinds(seed=1)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    shuffled = denoiser.predict(adata[order].copy(), copy=True)
    denoiser.predict(adata)
    np.testing.assert_allclose(values(shuffled), values(adata)[order], rtol=1e-3, atol=1e-4)


def test_columns_of_the_cells_other_than_those_named_change_nothing():
    first, second = kinds(), kinds()
    second.obs["kind"] = second.obs["kind"].to_numpy()[::-1]
    for adata in (first, second):
        cq.Denoiser(config=TINY, epochs=2, progress=False).fit(adata).predict(adata)
    np.testing.assert_array_equal(values(first), values(second))


def test_log_normalised_values_are_those_of_the_counts(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata)
    logged = denoiser.predict(adata, unit="lognorm", copy=True)
    depth = adata.X.toarray().sum(1, keepdims=True)
    np.testing.assert_allclose(values(logged), np.log1p(values(adata) / depth * 1e4), rtol=1e-4)


def test_deviations_are_those_of_the_negative_binomial(denoiser):
    adata = kinds(seed=1)
    denoiser.predict(adata, return_std=True)
    mean, deviation = values(adata).astype(float), adata.layers["celloquy_denoised_std"]
    place = [denoiser.model_.vocabulary.index(name) for name in NAMES[:29]]
    dispersion = denoiser.model_.decoder.dispersion().detach().numpy()[place]
    expected = np.sqrt(mean[:, :29] + mean[:, :29] ** 2 / dispersion)
    np.testing.assert_allclose(deviation[:, :29], expected, rtol=1e-4)


def test_neighbours_are_taken_from_the_same_batch_alone():
    adata = kinds()
    denoiser = cq.Denoiser(config=TINY, training=QUICK, progress=False, batch_key="donor").fit(adata)
    both = denoiser.predict(adata, copy=True)
    # With the other batch gone its cells can't have been neighbours; the tissue is each cell's own.
    alone = cq.Denoiser(config=TINY.replace(attention="none"), training=QUICK, progress=False, batch_key="donor").fit(
        adata
    )
    one = adata[adata.obs["donor"] == "a"].copy()
    whole = values(alone.predict(adata, copy=True))[(adata.obs["donor"] == "a").to_numpy()]
    np.testing.assert_allclose(values(alone.predict(one, copy=True)), whole, rtol=1e-4, atol=1e-6)
    assert denoiser.batches_ == ["a", "b"]
    assert values(both).shape == adata.shape


def test_columns_of_one_gene_share_what_is_expected_of_it(denoiser):
    adata = kinds(seed=1)
    split = ad.AnnData(sparse.hstack([adata.X, adata.X[:, [3]]]).tocsr())
    split.var_names = [*NAMES, f"{IDS[3]}.2"]
    whole, parts = values(denoiser.predict(adata, copy=True)), values(denoiser.predict(split, copy=True))
    assert parts.shape[1] == 31
    np.testing.assert_allclose(parts[:, 3], parts[:, 30])
    np.testing.assert_allclose(parts.sum(1), split.X.toarray().sum(1), rtol=1e-4)
    assert whole.shape[1] == 30


def test_a_saved_denoiser_gives_the_same_in_another_process_for_genes_in_another_order(denoiser, tmp_path):
    adata = kinds(40, seed=2)
    denoiser.save(tmp_path / "denoiser")
    order = np.random.default_rng(0).permutation(30)
    adata[:, order].copy().write_h5ad(tmp_path / "cells.h5ad")
    script = f"""
    import anndata, celloquy
    adata = anndata.read_h5ad({str(tmp_path / "cells.h5ad")!r})
    celloquy.Denoiser.load({str(tmp_path / "denoiser")!r}).predict(adata)
    adata.write_h5ad({str(tmp_path / "denoised.h5ad")!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    there = ad.read_h5ad(tmp_path / "denoised.h5ad")
    denoiser.predict(adata)
    np.testing.assert_allclose(values(there), values(adata)[:, order], rtol=1e-3, atol=1e-4)
    assert there.uns["celloquy"]["celloquy_denoised"]["task"] == "denoise"


@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::UserWarning:zarr")
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_a_file_gets_what_the_object_gets(denoiser, tmp_path, ending):
    adata = kinds(seed=1)
    out = tmp_path / f"denoised.{ending}"
    assert denoiser.predict(adata, out=out, return_std=True) is None
    assert not adata.layers
    denoiser.predict(adata, return_std=True)
    with open_store(out) as written:
        np.testing.assert_array_equal(np.asarray(written.layers["celloquy_denoised"]), values(adata))
        assert list(written.var_names) == NAMES
        assert "celloquy_denoised_std" in written.layers


def test_what_does_not_fit_the_memory_is_refused_with_the_ways_out(denoiser, monkeypatch):
    adata = kinds(seed=1)
    monkeypatch.setattr("celloquy.tasks.denoising.request.memory_budget", lambda _: 1000)
    with pytest.raises(cq.errors.ArgumentError, match=r"out='denoised.h5ad'"):
        denoiser.predict(adata)
    assert not adata.layers


def test_a_pretrained_model_is_tuned_and_genes_that_it_lacks_keep_their_counts():
    adata = cells(40)
    adata.var_names = [*IDS[:29], "unheard-of"]
    cq.denoise(adata, model=small_model(), epochs=1, progress=False)
    np.testing.assert_array_equal(values(adata)[:, 29], adata.X.toarray()[:, 29])
    assert list(adata.uns["celloquy"]["celloquy_denoised"]["genes"]["unknown"]) == ["unheard-of"]


def test_the_seed_decides_and_the_input_stays_in_a_copy():
    adata = kinds(60)
    options = {"config": TINY, "epochs": 2, "progress": False, "copy": True}
    first, same, other = (cq.denoise(adata, seed=seed, **options) for seed in (0, 0, 1))
    assert not adata.layers
    assert "celloquy" not in adata.uns
    np.testing.assert_array_equal(values(first), values(same))
    assert not np.array_equal(values(first), values(other))


def test_no_cell_is_held_out_by_default():
    assert cq.Denoiser().trainer.options == ALL_CELLS
    assert ALL_CELLS.validation == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": ["nobody"]}, "nobody not in adata.var_names"),
        ({"genes": []}, "can't be denoised"),
        ({"unit": "tpm"}, "`unit`"),
        ({"batch_key": "plate"}, "no column 'plate'"),
        ({"tissue_key": "slice"}, "no column 'slice'"),
        ({"spatial_key": "spatial"}, "no 'spatial' in adata.obsm"),
        ({"layer": "raw counts"}, "raw counts"),
    ],
)
def test_an_error_names_what_is_wrong_and_leaves_the_input_alone(options, message):
    adata = kinds(30)
    with pytest.raises(cq.errors.CelloquyError, match=message):
        cq.denoise(adata, config=TINY, epochs=1, progress=False, **options)
    assert not adata.layers
    assert not adata.uns
    assert list(adata.obsm) == ["rates"]


def test_cells_without_any_count_are_refused():
    with pytest.raises(cq.errors.GenesError, match="No gene of adata is expressed"):
        cq.denoise(ad.AnnData(np.zeros((5, 3), dtype=np.float32)), progress=False)


def test_an_unfitted_denoiser_says_so():
    with pytest.raises(cq.errors.ArgumentError, match="has not been fitted"):
        cq.Denoiser().predict(kinds(30))


def test_a_path_needs_a_place_for_the_result(tmp_path):
    with pytest.raises(cq.errors.ArgumentError, match="`out` is missing"):
        cq.denoise(tmp_path / "cells.h5ad")
