"""Try all ways of a situation on what was measured and hidden, and choose one of them, or a blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from sklearn.isotonic import IsotonicRegression

from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Changes, Profiles
from celloquy.tasks.responses.situations import NEW_PERTURBATION, UNTESTED, folds_of, ways_of

Matrix = NDArray[np.float64]

BLEND: Final = "blend"
NO_CHANGE: Final = "no change"
NOTHING: Final = 1e-2
"""Weight up to which a way is left out of a blend."""
WITHIN: Final = 0.9
"""Share of the changes that lie within the interval."""
REPORTED: Final = ("situation", "way", "loss", "gain", "gain_error", "chosen", "weight")
"""Columns of a report."""
LEAST_GAIN: Final = 0.01
"""Share of the loss of no change that a way must save."""
CONTROL_ERRORS: Final = 2.0
"""Standard errors of controls that a gain must exceed: it is one draw, however many conditions share it."""
ENOUGH: Final = 5
"""Held-out conditions from which on a gain must exceed its standard error; of fewer that is not known well."""
SEVERAL: Final = 10
"""Held-out conditions from which on reliability may rise with the size of the predicted change."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What was chosen for a situation, and what it is worth.

    Attributes
    ----------
    situation
        The situation.
    chosen
        Name of the way, or ``"blend"``.
    weights
        Weight of each way that is used, by name.
    report
        A row for each way, see :attr:`celloquy.ResponsePredictor.report_`; none if nothing could be tried.
    width
        ``(genes,)``: half the width of the interval.
    conditions
        Conditions that were hidden and predicted.
    predicted
        ``(conditions, genes)``: what was predicted of them.
    observed
        ``(conditions, genes)``: what was measured, against controls that the prediction did not know.
    """

    situation: str
    chosen: str
    weights: dict[str, float]
    report: pd.DataFrame
    width: NDArray[np.float64]
    conditions: tuple[Condition, ...] = ()
    predicted: Matrix = field(default_factory=lambda: np.zeros((0, 0)))
    observed: Matrix = field(default_factory=lambda: np.zeros((0, 0)))

    def predict(self, train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
        """Return the predicted changes, ``(asked, genes)``."""
        known = ways_of(self.situation, kinship, train)
        total = np.zeros((len(asked), len(train.genes)))
        for name, weight in self.weights.items():
            total += weight * known[name](train, asked, kinship)
        return total

    def reliability(self, predicted: Matrix) -> NDArray[np.float64]:
        """Return the correlation with the true change that is to be expected, ``(predictions,)``; NaN if not tried."""
        if not self.conditions:
            return np.full(len(predicted), np.nan)
        found = pearson(self.predicted, self.observed)
        if len(found) < SEVERAL or self.chosen == NO_CHANGE:
            return np.full(len(predicted), max(0.0, float(found.mean())))
        curve = IsotonicRegression(out_of_bounds="clip").fit(_size(self.predicted), found)
        return np.asarray(curve.predict(_size(predicted)).clip(0, 1))


def try_ways(situation: str, profiles: Profiles, kinship: Kinship, seed: int) -> Trial:
    """Try the ways of a situation on conditions that are hidden from them, and choose.

    The blend of all is chosen, unless a simpler way has a smaller loss. No change is chosen if nothing gains 1 %
    over it; for a new perturbation, if no gain exceeds its standard error, that of conditions and of the controls that
    they share, where conditions are enough to tell. What is learned against one half of the controls is judged against
    the other, see :meth:`Profiles.changes`.
    """
    whole = profiles.changes()
    folds = list(folds_of(situation, whole, seed))
    if not folds:
        way, share = UNTESTED[situation]
        return Trial(situation, way, {way: share}, pd.DataFrame(), _unknown(whole))
    known = ways_of(situation, kinship, whole)
    names = list(known)
    grams, fold, places = _products(profiles, kinship, situation, folds, names)
    weight = whole.weights[places] * _evened(grams[:, -1, -1])
    losses = {name: _losses(grams, np.eye(len(names))[at]) for at, name in enumerate(names)}
    losses[BLEND] = np.empty(len(grams))
    for one in np.unique(fold):
        fitted = _blend(grams[fold != one], weight[fold != one])
        losses[BLEND][fold == one] = _losses(grams[fold == one], fitted)
    mean_loss = {name: float(np.average(loss, weights=weight)) for name, loss in losses.items()}
    # Of equals the blend, or the simplest.
    best = min((name for name in (BLEND, *names)), key=mean_loss.__getitem__)
    gains = {name: losses[NO_CHANGE] - loss for name, loss in losses.items()}
    errors = {name: _error(gain, weight, places) for name, gain in gains.items()}
    weights = {best: 1.0}
    if best == BLEND:
        fitted = _blend(grams, weight)
        weights = {name: float(one) for name, one in zip(names, fitted, strict=True) if one > NOTHING}
    trial = Trial(situation, best, weights, pd.DataFrame(), _unknown(whole))
    conditions, predicted, observed = _held_out(trial, profiles, kinship, folds)
    needed = LEAST_GAIN * mean_loss[NO_CHANGE]
    # Of many ways one seems to help by chance; what a perturbation was seen to do elsewhere needs no such proof.
    if situation == NEW_PERTURBATION and len(conditions) >= ENOUGH:
        errors[best] = float(np.hypot(errors[best], _control_error(profiles, conditions, predicted, places, weight)))
        needed = max(needed, errors[best])
    if mean_loss[NO_CHANGE] - mean_loss[best] <= needed:
        best, weights, predicted = NO_CHANGE, {NO_CHANGE: 1.0}, np.zeros_like(predicted)
    # Where nothing changes at all, no change has the loss 1 all the same.
    usual = mean_loss[NO_CHANGE] or 1.0
    gain = {name: (mean_loss[NO_CHANGE] - loss) / usual for name, loss in mean_loss.items()}
    rows = [
        {
            "situation": situation,
            "way": name,
            "loss": 1 - gain[name],
            "gain": gain[name],
            "gain_error": errors[name] / usual,
            "chosen": name == best,
            "weight": weights.get(name, 0.0),
        }
        for name in losses
    ]
    width = _width(predicted, observed)
    return Trial(situation, best, weights, pd.DataFrame(rows), width, conditions, predicted, observed)


def pearson(first: Matrix, second: Matrix) -> NDArray[np.float64]:
    """Return the correlation of the rows of two matrices; 0 of a constant row."""
    first, second = (one - one.mean(1, keepdims=True) for one in (first, second))
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    product = (first * second).sum(1)
    return np.asarray(np.divide(product, size, out=np.zeros(len(product)), where=size > 1e-12))


def _halves(profiles: Profiles) -> list[tuple[Changes, Changes]]:
    """What is learned from, and what it is judged by: each half of the controls in turn, if there are two."""
    if np.array_equal(profiles.baseline[1], profiles.baseline[2]):
        return [(profiles.learned(), profiles.changes())]
    return [(profiles.learned(1), profiles.changes(2)), (profiles.learned(2), profiles.changes(1))]


def _products(
    profiles: Profiles, kinship: Kinship, situation: str, folds: Sequence[tuple[NDArray[np.bool_], NDArray[np.int64]]],
    names: Sequence[str],
) -> tuple[Matrix, NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Products of all predictions and the truth of each hidden condition, ``(conditions, ways + 1, ways + 1)``.

    All losses, and those of all blends, follow from them, so that no prediction is kept.
    """
    grams, fold, places = [], [], []
    for number, (hidden, asked) in enumerate(folds):
        for learned, judged in _halves(profiles):
            train = learned.only(~hidden)
            known = ways_of(situation, kinship, train)
            conditions = [learned.conditions[place] for place in asked]
            told = np.stack([known[name](train, conditions, kinship) for name in names] + [judged.values[asked]])
            grams += [told[:, at] @ told[:, at].T for at in range(len(asked))]
            fold += [number] * len(asked)
            places += asked.tolist()
    return np.stack(grams), np.array(fold), np.array(places)


def _held_out(
    trial: Trial, profiles: Profiles, kinship: Kinship, folds: Sequence[tuple[NDArray[np.bool_], NDArray[np.int64]]]
) -> tuple[tuple[Condition, ...], Matrix, Matrix]:
    """What is predicted of hidden conditions, and what was measured; means over the halves of the controls."""
    conditions, predicted, observed = [], [], []
    for hidden, asked in folds:
        both = []
        for learned, judged in _halves(profiles):
            own = [learned.conditions[place] for place in asked]
            both.append((trial.predict(learned.only(~hidden), own, kinship), judged.values[asked]))
        conditions += own
        predicted.append(np.mean([one for one, _ in both], axis=0))
        observed.append(np.mean([one for _, one in both], axis=0))
    return tuple(conditions), np.concatenate(predicted), np.concatenate(observed)


def _losses(grams: Matrix, weights: Matrix) -> NDArray[np.float64]:
    """Squared error of a blend for each condition, summed over genes."""
    signed = np.append(weights, -1.0)
    return np.asarray(np.einsum("nij,i,j->n", grams, signed, signed)).clip(0)


def _blend(grams: Matrix, weight: NDArray[np.float64]) -> Matrix:
    """Weights of at least 0 with the smallest squared error."""
    total = np.einsum("n,nij->ij", weight, grams)
    products, along = total[:-1, :-1], total[:-1, -1]
    # A little of a ridge: ways that agree share their weight.
    products = products + np.eye(len(products)) * max(1e-6 * np.trace(products), 1e-12)
    factor = cholesky(products, lower=True)
    return np.asarray(nnls(factor.T, solve_triangular(factor, along, lower=True))[0])


def _evened(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights by which conditions count alike, whatever the size of their change, down to the median size.

    The few perturbations that change most would choose alone otherwise.
    """
    return np.asarray(1 / (squares + np.median(squares)).clip(1e-12))


def _error(gain: NDArray[np.float64], weight: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    """Standard error of a mean gain, of conditions; two halves of the controls are no two conditions."""
    frame = pd.DataFrame({"gain": gain, "weight": weight, "place": places}).groupby("place").mean()
    if len(frame) < 2:
        return float("inf")
    share = (frame["weight"] / frame["weight"].sum()).to_numpy()
    away = (frame["gain"] - float(share @ frame["gain"].to_numpy())).to_numpy()
    return float(np.sqrt((share**2 * away**2).sum() * len(frame) / (len(frame) - 1)))


def _control_error(
    profiles: Profiles, conditions: Sequence[Condition], predicted: Matrix, places: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> float:  # fmt: skip
    """Twice the standard error of a mean gain that comes from controls, whose noise all conditions of a context share.

    A gain is ``2 y · p - p²``, so that noise ``e`` of the controls adds ``-2 e · p``. The variance of ``e`` is seen in
    the difference of the halves.
    """
    whole = profiles.changes()
    share = pd.Series(weight).groupby(places).mean()
    at = [whole.conditions.index(condition) for condition in conditions]
    own = (share / share.sum()).loc[at].to_numpy()
    noise = (profiles.baseline[1, at] - profiles.baseline[2, at]) ** 2 / 2
    contexts = np.array([condition.context for condition in conditions], dtype=object)
    variance = 0.0
    for context in set(contexts.tolist()):
        rows = contexts == context
        variance += 4 * float((own[rows] @ predicted[rows]) ** 2 @ noise[rows].mean(0))
    return CONTROL_ERRORS * variance**0.5


def _width(predicted: Matrix, observed: Matrix) -> NDArray[np.float64]:
    """Half the width, for each gene, of the interval that holds nine tenths of the changes.

    The size of a gene's errors is drawn to that of all genes, as far as few conditions tell it.
    """
    squares = (predicted - observed) ** 2
    drawn = (squares.sum(0) + squares.mean()) / (len(squares) + 1)
    size = np.sqrt(drawn).clip(1e-9)
    return np.asarray(size * np.quantile(np.abs(predicted - observed) / size, WITHIN))


def _unknown(changes: Changes) -> NDArray[np.float64]:
    return np.full(len(changes.genes), np.nan)


def _size(changes: Matrix) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((changes**2).sum(1)))
