"""Scores of predicted responses: how well changes of expression are told, and told apart."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from celloquy.errors import ArgumentError

Matrix = NDArray[np.float64]

EXPRESSED: Final = 1000
"""Genes that are scored: those most expressed in control (Ahlmann-Eltze et al. 2025)."""
MOST: Final = 1e100
STRONGEST: Final = 100
"""Genes whose change is largest, up or down, of which the overlap is taken; a tenth of the genes if that is fewer."""


def score_responses(predicted: Matrix, observed: Matrix, expression: Matrix | None = None) -> pd.DataFrame:
    """Compare predicted with observed changes of expression.

    No single score will do: the mean of all perturbations has a high correlation, no change a small distance, and
    neither tells one perturbation from another.

    Parameters
    ----------
    predicted, observed
        Changes against control, ``(conditions, genes)``.
    expression
        Mean expression in control, ``(genes,)`` or ``(conditions, genes)``: the 1,000 most expressed genes are scored.
        By default all are.

    Returns
    -------
    A table with a row for each condition:

    ``pearson``, ``spearman``
        Correlation of the changes; 0 of a prediction without any.
    ``l2``
        Euclidean distance of the changes (Ahlmann-Eltze et al. 2025, Nature Methods).
    ``mae``
        Mean absolute difference.
    ``overlap``
        Share of the 100 genes that change most which are predicted to, with the right sign.
    ``discrimination``
        Share of the other conditions that the prediction is farther from than from its own, by Euclidean distance (Wu
        et al. 2024, PerturBench; STATE's perturbation discrimination score): 1 is best, .5 is chance.

    Raises
    ------
    ArgumentError
        If shapes differ, or a value is no finite number.

    Examples
    --------
    >>> import celloquy as cq
    >>> observed = np.array([[1.0, 0.0, -1.0]])
    >>> scores = cq.evaluate.score_responses(0.5 * observed, observed)
    >>> scores["pearson"].tolist()
    """
    predicted, observed = _numbers(predicted, "predicted"), _numbers(observed, "observed")
    if predicted.ndim != 2 or predicted.shape != observed.shape or not predicted.size:
        raise _not_comparable(f"predicted {predicted.shape}, observed {observed.shape}", "predicted")
    kept = _expressed(expression, predicted.shape)
    first, second = np.take_along_axis(predicted, kept, 1), np.take_along_axis(observed, kept, 1)
    return pd.DataFrame({
        "pearson": _correlation(first, second),
        "spearman": _correlation(rankdata(first, axis=1), rankdata(second, axis=1)),
        "l2": np.sqrt(((first - second) ** 2).sum(1)),
        "mae": np.abs(first - second).mean(1),
        "overlap": _overlap(first, second),
        "discrimination": _discrimination(predicted, observed),
    })  # fmt: skip


def _numbers(values: object, argument: str) -> Matrix:
    """Numbers, none of which is missing, infinite, or so large that its square is."""
    try:
        with warnings.catch_warnings(action="error"):
            found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, Warning) as error:
        raise _not_comparable(f"{type(values).__name__} that holds no numbers", argument) from error
    if not (np.abs(found) <= MOST).all():
        raise _not_comparable("values that are missing, infinite or too large", argument)
    return found


def _not_comparable(found: str, argument: str) -> ArgumentError:
    return ArgumentError(
        "These changes can't be compared.",
        found=found,
        expected="finite numbers, conditions × genes, of one shape",
        remedy="take the same conditions and genes of both, in one order.",
        argument=argument,
    )


def _expressed(expression: Matrix | None, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Places of the genes that are scored, for each condition."""
    if expression is None:
        return np.tile(np.arange(shape[1]), (shape[0], 1))
    level = _numbers(expression, "expression")
    if level.shape not in (shape, shape[1:]):
        raise _not_comparable(f"expression {level.shape} of changes {shape}", "expression")
    level = np.broadcast_to(level, shape)
    return np.argsort(-level, axis=1, kind="stable")[:, :EXPRESSED]


def _correlation(first: Matrix, second: Matrix) -> NDArray[np.float64]:
    first, second = (one - one.mean(1, keepdims=True) for one in (first, second))
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.divide((first * second).sum(1), size, out=np.zeros(len(first)), where=size > 1e-12)


def _overlap(first: Matrix, second: Matrix) -> NDArray[np.float64]:
    number = max(1, min(STRONGEST, first.shape[1] // 10))
    shares = []
    for told, true in zip(first, second, strict=True):
        best, real = (np.argsort(-np.abs(one), kind="stable")[:number] for one in (told, true))
        common = np.intersect1d(best, real)
        shares.append(float((np.sign(told[common]) * np.sign(true[common]) > 0).sum()) / number)
    return np.array(shares)


def _discrimination(predicted: Matrix, observed: Matrix) -> NDArray[np.float64]:
    """Share of other conditions that lie farther; half of those that lie as far, so that equal predictions score .5."""
    if len(predicted) < 2:
        return np.full(len(predicted), np.nan)
    squares = (predicted**2).sum(1)[:, None] + (observed**2).sum(1)[None] - 2 * predicted @ observed.T
    own = np.diag(squares)[:, None]
    tie = 1e-9 * np.abs(squares).max()
    farther = (squares > own + tie).sum(1) + 0.5 * ((np.abs(squares - own) <= tie).sum(1) - 1)
    return np.asarray(farther / (len(predicted) - 1))
