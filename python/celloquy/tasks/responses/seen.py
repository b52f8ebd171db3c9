"""Ways to predict a perturbation that was measured: elsewhere, at other doses, or its parts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.kinship import Kinship, circumstances
from celloquy.tasks.responses.profiles import Changes
from celloquy.tasks.responses.unseen import Way, mean, no_change

Matrix = NDArray[np.float64]

SHARPNESS = 20.0
"""How fast contexts count for less as the correlation of their controls falls."""
MOST_FOLD = 20.0
"""Fold change that is carried to another context, at most."""
LEAST_LEVEL = 0.05
"""Expression, in counts per 10,000, that is added to both sides of a fold change, so that it is finite."""


def additive(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Sum of the changes of the parts alone."""
    return np.stack([_parts(train, condition).sum(0) for condition in asked])


def mean_of_parts(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Mean of the changes of the parts alone."""
    return np.stack([_parts(train, condition).mean(0) for condition in asked])


def largest_part(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """For each gene the larger of the changes of the parts."""
    found = []
    for condition in asked:
        parts = _parts(train, condition)
        found.append(np.take_along_axis(parts, np.abs(parts).argmax(0)[None], 0)[0])
    return np.stack(found)


def mean_of_combinations(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """Mean of the combinations that were measured."""
    several = np.array([not one.single for one in train.conditions], dtype=bool)
    if not several.any():
        return no_change(train, asked, kinship)
    return mean(train.only(several), asked, kinship)


def elsewhere(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Mean of the changes under the same perturbation in other contexts."""
    return np.stack([weights @ train.values for weights in _elsewhere(train, asked)])


def like_contexts(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """The same, where contexts count for more whose controls express like those of the context that is asked for."""
    return np.stack([weights @ train.values for weights in _elsewhere(train, asked, SHARPNESS)])


def fold_change(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Mean fold change under the same perturbation in other contexts, on the level of the controls of this one."""
    return _fold_changes(train, asked, _elsewhere(train, asked))


def like_fold_change(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """The same, where contexts count for more whose controls express like those of the context that is asked for."""
    return _fold_changes(train, asked, _elsewhere(train, asked, SHARPNESS))


def _fold_changes(train: Changes, asked: Sequence[Condition], shares: Matrix) -> Matrix:
    found = []
    for condition, weights in zip(asked, shares, strict=True):
        there = np.flatnonzero(weights)
        logged = np.zeros(len(train.genes))
        for place in there:
            before = train.control_of(train.conditions[place].context)
            after = (before + train.values[place]).clip(0)
            ratio = (np.expm1(after) + LEAST_LEVEL) / (np.expm1(before) + LEAST_LEVEL)
            logged += weights[place] * np.log(ratio.clip(1 / MOST_FOLD, MOST_FOLD))
        own = train.control_of(condition.context)
        raised = ((np.expm1(own) + LEAST_LEVEL) * np.exp(logged) - LEAST_LEVEL).clip(0)
        found.append(np.log1p(raised) - own)
    return np.stack(found)


def shifted(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """Change elsewhere, shifted by how other perturbations differ between this context and those."""
    found = elsewhere(train, asked, kinship)
    for row, (condition, weights) in enumerate(zip(asked, _elsewhere(train, asked), strict=True)):
        others = np.array([one.context == condition.context for one in train.conditions], dtype=bool)
        if others.any():
            here = train.values[others].mean(0)
            there = np.zeros_like(here)
            for context in {train.conditions[place].context for place in np.flatnonzero(weights)}:
                own = np.array([one.context == context for one in train.conditions], dtype=bool)
                share = weights[own].sum()
                there += share * train.values[own].mean(0)
            found[row] += here - there
    return found


def nearest_dose(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Change at the nearest dose, on a logarithmic scale."""
    found = []
    for condition in asked:
        places, logs = _doses(train, condition)
        found.append(train.values[places[int(np.abs(logs - np.log10(condition.dose)).argmin())]])
    return np.stack(found)


def interpolated_dose(train: Changes, asked: Sequence[Condition], _: Kinship) -> Matrix:
    """Change between the neighbouring doses, linear in the logarithm of the dose; beyond the last one as there."""
    found = []
    for condition in asked:
        places, logs = _doses(train, condition)
        weights = [np.interp(np.log10(condition.dose), logs, row) for row in np.eye(len(logs))]
        found.append(np.array(weights) @ train.values[places])
    return np.stack(found)


def dose_curve(train: Changes, asked: Sequence[Condition], kinship: Kinship) -> Matrix:
    """Change at the neighbouring doses, scaled as the size of all other changes goes with the dose.

    Sizes rise with the dose along a line of the logarithms of both, whose slope all perturbations share; it serves
    where the dose that is asked for lies beyond those that were measured.
    """
    slope = _slope(train)
    found = interpolated_dose(train, asked, kinship)
    for row, condition in enumerate(asked):
        _, logs = _doses(train, condition)
        beyond = np.log10(condition.dose) - np.clip(np.log10(condition.dose), logs.min(), logs.max())
        found[row] *= 10 ** (slope * beyond)
    return found


COMBINATION: dict[str, Way] = {
    "no change": no_change, "mean": mean_of_combinations, "mean of parts": mean_of_parts, "largest part": largest_part,
    "additive": additive,
}  # fmt: skip
"""Ways for a combination whose parts were measured alone."""
CONTEXT: dict[str, Way] = {
    "no change": no_change, "mean": mean, "elsewhere": elsewhere, "like contexts": like_contexts,
    "fold change": fold_change, "like fold change": like_fold_change, "shifted": shifted,
}  # fmt: skip
"""Ways for a perturbation that was measured in other contexts."""
EFFECTS: dict[str, Way] = {"no change": no_change, "mean": mean, "elsewhere": elsewhere, "shifted": shifted}
"""The same, where effects are known and no controls."""
DOSE: dict[str, Way] = {
    "no change": no_change, "mean": mean, "nearest dose": nearest_dose, "interpolation": interpolated_dose,
    "dose curve": dose_curve, "elsewhere": elsewhere,
}  # fmt: skip
"""Ways for a perturbation that was measured in this context at other doses."""


def _parts(train: Changes, condition: Condition) -> Matrix:
    """Changes of the parts alone, ``(parts, genes)``."""
    places = [train.place(condition.alone(part)) for part in condition.parts]
    return train.values[[place for place in places if place is not None]]


def _elsewhere(train: Changes, asked: Sequence[Condition], sharpness: float = 0.0) -> Matrix:
    """Weights ``(asked, conditions)`` of the conditions of the same parts in other contexts; like doses count more."""
    weights = np.zeros((len(asked), len(train.conditions)))
    for row, condition in enumerate(asked):
        same = np.array([one.parts == condition.parts for one in train.conditions], dtype=bool)
        same &= np.array([one.context != condition.context for one in train.conditions], dtype=bool)
        places = np.flatnonzero(same)
        own = [train.conditions[place] for place in places]
        # All are of other contexts, so that likeness is that of doses.
        weights[row, places] = circumstances([condition], own)[0] ** 4 * train.weights[places].clip(1e-6)
        if sharpness:
            here = train.control_of(condition.context)
            alike = np.array([_correlation(train.control_of(one.context), here) for one in own])
            weights[row, places] *= np.exp(sharpness * (alike - alike.max(initial=-1)))
        weights[row] /= max(float(weights[row].sum()), 1e-12)
    return weights


def _doses(train: Changes, condition: Condition) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of the other doses of a condition, and their logarithms, rising."""
    own = [
        (np.log10(one.dose), place)
        for place, one in enumerate(train.conditions)
        if one.parts == condition.parts and one.context == condition.context and one.dose != condition.dose
    ]
    own.sort()
    return np.array([place for _, place in own], dtype=np.int64), np.array([log for log, _ in own])


def _slope(train: Changes) -> float:
    """Common slope of the logarithm of the size of changes with that of the dose; 0 if there is none."""
    sizes = np.log10(np.sqrt((train.values**2).sum(1)).clip(1e-9))
    logs = np.log10([one.dose for one in train.conditions])
    series: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for place, one in enumerate(train.conditions):
        series.setdefault((one.parts, one.context), []).append(place)
    along, across = 0.0, 0.0
    for places in series.values():
        away = logs[places] - logs[places].mean()
        along += float(away @ (sizes[places] - sizes[places].mean()))
        across += float(away @ away)
    return float(np.clip(along / across, 0.0, 1.0)) if across > 0 else 0.0


def _correlation(first: Matrix, second: Matrix) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
