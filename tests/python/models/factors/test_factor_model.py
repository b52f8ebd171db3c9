"""The factor model: fitted, embedded, adapted, saved, and the one in the box."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy import keys
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, CheckpointError, ModelError
from celloquy.models.factors import adapted
from examples import small_model

GENES = 60
IDS = [f"ENSG{i:011d}" for i in range(1, GENES + 1)]
VOCABULARY = cq.GeneVocabulary.from_ids(IDS)


def cells(n=80, seed=0, genes=None, empty=False) -> ad.AnnData:
    """Cells of two kinds, each with genes of its own."""
    random = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    rate = np.full((n, GENES), 1.0)
    rate[kind == 0, :10] = 6
    rate[kind == 1, 10:20] = 6
    counts = random.poisson(rate * random.uniform(0.5, 2, (n, 1))).astype(np.float32)
    if empty:
        counts[0] = 0
    adata = ad.AnnData(sparse.csr_matrix(counts), obs=pd.DataFrame({"kind": kind}, index=[f"c{i}" for i in range(n)]))
    adata.var_names = IDS
    return adata if genes is None else adata[:, genes].copy()


def fitted(width=3) -> cq.FactorModel:
    studies = [CellSource(cells(seed=seed)).over(VOCABULARY).read_all() for seed in (1, 2)]
    return cq.FactorModel.fit(studies, VOCABULARY, cq.FactorModelConfig(width=width))


MODEL = fitted()


def embedding(adata, **options) -> np.ndarray:
    return cq.embed(adata, progress=False, copy=True, **{"model": MODEL} | options).obsm["X_celloquy"]


def parted(adata, vectors) -> float:
    """Share of cells whose nearest other cell is of their kind."""
    distance = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    kind = adata.obs["kind"].to_numpy()
    return float((kind[distance.argmin(1)] == kind).mean())


drawn = st.builds(cells, n=st.integers(1, 60), seed=st.integers(3, 500), empty=st.booleans())


@given(adata=drawn, adapt=st.booleans(), seed=st.integers(0, 100), batch_size=st.integers(1, 70))
@settings(max_examples=25, deadline=None)
def test_the_embedding_depends_on_no_order_and_no_batch_size(adata, adapt, seed, batch_size):
    random = np.random.default_rng(seed)
    rows, columns = random.permutation(adata.n_obs), random.permutation(adata.n_vars)
    expected = embedding(adata, adapt=adapt)
    found = embedding(adata[rows, columns].copy(), adapt=adapt, batch_size=batch_size)
    np.testing.assert_allclose(found, expected[rows], atol=1e-4 * max(1, np.abs(expected).max()))


def test_genes_that_were_not_measured_are_missing_not_zero():
    adata = cells(seed=5)
    few = cells(seed=5, genes=[*range(5), *range(10, 15), *range(20, 60)])
    whole, cut = embedding(adata, adapt=False), embedding(few, adapt=False)
    assert parted(adata, cut) > 0.9
    # The kinds lie where they lay: less far apart, as fewer genes say less, but not elsewhere.
    first, second = (e[adata.obs["kind"] == 0].mean(0) - e[adata.obs["kind"] == 1].mean(0) for e in (whole, cut))
    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.95
    as_zero = cells(seed=5)
    as_zero.X = as_zero.X.multiply(np.isin(IDS, few.var_names)).tocsr()
    assert not np.allclose(embedding(as_zero, adapt=False), cut, atol=1e-3)


def test_empty_cells_lie_at_the_prior_mean_and_leave_the_others_as_they_are():
    adata = cells(empty=True)
    vectors = embedding(adata)
    assert not vectors[0].any()
    np.testing.assert_allclose(embedding(adata[1:].copy()), vectors[1:], atol=1e-5)


def test_a_model_adapts_to_kinds_that_it_has_never_met():
    adata = cells()
    # The genes of the kinds change places with genes that never varied in the corpus.
    adata.var_names = IDS[40:] + IDS[20:40] + IDS[:20]
    assert parted(adata, embedding(adata)) > 0.95
    assert parted(adata, embedding(adata)) > parted(adata, embedding(adata, adapt=False))


@pytest.mark.parametrize("adapt", [True, False])
def test_the_dimensions_in_which_the_cells_differ_most_come_first(adapt):
    adata = cells(n=100, seed=8)
    vectors = embedding(adata, adapt=adapt)
    spread = vectors.std(0)
    assert (spread[1:] <= spread[:-1] * (1.001 if adapt else 3)).all()


def test_further_cells_meet_the_embedding_that_a_model_was_adapted_to(tmp_path):
    adata = cells(n=120, seed=3)
    adapted_model = MODEL.adapted(CellSource(adata).over(VOCABULARY))
    adapted_model.save(tmp_path / "model")
    together = embedding(adata, model=adapted_model, adapt=False)
    some = embedding(adata[:30].copy(), model=cq.FactorModel.from_pretrained(tmp_path / "model"), adapt=False)
    np.testing.assert_allclose(some, together[:30], atol=1e-4)
    np.testing.assert_allclose(together, embedding(adata), atol=1e-4)


def test_the_cells_own_axes_weigh_more_the_more_cells_there_are():
    def size_of_axes(n: int) -> float:
        adata = cells(n=n)
        # All components are kept, so that the rotation can be undone.
        model = MODEL.adapted(CellSource(adata).over(VOCABULARY), 10**6)
        parts = embedding(adata, model=model, adapt=False) @ model.rotation.T.detach().numpy()
        factors, axes = np.split(parts, [model.config.width], axis=1)
        return float(np.linalg.norm(axes) / np.linalg.norm(factors))

    sizes = [size_of_axes(n) for n in (75, 300, 1200)]
    np.testing.assert_allclose(sizes, [0.5, 1.0, 2.0], rtol=0.02)


def test_cells_of_no_gene_that_varies_are_embedded_by_what_the_model_knows():
    adata = cells(n=40)
    adata.X = sparse.csr_matrix(np.eye(40, GENES, dtype=np.float32) * 3)
    vectors = embedding(adata)
    assert vectors.shape[0] == 40
    assert np.isfinite(vectors).all()


def test_few_cells_teach_nothing_and_the_model_stays_as_it_is():
    few = cells(n=adapted.LEAST_CELLS - 1)
    np.testing.assert_array_equal(embedding(few), embedding(few, adapt=False))
    assert embedding(few[:1].copy()).shape == (1, 3)


def test_the_given_model_is_not_changed_by_an_adaptation():
    before = MODEL.fingerprint
    embedding(cells(seed=9))
    assert MODEL.fingerprint == before


def test_of_many_cells_the_same_ones_are_chosen_in_any_order(monkeypatch):
    monkeypatch.setattr(adapted, "MOST_CELLS", 40)
    monkeypatch.setattr(adapted, "BLOCK", 16)
    adata = cells(n=70, seed=4)
    order = np.random.default_rng(0).permutation(70)
    one, other = (adapted.chosen_cells(CellSource(a).over(VOCABULARY), 40) for a in (adata, adata[order].copy()))
    assert len(one) == 40
    np.testing.assert_array_equal(one.to_csr().toarray(), other.to_csr().toarray())


@pytest.mark.parametrize("adapt", [True, False])
def test_files_give_what_memory_gives(tmp_path, adapt):
    adata = cells(seed=6, empty=True)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    cq.embed(tmp_path / "cells.h5ad", out=tmp_path / "out.h5ad", model=MODEL, adapt=adapt, progress=False)
    written = ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(written.obsm["X_celloquy"], embedding(adata, adapt=adapt))
    assert written.uns["celloquy"]["X_celloquy"]["parameters"]["adapt"] == str(adapt)


def test_a_saved_model_is_the_same(tmp_path):
    MODEL.save(tmp_path / "model")
    loaded = cq.FactorModel.from_pretrained(tmp_path / "model")
    assert loaded.fingerprint == MODEL.fingerprint
    np.testing.assert_array_equal(embedding(cells(), model=loaded), embedding(cells()))


def test_a_model_that_can_not_adapt_says_so():
    with pytest.raises(ModelError, match="CellModel can't adapt"):
        cq.embed(cells(), model=small_model(), adapt=True)


def test_a_width_below_one_is_refused():
    with pytest.raises(ArgumentError, match="width"):
        cq.FactorModelConfig(width=0)


# The model in the box.


def blood() -> ad.AnnData:
    """Two kinds of blood cells by their best known genes, among others, under symbols."""
    random = np.random.default_rng(0)
    names = ["CD3D", "CD3E", "IL7R", "LTB", "TRAC", "MS4A1", "CD79A", "CD79B", "CD74", "HLA-DRA", "ACTB", "MALAT1"]
    others = ["RPL3", "RPS6", "EEF1A1", "TMSB4X", "B2M", "FTL", "FTH1", "LYZ", "S100A9", "NKG7", "GNLY", "PPBP"]
    rate = np.full((60, 24), 4.0)
    rate[:30, :5], rate[30:, 5:10] = 30, 30
    adata = ad.AnnData(random.poisson(rate).astype(np.float32))
    adata.var_names, adata.obs["kind"] = names + others, np.repeat(["T", "B"], 30)
    return adata


def test_the_model_in_the_box_embeds_without_being_named():
    adata = blood()
    cq.embed(adata, progress=False)
    assert parted(adata, adata.obsm["X_celloquy"]) > 0.9
    model = cq.Model.from_pretrained(keys.CELLS_MINI)
    assert adata.uns["celloquy"]["X_celloquy"]["model"] == model.fingerprint
    assert {"human", "mouse"} <= set(model.vocabulary.species)


def test_mouse_cells_meet_the_same_factors_as_human_ones():
    human = blood()
    mouse = blood()
    mouse.var_names = (
        cq.orthologs(human.var_names, to="mouse")
        .frame.set_index("name")
        .reindex(human.var_names)["ortholog_id"]
        .fillna("unknown")
        .to_numpy()
    )
    known = mouse.var_names != "unknown"
    cut = embedding(human[:, known].copy(), model="cells-mini", adapt=False)
    np.testing.assert_allclose(embedding(mouse[:, known].copy(), model="cells-mini", adapt=False), cut, atol=1e-5)


def test_a_name_that_is_no_model_in_the_box_is_a_directory():
    with pytest.raises(CheckpointError, match="no celloquy model in 'cells-maxi'"):
        cq.embed(blood(), model="cells-maxi")


def test_a_model_is_trained_from_scratch_on_request():
    adata = cells(n=30)
    cq.embed(adata, model="scratch", progress=False)
    assert adata.uns["celloquy"]["X_celloquy"]["parameters"]["adapt"] == "False"
    assert adata.obsm["X_celloquy"].shape == (30, 32)


def test_genes_correlate_as_in_the_cells_that_the_model_learned_from():
    places = torch.arange(GENES)
    correlation = MODEL.gene_correlations(places[[0, 3, 12, 40]], places).numpy()
    assert correlation.shape == (4, GENES)
    assert correlation[0, 1:10].min() > 0.1 > -0.1 > correlation[0, 10:20].max()
    assert np.abs(correlation[3, places != 40]).max() < 0.5
    counts = cells(2000, seed=1).X.toarray()
    log = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    own = np.corrcoef(log.T)[[0, 3, 12, 40]][:, :20]
    off = np.array([[one != other for other in range(20)] for one in (0, 3, 12, 40)])
    assert np.abs(correlation[:, :20] - own)[off].max() < 0.2
    some = cells(genes=IDS[:30])
    part = cq.FactorModel.fit([CellSource(some).over(VOCABULARY).read_all()], VOCABULARY, cq.FactorModelConfig(width=3))
    found = part.gene_correlations(places[:2], places).numpy()
    assert np.isfinite(found[:, :30]).all()
    assert np.isnan(found[:, 30:]).all()
