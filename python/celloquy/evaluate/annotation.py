"""How good labels are, how honest their confidence is, and how well unknown cell types are told."""

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
        ``(cells,)``, the known labels.
    predicted
        ``(cells,)``, the labels to score.
    confidence
        ``(cells,)``, how probable each is held to be, from 0 to 1.

    Returns
    -------
    ``accuracy``; ``macro F1`` and ``macro precision``, means over the known labels, a label that no cell was
    given counting 0; ``ECE``, the expected calibration error.

    Raises
    ------
    ArgumentError
        If the lengths differ, or there is no cell.
    """
    from sklearn.metrics import precision_recall_fscore_support

    known, given, sure = np.asarray(truth, dtype=str), np.asarray(predicted, dtype=str), np.asarray(confidence, float)
    if not len(known) == len(given) == len(sure) > 0:
        raise ArgumentError(
            "The labels can't be scored.",
            found=f"{len(known)} known, {len(given)} predicted, {len(sure)} confidences",
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
        "ECE": calibration_error(right, sure),
    }


def calibration(right: np.ndarray, confidence: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Return, for bins of confidence of like width, ``cells``, mean ``confidence`` and ``accuracy``."""
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": np.asarray(right, dtype=float)})
    means = table.groupby("bin")[["confidence", "accuracy"]].mean()
    return means.assign(cells=table["bin"].value_counts())


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy (Guo et al. 2017), over bins."""
    table = calibration(right, confidence, bins)
    return float((table["cells"] * (table["confidence"] - table["accuracy"]).abs()).sum() / table["cells"].sum())


def unknown_auroc(unknown: np.ndarray, confidence: np.ndarray) -> float:
    """Area under the ROC curve of telling cells of types that the reference lacks by their low confidence.

    Parameters
    ----------
    unknown
        ``(cells,)`` bool: whether the reference lacks the cell's type.
    confidence
        ``(cells,)``, on any scale; higher means known.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(~np.asarray(unknown, dtype=bool), confidence))
