"""Weigh the readings of samples by how well each tells samples that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.properties.choice import ALL, NOTHING, PREVALENCE, measure
from celloquy.tasks.properties.reading import loss_of_genes as loss_of

Matrix = NDArray[np.float64]

SHARPNESS: Final = 0.5
"""Power of the likelihood by which readings weigh. Half of it, because folds share samples, so their losses are not as
sure as those of as many new samples."""


def weigh(
    tried: Mapping[str, Matrix], labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64]
) -> tuple[tuple[str, ...], Blend, pd.DataFrame, Matrix]:
    """Return the readings that have a part, their weights, a report, and what they say of held-out samples together.

    A reading weighs by the likelihood of the held-out samples under it, beside the prevalence, which knows no cell
    (pseudo-Bayesian model averaging, Yao et al. 2018, Bayesian Analysis, of logits). Few samples tell readings apart
    little: then all weigh alike. Weights that are fitted, or the choice of one reading, are too sure of them.

    Parameters
    ----------
    tried
        What each reading says of samples that it was fitted without, ``(samples, k)``.
    labels
        ``(samples,)``: classes from 0, or numbers of mean 0 and variance 1.
    classes
        Number of classes; 0 for numbers.
    fold
        ``(samples,)``: what is held out together; samples are told by weights that do not rest on their fold.
    """
    usual = np.log(np.bincount(labels.astype(np.int64), minlength=classes) / len(labels)) if classes else np.zeros(1)
    said = {PREVALENCE: np.tile(usual, (len(labels), 1)), **tried}
    losses = np.stack([loss_of(one, labels, classes) for one in said.values()])
    stacked, held_out = np.stack(list(said.values())), np.zeros((len(labels), max(1, classes)))
    for number in np.unique(fold):
        own = fold == number
        shares = softmax(-SHARPNESS * losses[:, ~own].sum(1))
        held_out[own] = Blend(shares, np.zeros(stacked.shape[2])).scores(list(stacked[:, own]), classes)
    shares = softmax(-SHARPNESS * losses.sum(1))
    weights = dict(zip(said, shares, strict=True))
    # What weighs nothing need not be computed.
    best = max(tried, key=lambda name: float(weights[name]))
    readings = tuple(name for name in tried if weights[name] > NOTHING or name == best)
    blend = Blend(np.array([weights[name] for name in readings]), weights[PREVALENCE] * usual)
    losses = np.vstack([losses, loss_of(held_out, labels, classes)])
    gains = losses[0] - losses
    rows = [
        {
            "way": name,
            "loss": float(loss.mean()),
            "gain": float(gain.mean()),
            "gain_error": float(gain.std(ddof=1) / np.sqrt(len(labels))),
            **measure(scores, labels, classes),
            "weight": float(weights.get(name, 1.0)),
        }
        for (name, scores), loss, gain in zip([*said.items(), (ALL, held_out)], losses, gains, strict=True)
    ]
    return readings, blend, pd.DataFrame(rows).set_index("way"), held_out
