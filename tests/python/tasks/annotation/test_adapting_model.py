"""A model that adapts, as the one in the box, learns labels in seconds, from the reference alone."""

import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError
from tasks.annotation.test_annotator import IDS, TYPES, cells, fitted, probability

VOCABULARY = cq.GeneVocabulary.from_ids(IDS.tolist())
STUDIES = [CellSource(cells(80, seed=seed)).over(VOCABULARY).read_all() for seed in (5, 6)]
FACTORS = cq.FactorModel.fit(STUDIES, VOCABULARY, cq.FactorModelConfig(width=5))


@pytest.fixture(scope="module")
def annotator() -> cq.Annotator:
    return fitted(model=FACTORS, training=None)


def test_a_model_that_adapts_tells_the_types(annotator):
    adata = cells(100, seed=1)
    annotator.predict(adata, return_evidence=True)
    known = adata.obs["celloquy_label"] != "unknown"
    assert known.mean() > 0.85
    assert (adata.obs["celloquy_label"][known].astype(str) == adata.obs["cell_type"][known].astype(str)).mean() > 0.95
    assert cq.get(adata, "celloquy_evidence")["label_1"].isin(TYPES).all()
    assert annotator.history_.empty


def test_a_label_does_not_depend_on_which_cells_are_annotated_together(annotator):
    adata = cells(60, seed=1)
    alone = probability(annotator, adata[:7].copy())
    np.testing.assert_allclose(alone, probability(annotator, adata)[:7], atol=1e-5)


def test_it_predicts_the_same_when_it_was_saved(annotator, tmp_path):
    annotator.save(tmp_path / "annotator")
    found = probability(cq.Annotator.load(tmp_path / "annotator"), cells(30, seed=1))
    pd.testing.assert_frame_equal(found, probability(annotator, cells(30, seed=1)))


def test_the_pretrained_model_is_left_as_it_is():
    before = FACTORS.fingerprint
    fitted(model=FACTORS, training=None)
    assert FACTORS.fingerprint == before


@pytest.mark.parametrize(
    "given", [{"epochs": 3}, {"training": cq.TrainingOptions(epochs=3)}, {"training": None, "freeze_encoder": True}]
)
def test_options_of_a_training_have_no_use(given):
    with pytest.raises(ArgumentError, match=f"`{next(iter(reversed(given)))}` has no use with this model"):
        fitted(model=FACTORS, **({"training": None} | given))


def test_a_reference_of_a_few_cells_is_refused_as_it_teaches_nothing():
    with pytest.raises(ArgumentError, match="too small for a model to adapt"):
        fitted(cells(16), model=FACTORS, training=None)
