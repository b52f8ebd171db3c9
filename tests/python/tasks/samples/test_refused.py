"""What SamplePredictor can't use is refused in words, and the object stays as it was."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, CountsError, FewSamplesWarning
from celloquy.tasks.samples import attention
from sample_examples import cohort, predictor, small_factors


@pytest.fixture(autouse=True)
def shortly(monkeypatch):
    monkeypatch.setattr(attention, "STEPS", 2)


def changed(**columns):
    adata = cohort(8, size=10)
    for name, values in columns.items():
        adata.obs[name] = values(adata.obs) if callable(values) else values
    return adata


WRONG = {
    "several values within a sample": (changed(state=["well", "ill"] * 40), {}, "'p00'"),
    "tells nothing of any sample": (changed(state=np.nan), {}, "8 samples"),
    "one class alone": (changed(state="well"), {}, "'well'"),
    "classes of one sample alone": (
        changed(state=lambda obs: np.where(obs["patient"] == "p00", "rare", obs["state"])), {}, "'rare'",
    ),
    "too few numbers": (changed(share=1.0), {"target": "share"}, "1 different"),
    "not finite": (
        changed(share=lambda obs: np.where(obs["patient"] == "p00", np.inf, obs["share"])), {"target": "share"}, "inf",
    ),
    "no column 'lost'": (changed(), {"sample_key": "lost"}, "patient"),
    "no column 'gone'": (changed(), {"target": "gone"}, "patient"),
    "no column 'away'": (changed(), {"label_key": "away"}, "patient"),
    "missing values": (changed(patient=lambda obs: obs["patient"].where(obs["patient"] != "p00")), {}, "10 of 80"),
    "several values": (changed(donor=[f"d{one % 3}" for one in range(80)]), {"group_key": "donor"}, "d0"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_the_samples_is_said_and_the_object_stays(case):
    adata, options, named = WRONG[case]
    before = adata.copy()
    with pytest.raises(ArgumentError, match=case) as refused:
        predictor(**options).fit(adata)
    assert named in str(refused.value)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    assert (adata.X != before.X).nnz == 0


def test_values_of_any_type_are_compared():
    with pytest.raises(ArgumentError, match="several values within a sample"):
        predictor().fit(changed(state=[["well"], ["ill"]] * 40))


@pytest.mark.filterwarnings("ignore::celloquy.errors.FewSamplesWarning")
def test_a_number_that_nearly_all_samples_share_is_learned_without_a_word_of_scikit_learn():
    adata = changed(share=lambda obs: np.where(obs["patient"] == "p00", 1.0, 0.0))
    told = cq.predict_samples(adata, sample_key="patient", target="share", model=small_factors(), progress=False)
    assert np.isfinite(told["value"]).all()


@pytest.mark.filterwarnings("ignore::celloquy.errors.FewSamplesWarning")
def test_samples_of_the_same_cells_can_not_be_told_apart():
    adata = changed()
    adata.X = sparse.csr_matrix(np.ones(adata.shape, dtype=np.float32))
    told = cq.predict_samples(adata, sample_key="patient", target="state", model=small_factors(), progress=False)
    assert told.filter(like="probability").stack().between(0.25, 0.75).all()


def test_a_sample_that_is_partly_without_a_target_is_refused():
    adata = cohort(8, size=10)
    adata.obs.loc[adata.obs_names[:3], "state"] = np.nan
    with pytest.raises(ArgumentError, match="several values within a sample"):
        predictor().fit(adata)


def test_samples_without_a_count_are_refused():
    adata = cohort(8, size=10)
    counts = adata.X.toarray()
    counts[adata.obs["patient"] == "p03"] = 0
    adata.X = counts
    with pytest.raises(ArgumentError, match="no cell with a count") as refused:
        predictor().fit(adata)
    assert "'p03'" in str(refused.value)


def test_a_sample_of_one_cell_is_a_sample():
    adata = cohort(10)
    alone = adata[[0, *np.flatnonzero(adata.obs["patient"] != "p00")]].copy()
    told = predictor().fit(alone).predict(alone)
    assert told.loc["p00", "n_cells"] == 1


def test_cells_without_counts_decide_nothing():
    adata = cohort(10)
    counts = adata.X.toarray()
    counts[:3] = 0
    adata.X = counts
    fit = predictor().fit(adata)
    cells = fit.deciding_cells(adata)
    assert not cells["evidence"].to_numpy()[:3].any()
    assert set(cells["sample"][:3]) == {"p00"}
    assert fit.predict(adata).loc["p00", "n_cells"] == 27


def test_few_samples_are_told_what_can_be_claimed():
    with pytest.warns(FewSamplesWarning, match=r"3 of 'ill', 3 of 'well'.*20 arrangements.*p = 0.05"):
        predictor().fit(cohort(6))
    with pytest.warns(FewSamplesWarning, match=r"8 arrangements"):
        predictor(group_key="donor").fit(cohort(6, pairs=True))


@pytest.mark.filterwarnings("error")
def test_five_samples_a_class_are_not_warned_of():
    predictor().fit(cohort(10))


def test_what_is_not_fitted_tells_nothing(tmp_path):
    for ask in (lambda one: one.predict(cohort(2)), lambda one: one.held_out_, lambda one: one.save(tmp_path / "no")):
        with pytest.raises(ArgumentError, match="has not been fitted"):
            ask(predictor())


def test_a_directory_without_a_predictor_is_refused(tmp_path):
    small_factors().save(tmp_path / "model")
    for place in (tmp_path / "none", tmp_path / "model"):
        with pytest.raises(CheckpointError, match="There is no SamplePredictor"):
            cq.SamplePredictor.load(place)


def test_values_that_are_no_counts_are_refused():
    adata = cohort(8, size=10)
    adata.X = np.log1p(adata.X.toarray() / 3)
    with pytest.raises(CountsError):
        predictor().fit(adata)


def test_a_file_keeps_no_evidence(tmp_path):
    cohort(10).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ArgumentError, match="`key_added` can't be used with a file"):
        cq.predict_samples(tmp_path / "cells.h5ad", sample_key="patient", target="state", key_added="x")
