"""Blend readings: weights under which they tell held-out genes best, none of them negative.

Stacked regressions (Wolpert 1992; Breiman 1996). The weights calibrate, too: one reading alone is scaled as by Platt
(1999), so the probabilities are those of genes that the readings have not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Matrix = NDArray[np.float64]

PRIOR: Final = 1.0
"""Strength of the prior that all readings weigh the same, in genes."""


@dataclass(frozen=True, eq=False)
class Blend:
    """Weights of readings, and an offset of each class.

    Attributes
    ----------
    weights
        ``(readings,)``, 0 or more.
    offset
        ``(k,)``.
    """

    weights: NDArray[np.float64]
    offset: NDArray[np.float64]

    def scores(self, readings: Sequence[Matrix], classes: int) -> Matrix:
        """Return log probabilities ``(genes, classes)``, or the number ``(genes, 1)``."""
        total = self.offset + sum(
            (weight * one for weight, one in zip(self.weights, readings, strict=True)), np.zeros_like(readings[0])
        )
        return np.asarray(log_softmax(total, axis=1)) if classes else total


def blend(readings: Sequence[Matrix], labels: NDArray[np.generic], classes: int) -> Blend:
    """Return the weights for readings of genes to which these were not fitted.

    Parameters
    ----------
    readings
        ``(genes, k)`` each: log probabilities, or a number.
    labels
        ``(genes,)``: classes from 0, or numbers of mean 0 and variance 1.
    classes
        Number of classes; 0 for numbers.
    """
    stacked = np.stack(readings)
    many, genes, width = stacked.shape
    even = np.full(many, 1 / many)
    told = np.eye(classes)[labels.astype(np.int64)] if classes else labels.astype(np.float64)[:, None]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, offset = values[:many], values[many:]
        total = np.tensordot(weights, stacked, 1) + offset
        if classes:
            logs = log_softmax(total, axis=1)
            found, slope = -(logs * told).sum() / genes, (np.exp(logs) - told) / genes
        else:
            found, slope = ((total - told) ** 2).sum() / genes / 2, (total - told) / genes
        apart = weights - even
        # The offset of classes is free but for what they share.
        found += PRIOR / genes * (0.5 * (apart**2).sum() + 0.005 * (offset**2).sum())
        downhill = np.tensordot(stacked, slope, ([1, 2], [0, 1])) + PRIOR / genes * apart
        return float(found), np.append(downhill, slope.sum(0) + 0.01 * PRIOR / genes * offset)

    bounds = [(0.0, None)] * many + [(None, None)] * width
    fitted = minimize(loss, np.append(even, np.zeros(width)), jac=True, bounds=bounds, method="L-BFGS-B").x
    return Blend(fitted[:many], fitted[many:])


def blend_held_out(
    readings: Sequence[Matrix], labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64]
) -> Matrix:
    """Return the blended scores ``(genes, k)`` of each gene, by weights that its own fold had no part in."""
    found = np.zeros_like(readings[0])
    for number in np.unique(fold):
        own = fold == number
        weights = blend([one[~own] for one in readings], labels[~own], classes)
        found[own] = weights.scores([one[own] for one in readings], classes)
    return found
