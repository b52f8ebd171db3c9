"""Choose between the blend of all readings and the simple ways, on genes that are held out of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from celloquy.genes.priors import PRIORS
from celloquy.tasks.properties.blending import Blend, blend, blend_held_out
from celloquy.tasks.properties.reading import loss_of_genes

Matrix = NDArray[np.float64]

PREVALENCE: Final = "prevalence"
ALL: Final = "all"
PRIORS_ALONE: Final = "priors"
TOGETHER: Final = "side by side"
"""Reading of all blocks side by side, beside that of each alone."""
NOTHING: Final = 1e-3
"""Weight up to which a reading is left out of a blend."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and how everything that was tried does on held-out genes.

    Attributes
    ----------
    name
        Name of what was chosen.
    readings
        Names of the readings that it blends; none if it is the prevalence.
    blend
        Their weights.
    report
        A row for each way that was tried, see :attr:`celloquy.GeneClassifier.report_`.
    held_out
        ``(genes, k)``: scores of each gene by what was chosen, fitted without the gene's fold.
    """

    name: str
    readings: tuple[str, ...]
    blend: Blend
    report: pd.DataFrame
    held_out: Matrix


def choose(tried: Mapping[str, Matrix], labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64]) -> Choice:
    """Compare, on held-out genes: the prevalence, each reading alone, the priors, and the blend of all.

    The blend of all is chosen, unless a simpler way has a smaller loss; none is chosen over the prevalence whose gain
    is within one standard error, paired by gene.
    """
    ways: dict[str, tuple[str, ...]] = {PREVALENCE: ()}
    ways |= {name: (name,) for name in tried}
    known = tuple(name for name in tried if name in PRIORS)
    if 1 < len(known) < len(tried):
        ways[PRIORS_ALONE] = known
    if len(tried) > 1:
        ways[ALL] = tuple(tried)
    scores = {name: _held_out(tried, own, labels, classes, fold) for name, own in ways.items() if own}
    # One offset for all folds: those of single folds would rank genes against their fold.
    even = _even(labels, classes)
    scores = {PREVALENCE: blend([even], labels, classes).scores([even], classes)} | scores
    losses = {name: loss_of_genes(one, labels, classes) for name, one in scores.items()}
    # Of equals the last, the blend of all.
    best = min(reversed(list(ways)), key=lambda name: float(losses[name].mean()))
    gain = losses[PREVALENCE] - losses[best]
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
        best = PREVALENCE
    chosen = ways[best]
    if chosen:
        # What weighs nothing need not be computed.
        fitted = blend([tried[name] for name in chosen], labels, classes)
        chosen = tuple(name for name, weight in zip(chosen, fitted.weights, strict=True) if weight > NOTHING)
    weights = blend([tried[name] for name in chosen] or [_even(labels, classes)], labels, classes)
    rows = [
        {
            "way": name,
            "loss": float(losses[name].mean()),
            "gain": float((losses[PREVALENCE] - losses[name]).mean()),
            "gain_error": float((losses[PREVALENCE] - losses[name]).std(ddof=1) / np.sqrt(len(labels))),
            **measure(scores[name], labels, classes),
            "chosen": name == best,
            "weight": float(weights.weights[chosen.index(name)]) if name in chosen else 0.0,
        }
        for name in ways
    ]
    return Choice(best, chosen, weights, pd.DataFrame(rows).set_index("way"), scores[best])


def _held_out(
    tried: Mapping[str, Matrix], names: tuple[str, ...], labels: NDArray[np.generic], classes: int,
    fold: NDArray[np.int64],
) -> Matrix:  # fmt: skip
    return blend_held_out([tried[name] for name in names], labels, classes, fold)


def _even(labels: NDArray[np.generic], classes: int) -> Matrix:
    """A reading that says nothing: with the offset of a blend it is the prevalence, or the mean."""
    return np.zeros((len(labels), max(1, classes)))


def measure(scores: Matrix, labels: NDArray[np.generic], classes: int) -> dict[str, float]:
    """Return the AUROC, a mean over classes against the others; or R² and rank correlation of numbers."""
    if not classes:
        constant = bool(np.ptp(scores[:, 0]) < 1e-12)
        told = labels.astype(np.float64)
        explained = 1 - float(((scores[:, 0] - told) ** 2).mean() / max(told.var(), 1e-12))
        return {"r2": explained, "spearman": 0.0 if constant else float(spearmanr(scores[:, 0], told).statistic)}
    each = [roc_auc_score(labels == code, scores[:, code]) for code in range(classes) if (labels == code).any()]
    return {"auroc": float(np.mean(each))}
