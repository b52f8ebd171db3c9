"""The blend of the predictors, and the reliability of each gene, both learned from genes of the panel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]

STEP = 0.25
"""Step between the weights that are tried."""

SMOOTHING = (0.0, 0.25, 0.5)
"""Shares of a cell's neighbours in the tissue that are tried."""

PENALTY = 1.0
"""Ridge penalty of the regression of reliability on what is known of a gene."""


@dataclass(frozen=True)
class Blend:
    """Weights of the predictors, and the share of the neighbours in the tissue."""

    weights: tuple[float, ...]
    smoothing: float

    def apply(self, values: NDArray[np.float32], smoothed: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the blend ``(cells, genes)`` of predictions ``(predictors, cells, genes)``, plain and smoothed."""
        mean = np.tensordot(self.weights, values, 1) * (1 - self.smoothing)
        if self.smoothing:
            mean += np.tensordot(self.weights, smoothed, 1) * self.smoothing
        return np.maximum(mean, 0).astype(np.float32)


def smooth(nearest: sparse.csr_matrix, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return predictions ``(predictors, cells, genes)`` averaged over each cell's neighbours, if it has any."""
    alone = np.diff(nearest.indptr) == 0
    smoothed = np.stack([nearest @ one for one in values]).astype(np.float32)
    smoothed[:, alone] = values[:, alone]
    return smoothed


def moments(true: NDArray[np.float32], values: NDArray[np.float32], smoothed: NDArray[np.float32]) -> Array:
    """Return means of products, ``(genes, 2 + 2p, 2 + 2p)``, of: 1, the truth, ``p`` predictions, these smoothed."""
    one = np.ones_like(true)
    stack = np.stack([one, true, *values, *smoothed]).astype(np.float64)
    found: Array = np.einsum("acg,bcg->gab", stack, stack, optimize=True) / len(true)
    return found


def choose_blend(products: Array) -> tuple[Blend, Array]:
    """Choose the blend with the highest mean of correlation and cosine over the panel's genes.

    Parameters
    ----------
    products
        ``(genes, …)`` from :func:`moments`, of genes that the predicting model had not seen in the panel.

    Returns
    -------
    The blend, and the correlation ``(genes,)`` that it reaches.
    """
    predictors = (products.shape[1] - 2) // 2
    steps = round(1 / STEP)
    best, chosen, reached = -np.inf, Blend((1.0, *[0.0] * (predictors - 1)), 0.0), np.zeros(len(products))
    for parts in product(range(steps + 1), repeat=predictors):
        if sum(parts) != steps:
            continue
        for smoothing in SMOOTHING:
            weights = np.array(parts) * STEP
            both = np.concatenate([weights * (1 - smoothing), weights * smoothing])
            correlation, cosine = agreement(products, both)
            score = float(np.mean(correlation + cosine))
            if score > best + 1e-12:
                best, chosen, reached = score, Blend(tuple(map(float, weights)), smoothing), correlation
    return chosen, reached


def agreement(products: Array, weights: Array) -> tuple[Array, Array]:
    """Return correlation and cosine ``(genes,)`` of the truth with a weighted sum of the predictions."""
    mean_true, mean_found = products[:, 0, 1], products[:, 0, 2:] @ weights
    cross = products[:, 1, 2:] @ weights
    square_true = products[:, 1, 1]
    square_found = np.einsum("a,gab,b->g", weights, products[:, 2:, 2:], weights)
    cosine = _ratio(cross, square_true * square_found)
    spread = np.maximum(square_true - mean_true**2, 0) * np.maximum(square_found - mean_found**2, 0)
    return _ratio(cross - mean_true * mean_found, spread), cosine


def describe(values: NDArray[np.float32], reference: Array) -> Array:
    """Return what is known of a gene without measuring it in the panel, ``(genes, 5)``.

    How well the latent explains it in the reference, how far the predictors agree, its level, and its spread.

    Parameters
    ----------
    values
        ``(predictors, cells, genes)``.
    reference
        ``(genes,)``, correlation in the reference.
    """
    mean, spread = values.mean(axis=1), values.std(axis=1)
    centred = (values - mean[:, None]) / np.maximum(spread, 1e-9)[:, None]
    agree = [(centred[a] * centred[b]).mean(axis=0) for a, b in ((0, 1), (0, 2), (1, 2))]
    level = np.log1p(np.maximum(mean[1], 0))
    relative = np.log(np.maximum(spread[1], 1e-6)) - np.log(np.maximum(mean[1], 1e-6))
    return np.stack([reference, np.mean(agree, axis=0), np.min(agree, axis=0), level, relative], axis=1).astype(float)


def predict_reliability(panel: Array, reached: Array, wanted: Array) -> Array:
    """Predict the correlation ``(w,)`` of genes that are not in the panel.

    Ridge regression, over the panel's genes, of the correlation that was reached on what is known of a gene.

    Parameters
    ----------
    panel, wanted
        ``(genes, 5)`` and ``(w, 5)`` from :func:`describe`.
    reached
        ``(genes,)``.
    """
    mean, spread = panel.mean(axis=0), np.maximum(panel.std(axis=0), 1e-9)
    known, unknown = (panel - mean) / spread, (wanted - mean) / spread
    level = reached.mean()
    # With few genes the penalty weighs more, and the prediction stays near the mean.
    gram = known.T @ known + PENALTY * known.shape[1] * np.eye(known.shape[1])
    slopes = np.linalg.solve(gram, known.T @ (reached - level))
    return np.clip(level + np.clip(unknown, -3, 3) @ slopes, -1, 1)


def _ratio(products: Array, squares: Array) -> Array:
    return np.where(squares > 1e-18, products / np.sqrt(np.maximum(squares, 1e-18)), 0.0)
