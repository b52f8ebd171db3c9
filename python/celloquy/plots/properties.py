"""Plots of properties of genes: how well those that were held out are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 8
"""Bins of equally many genes in which probabilities are compared with what is true."""


def gene_properties(held_out: pd.DataFrame) -> Figure:
    """Draw how a property of genes is told where they are held out.

    Parameters
    ----------
    held_out
        ``held_out_`` of a :class:`celloquy.GeneClassifier`.

    Returns
    -------
    The figure. Of classes, the ROC curve of each against the others, with its area, and beside it the reliability: the
    share of genes that have a label, among those that get it with like probabilities. Of a number, what is told against
    the truth.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> classifier = cq.GeneClassifier().fit(table["gene"], table["dosage_sensitive"])
    >>> cq.plots.gene_properties(classifier.held_out_).savefig("held_out.png")
    """
    import matplotlib.pyplot as plt

    require(held_out, "truth", "the table", "held_out")
    if "value" in held_out.columns:
        figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
        axis.plot(held_out["truth"], held_out["value"], ".", markersize=3)
        axis.axline((held_out["truth"].mean(),) * 2, slope=1, color="grey", linestyle="--", linewidth=1)
        axis.set(xlabel="truth", ylabel="told of held-out genes")
        return figure
    require(held_out, "label", "the table", "held_out")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 4), layout="constrained")
    for label in held_out["label"].cat.categories:
        probability = held_out[f"probability_{label}"].to_numpy(dtype=np.float64)
        true = (held_out["truth"].astype(str) == label).to_numpy()
        _draw_roc(left, str(label), probability, true)
        _draw_reliability(right, str(label), probability, true)
    for axis in (left, right):
        axis.axline((0, 0), slope=1, color="grey", linestyle="--", linewidth=1)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set(xlabel="probability", ylabel="share of genes with the label")
    left.legend(title="AUROC, held-out genes", loc="lower right", frameon=False)
    return figure


def _draw_roc(axis: Axes, label: str, probability: np.ndarray, true: np.ndarray) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    alarms, hits, _ = roc_curve(true, probability)
    axis.plot(alarms, hits, label=f"{label}: {roc_auc_score(true, probability):.2f}")


def _draw_reliability(axis: Axes, label: str, probability: np.ndarray, true: np.ndarray) -> None:
    parts = np.array_split(np.argsort(probability, kind="stable"), min(BINS, len(probability)))
    axis.plot([probability[part].mean() for part in parts], [true[part].mean() for part in parts], "o-", label=label)
