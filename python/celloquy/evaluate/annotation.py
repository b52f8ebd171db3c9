"""Score labels, the calibration of their confidence, and the detection of unknown cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from celloquy.errors import ArgumentError


def score_annotation(truth: Sequence[str], predicted: Sequence[str], confidence: Sequence[float]) -> dict[str, float]:
    """Score labels against known ones.

    Parameters
    ----------
    truth
        Known labels, ``(cells,)``.
    predicted
        Labels to score, ``(cells,)``.
    confidence
        Confidence of each predicted label, ``(cells,)``, from 0 to 1.

    Returns
    -------
    ``accuracy``; ``macro F1`` and ``macro precision``, means over the known labels, in which a label that was predicted
    for no cell counts 0; ``ECE``, the expected calibration error.

    Raises
    ------
    ArgumentError
        If the lengths differ, or there is no cell.

    Examples
    --------
    >>> import celloquy as cq
    >>> scores = cq.evaluate.score_annotation(["B", "T"], ["B", "B"], [0.9, 0.6])
    >>> scores["accuracy"]
    0.5
    """
    from sklearn.metrics import precision_recall_fscore_support

    known, given = np.asarray(truth, dtype=str), np.asarray(predicted, dtype=str)
    confidences = np.asarray(confidence, float)
    if not len(known) == len(given) == len(confidences) > 0:
        raise ArgumentError(
            "The labels can't be scored.",
            found=f"{len(known)} known, {len(given)} predicted, {len(confidences)} confidences",
            expected="one of each for every cell, and at least one cell",
            remedy="pass columns of one object.",
        )
    precision, _, f1, _ = precision_recall_fscore_support(
        known, given, labels=np.unique(known), average="macro", zero_division=0.0
    )
    right = known == given
    return {
        "accuracy": float(right.mean()),
        "macro F1": float(f1),
        "macro precision": float(precision),
        "ECE": calibration_error(right, confidences),
    }


def calibration(right: np.ndarray, confidence: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Return a row for every bin of confidence: mean ``confidence``, ``accuracy`` and number of ``cells``.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.evaluate.calibration(np.array([True, False]), np.array([0.9, 0.6]), bins=2)
    """
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": np.asarray(right, dtype=float)})
    means = table.groupby("bin")[["confidence", "accuracy"]].mean()
    return means.assign(cells=table["bin"].value_counts())


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error: mean distance of confidence and accuracy over bins (Guo et al. 2017).

    Examples
    --------
    >>> import celloquy as cq
    >>> round(cq.evaluate.calibration_error(np.array([True, False]), np.array([0.9, 0.6])), 2)
    0.35
    """
    table = calibration(right, confidence, bins)
    return float((table["cells"] * (table["confidence"] - table["accuracy"]).abs()).sum() / table["cells"].sum())


def unknown_auroc(unknown: np.ndarray, confidence: np.ndarray) -> float:
    """Return the area under the ROC curve of detecting unknown cells by their low confidence.

    Parameters
    ----------
    unknown
        True for cells whose type the reference lacks, ``(cells,)`` bool.
    confidence
        Confidence that a cell is known, ``(cells,)``, on any scale.

    Examples
    --------
    >>> import celloquy as cq
    >>> float(cq.evaluate.unknown_auroc(np.array([True, False, False]), np.array([0.2, 0.7, 0.9])))
    1.0
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(~np.asarray(unknown, dtype=bool), confidence))
