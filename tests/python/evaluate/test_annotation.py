"""The scores of labels equal their definitions, computed by hand."""

import numpy as np
import pytest

from celloquy import evaluate
from celloquy.errors import ArgumentError


def test_the_scores_equal_their_definitions():
    truth, found = list("AABBC"), list("ABBBB")
    scores = evaluate.score_annotation(truth, found, [0.9, 0.6, 0.9, 0.9, 0.6])
    assert scores["accuracy"] == pytest.approx(3 / 5)
    f1 = [2 / 3, 2 * (2 / 4) / (2 / 4 + 1), 0]
    assert scores["macro F1"] == pytest.approx(np.mean(f1))
    assert scores["macro precision"] == pytest.approx((1 + 2 / 4 + 0) / 3)
    assert scores["ECE"] == pytest.approx((3 * abs(0.9 - 1) + 2 * abs(0.6 - 0)) / 5)


def test_only_false_confidence_has_a_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    assert evaluate.calibration_error(rng.random(20_000) < confidence, confidence) < 0.02
    error = evaluate.calibration_error(rng.random(20_000) < confidence - 0.3, confidence)
    assert error == pytest.approx(0.3, abs=0.02)
    table = evaluate.calibration(rng.random(20_000) < confidence, confidence)
    assert table["cells"].sum() == 20_000


def test_unknown_auroc_is_high_if_unknown_cells_have_low_confidence():
    assert evaluate.unknown_auroc([True, True, False, False], [0.1, 0.2, 0.8, 0.9]) == 1
    assert evaluate.unknown_auroc([True, False, True, False], [0.1, 0.1, 0.9, 0.9]) == 0.5


def test_labels_of_different_lengths_are_refused():
    with pytest.raises(ArgumentError, match="2 known, 1 predicted, 2 confidences"):
        evaluate.score_annotation(["A", "B"], ["A"], [1, 1])
    with pytest.raises(ArgumentError, match="at least one cell"):
        evaluate.score_annotation([], [], [])
