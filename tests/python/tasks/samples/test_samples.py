"""SamplePredictor: it tells what is in the cells, nothing of a held-out sample leaks, and its evidence adds up."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

import celloquy as cq
from celloquy.tasks.samples import attention
from celloquy.tasks.samples.attention import Attention
from celloquy.tasks.samples.features import KINDS
from celloquy.tasks.samples.targets import arrangements
from celloquy.tasks.samples.trained import folds_of
from examples import small_model
from sample_examples import cohort, predictor, small_factors

examples = settings(max_examples=3, deadline=None)
SHARES = ["probability_ill", "probability_well"]


@pytest.fixture(autouse=True, scope="module")
def shortly():
    """The attention is trained for as long as shows that it works."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "STEPS", 20)
        yield


@pytest.fixture(scope="module")
def fitted():
    return predictor().fit(cohort(12))


@pytest.fixture(scope="module")
def others():
    return cohort(8, seed=9, start=50)


def cells_of(fit, adata):
    return fit._read(adata)[0]


def test_new_samples_are_told_what_their_composition_says(fitted, others):
    told = fitted.predict(others)
    assert told["label"].tolist() == ["well", "ill"] * 4
    np.testing.assert_allclose(told[SHARES].sum(axis=1), 1)
    np.testing.assert_allclose(told["confidence"], told[SHARES].max(axis=1))
    assert told["n_cells"].tolist() == [30] * 8
    assert not told["given"].any()
    assert fitted.report_.loc["all", "auroc"] > 0.9


def test_a_number_is_told_in_its_unit(others):
    fit = predictor(target="share").fit(cohort(16))
    told = fit.predict(others)
    assert np.corrcoef(told["value"], others.obs.groupby("patient")["share"].first())[0, 1] > 0.9
    assert (told["error"] > 0).all()
    assert {"r2", "spearman"} <= set(fit.report_)


def test_types_that_a_column_names_are_the_composition(others):
    fit = predictor(label_key="cell_type").fit(cohort(12))
    assert fit.predict(others)["label"].tolist() == ["well", "ill"] * 4
    renamed = others.copy()
    renamed.obs["cell_type"] = "never seen"
    assert len(fit.predict(renamed)) == 8


def test_nothing_is_told_from_noise():
    for seed in range(6):
        fit = predictor().fit(cohort(10, difference=0, seed=seed))
        gain = fit.report_.loc["all"]
        assert gain["gain"] < 2 * gain["gain_error"]
        # Samples whose class is the rarer one among the others would be told wrongly, and surely so.
        assert gain["gain"] > -0.05
        told = fit.predict(cohort(20, difference=0, seed=seed + 100))
        assert told["confidence"].mean() < 0.75


@pytest.mark.parametrize("model", [small_factors(), small_model()], ids=["cells alone", "cells of a sample together"])
def test_what_is_told_of_a_sample_does_not_hang_on_its_company(model, others):
    fit = predictor(model=model).fit(cohort(12))
    together = fit.predict(others)
    for name in ("p50", "p53"):
        alone = fit.predict(others[others.obs["patient"] == name].copy())
        np.testing.assert_allclose(
            alone.loc[name, SHARES].astype(float), together.loc[name, SHARES].astype(float), atol=1e-5
        )


@examples
@given(seed=st.integers(0, 2**31))
def test_neither_the_order_of_cells_nor_the_names_of_samples_change_what_is_told(seed):
    adata, rng = cohort(10, size=12), np.random.default_rng(seed)
    shuffled = adata[rng.permutation(adata.n_obs)].copy()
    one, other = predictor().fit(adata), predictor().fit(shuffled)
    np.testing.assert_allclose(other.report_["loss"], one.report_["loss"], atol=1e-4)
    pd.testing.assert_frame_equal(other.predict(adata), one.predict(shuffled), atol=1e-4)


def test_cells_whose_target_is_missing_change_nothing_that_is_learned(fitted, others):
    known = cohort(12)
    several = ad.concat([known, others])
    several.obs.loc[several.obs["patient"].isin(others.obs["patient"]), "state"] = np.nan
    fit = predictor().fit(several)
    pd.testing.assert_frame_equal(fit.report_, fitted.report_, atol=1e-5)
    pd.testing.assert_frame_equal(fit.predict(others), fitted.predict(others), atol=1e-5)


def test_whatever_is_learned_for_a_fold_does_not_see_its_samples(fitted):
    adata = cohort(12)
    cells = cells_of(fitted, adata)
    changed = cohort(12)
    held = changed.obs["patient"] == "p11"
    counts = changed.X.toarray()
    counts[held] = np.random.default_rng(0).poisson(9, counts[held].shape)
    changed.X = counts.astype(np.float32)
    other, rows = cells_of(fitted, changed), np.arange(11)
    labels = np.arange(11) % 2
    for kind in KINDS:
        one, two = kind.learned(cells, rows, 0), kind.learned(other, rows, 0)
        for part in vars(one):
            np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
    one, two = (Attention.learned(each, rows, labels, 2, 0) for each in (cells, other))
    np.testing.assert_array_equal(one.head, two.head)


def test_held_out_probabilities_are_those_of_a_predictor_that_never_saw_the_sample():
    # The target is noise that each sample has in its cells alone: read off, it would be told; held out, it can't be.
    adata = cohort(12, difference=0, seed=1)
    told = cq.predict_samples(adata, sample_key="patient", target="state", model=small_factors(), progress=False)
    right = (told["label"] == told["truth"]).mean()
    assert right < 0.8


def test_samples_of_one_group_are_held_out_together():
    groups = np.repeat(np.arange(6), 2)
    fold = folds_of(groups, np.arange(12) % 2, 0)
    assert all(len(set(fold[groups == one])) == 1 for one in range(6))
    for number in np.unique(fold):
        assert np.ptp(np.bincount(np.arange(12)[fold == number] % 2, minlength=2)) == 0


@given(st.integers(4, 20), st.integers(0, 2**31))
def test_each_fold_has_the_classes_as_they_are(many, seed):
    labels = np.arange(2 * many) % 2
    fold = folds_of(np.arange(2 * many), labels, seed)
    told = np.stack([np.bincount(labels[fold == number], minlength=2) for number in np.unique(fold)])
    assert np.ptp(told, axis=0).max() <= 1


@pytest.mark.parametrize("target", ["state", "share"])
def test_the_evidence_of_cells_adds_up_to_what_is_told_of_their_sample(target, others):
    fit = predictor(target=target).fit(cohort(16))
    told, cells = fit.predict(others), fit.deciding_cells(others)
    assert cells.index.equals(others.obs_names)
    total = cells.groupby("sample")["evidence"].sum()
    if target == "state":
        found = logit(told["confidence"]) * np.where(told["label"] == "well", 1, -1)
        signed = total * np.where(told["label"] == "well", 1, -1)
    else:
        found, signed = told["value"], total
    # All but a constant, what is told of the usual sample.
    assert np.ptp(found - signed) < 1e-6 * max(1, np.abs(found).max())


def test_the_cells_that_decide_are_those_of_the_type_that_differs():
    adata = cohort(16, size=60)
    fit = predictor().fit(adata)
    cells = fit.deciding_cells(adata).join(adata.obs[["cell_type"]])
    well = cells[cells["label"] == "well"]
    assert well.groupby("cell_type")["evidence"].mean().idxmax() == "type0"


def test_each_reading_alone_adds_up_over_its_cells(fitted, others):
    cells = cells_of(fitted, others)
    for kind in KINDS:
        features = kind.learned(cells, np.arange(8), 0)
        weights = np.random.default_rng(0).normal(size=(features.of_samples(cells).shape[1], 2))
        by_cell = cells.mean(features.of_cells(cells, weights))
        np.testing.assert_allclose(by_cell, features.of_samples(cells) @ weights, atol=1e-6)
    pooled = Attention.learned(cells, np.arange(8), np.arange(8) % 2, 2, 0)
    total = np.stack([pooled.evidence(cells)[cells.sample == row].sum(0) for row in range(8)])
    np.testing.assert_allclose(total + pooled.usual, pooled.scores(cells), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"target": "share"}, {"label_key": "cell_type", "group_key": "donor"}])
def test_saved_and_loaded_it_predicts_the_same(options, others, tmp_path):
    fit = predictor(**options).fit(cohort(12))
    fit.save(tmp_path / "kept")
    loaded = cq.SamplePredictor.load(tmp_path / "kept")
    loaded.progress = False
    pd.testing.assert_frame_equal(loaded.predict(others), fit.predict(others))
    pd.testing.assert_frame_equal(loaded.held_out_, fit.held_out_)
    pd.testing.assert_frame_equal(loaded.report_, fit.report_)
    assert loaded.summary() == fit.summary()
    pd.testing.assert_frame_equal(loaded.deciding_cells(others), fit.deciding_cells(others))
    assert cq.Model.from_pretrained(tmp_path / "kept").fingerprint == fit.model_.fingerprint


def test_the_verb_tells_samples_held_out_and_those_whose_target_is_missing(fitted):
    known, unknown = cohort(12), cohort(4, seed=9, start=50)
    adata = ad.concat([known, unknown])
    adata.obs.loc[unknown.obs_names, "state"] = np.nan
    options = {"sample_key": "patient", "target": "state", "model": small_factors(), "progress": False}
    told = cq.predict_samples(adata, precision="float32", key_added="mine", **options)
    np.testing.assert_allclose(told.loc[told["held_out"], SHARES], fitted.held_out_[SHARES], atol=1e-5)
    np.testing.assert_allclose(told.loc[~told["held_out"], SHARES], fitted.predict(unknown)[SHARES], atol=1e-5)
    assert told["truth"].isna().sum() == 4
    assert {"mine_label", "mine_evidence"} <= set(adata.obs)
    assert adata.uns["celloquy"]["mine"]["parameters"]["target"] == "state"
    assert set(told.attrs["celloquy"]["parameters"]["tried"]["way"]) >= {"prevalence", "attention", "all"}


def test_a_file_is_read_as_the_object_in_it_is(fitted, others, tmp_path):
    others.write_h5ad(tmp_path / "others.h5ad")
    pd.testing.assert_frame_equal(fitted.predict(tmp_path / "others.h5ad"), fitted.predict(others))


def test_arrangements_of_targets_are_counted_within_pairs_or_over_samples():
    assert arrangements(np.arange(6), np.array([0, 0, 0, 1, 1, 1])) == 20
    assert arrangements(np.repeat(np.arange(5), 2), np.arange(10) % 2) == 32
    assert arrangements(np.repeat(np.arange(4), 2), np.repeat([0, 0, 1, 1], 2)) == 6
    assert arrangements(np.arange(4), np.array([0.1, 0.2, 0.3, 0.4])) == 24
