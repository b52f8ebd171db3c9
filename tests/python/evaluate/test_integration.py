"""Mixed batches and separate cell types score high, separate batches and mixed cell types low."""

import numpy as np
import pytest

from celloquy import evaluate
from celloquy.errors import ArgumentError


def cells(batch_distance: float, type_distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    batch, kind = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    x = rng.standard_normal((400, 5))
    x[:, 0] += batch_distance * batch
    x[:, 1] += type_distance * kind
    return x, batch.astype(str), kind.astype(str)


def test_batch_scores_and_biology_scores_differ_as_they_should():
    good = evaluate.score_integration(*cells(0, 12))
    unmixed = evaluate.score_integration(*cells(12, 12))
    merged = evaluate.score_integration(*cells(0, 0))
    assert good["batch"] > 0.9 > 0.5 > unmixed["batch"]
    assert good["biology"] > 0.85 > 0.5 > merged["biology"]
    assert good["total"] > max(unmixed["total"], merged["total"])
    assert unmixed["iLISI"] < 0.05
    assert unmixed["kBET"] < 0.05
    assert merged["ARI"] < 0.05
    for scores in (good, unmixed, merged):
        assert all(-0.01 <= value <= 1 for value in scores.values())
        assert scores["total"] == pytest.approx((scores["batch"] + scores["biology"]) / 2)


def test_the_same_embedding_has_the_same_score():
    assert evaluate.score_integration(*cells(1, 3)) == evaluate.score_integration(*cells(1, 3))


def test_one_batch_or_one_type_is_refused():
    x, batch, kind = cells(0, 5)
    with pytest.raises(ArgumentError, match="1 batches, 2 labels"):
        evaluate.score_integration(x, ["a"] * 400, kind)
    with pytest.raises(ArgumentError, match="2 batches, 1 labels"):
        evaluate.score_integration(x, batch, ["T"] * 400)
    with pytest.raises(ArgumentError, match="399 cells"):
        evaluate.score_integration(x[1:], batch, kind)
