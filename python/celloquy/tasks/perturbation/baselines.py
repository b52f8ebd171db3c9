"""The simple ways to rank drivers, which need no model: what differs between the states, and what follows the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class SimpleScores:
    """Scores of ``g`` genes by their log1p of counts per 10,000."""

    log_fold_change: Array
    """Mean in the target less mean in the source."""
    t: Array
    """The same over its standard error (Welch's t); 0 for a gene that no cell expresses."""
    correlation: Array
    """Pearson's r with how far each cell is on the way from source to target; 0 for a gene that does not vary."""


def simple_scores(logged: sparse.csc_matrix, is_target: NDArray[np.bool_], along: Array) -> SimpleScores:
    """Return the simple scores of genes.

    Parameters
    ----------
    logged
        ``(n, g)``, log1p of counts per 10,000 of the cells of both states.
    is_target
        ``(n,)``.
    along
        ``(n,)``: place of each cell on the way.
    """
    means, variances = zip(*(_moments(logged[chosen]) for chosen in (is_target, ~is_target)), strict=True)
    n_target, n_source = int(is_target.sum()), int((~is_target).sum())
    change = means[0] - means[1]
    error = np.sqrt(variances[0] / n_target + variances[1] / n_source)
    centred = along - along.mean()
    _, variance = _moments(logged)
    covariance = np.asarray(logged.T @ centred).ravel() / (len(along) - 1)
    size = np.sqrt(variance * (centred @ centred) / (len(along) - 1))
    return SimpleScores(
        log_fold_change=change,
        # A gene that is constant in both states has no error of its own.
        t=change / np.maximum(error, 1e-3),
        correlation=np.where(size > 1e-12, covariance / np.maximum(size, 1e-12), 0.0),
    )


def _moments(values: sparse.csc_matrix) -> tuple[Array, Array]:
    """Mean and variance of each column."""
    n = values.shape[0]
    mean = np.asarray(values.mean(0)).ravel()
    square = np.asarray(values.power(2).mean(0)).ravel()
    return mean, np.maximum(square - mean**2, 0) * n / max(n - 1, 1)
