"""Scores by linear dependence: partial correlation with shrinkage, and ridge regression on the regulators."""

from __future__ import annotations

import numpy as np

from celloquy.tasks.networks.moments import Array, Moments

_PENALTIES = np.logspace(-3, 1, 13)


def partial_correlation(found: Moments) -> Array:
    """Return the correlation of each regulator with each target, given all other regulators, ``(regulators, targets)``.

    Correlations are shrunk toward 0 beforehand, by the share that Schäfer and Strimmer (2005) find for a target of
    independent genes from the correlations themselves: the mean variance of a correlation over its mean square.
    """
    kept = 1 - _shrinkage(found)
    among = found.among * kept
    np.fill_diagonal(among, 1)
    precision = np.linalg.inv(among)
    slope = precision @ (found.across * kept)
    rest = np.clip(1 - (slope * found.across * kept).sum(0), 1e-6, None)
    # Of the precision matrix of all regulators and the target: -omega_rt / sqrt(omega_rr omega_tt).
    partial = slope / np.sqrt(rest * np.diag(precision)[:, None] + slope**2)
    scale = np.sqrt(np.outer(np.diag(precision), np.diag(precision)))
    return _with_regulators(found, partial, -precision / scale)


def ridge(found: Moments) -> Array:
    """Return the coefficients of a ridge regression of each target on all regulators, ``(regulators, targets)``.

    All genes have variance 1. The penalty, one for all targets, is that of the smallest generalised cross-validation
    error (Golub, Heath and Wahba 1979). A regulator that is a target is regressed on the others.
    """
    size, axes = np.linalg.eigh(found.among)
    size = size.clip(min=0)
    others = found.own < 0
    along = axes.T @ (found.across[:, others] if others.any() else found.across)
    errors = []
    for penalty in _PENALTIES:
        kept = along / (size + penalty)[:, None]
        rest = 1 - 2 * (kept * along).sum(0) + (kept**2 * size[:, None]).sum(0)
        freedom = (size / (size + penalty)).sum() / found.cells
        errors.append(np.mean(rest) / max(1 - freedom, 1e-3) ** 2)
    penalty = _PENALTIES[int(np.argmin(errors))]
    precision = (axes / (size + penalty)) @ axes.T
    return _with_regulators(found, precision @ found.across, -precision / np.diag(precision))


def _with_regulators(found: Moments, scores: Array, among: Array) -> Array:
    """Return scores in which those of regulators with each other take the place of those of targets."""
    places = np.flatnonzero(found.own >= 0)
    scores[:, places] = among[:, found.own[places]]
    return scores


def _shrinkage(found: Moments) -> float:
    """Return the share by which correlations are shrunk, from 0 to 1."""
    upper = found.among[np.triu_indices(len(found.among), 1)]
    if not len(upper) or not (square := float(np.square(upper).sum())):
        return 1.0 if len(upper) else 0.0
    # The variance of a correlation of normal values is (1 - r²)² / (n - 1).
    variance = float(np.square(1 - np.square(upper)).sum()) / max(found.cells - 1, 1)
    return min(1.0, variance / square)
