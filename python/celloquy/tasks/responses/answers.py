"""Answers to what is asked: measured, predicted, or the sum of the parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Profiles
from celloquy.tasks.responses.situations import MEASURED, NEW_PERTURBATION, situation_of
from celloquy.tasks.responses.trials import BLEND, Trial

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """The predicted response to a condition.

    Attributes
    ----------
    change
        ``(genes,)``.
    width
        ``(genes,)``: half the width of the interval.
    situation
        How the condition is new.
    method
        What predicts it.
    reliability
        Correlation with the true change that can be expected.
    """

    change: NDArray[np.float64]
    width: NDArray[np.float64]
    situation: str
    method: str
    reliability: float


def answered(
    asked: Sequence[Condition], profiles: Profiles, kinship: Kinship, trials: Mapping[str, Trial]
) -> list[Answer]:
    """Return the answers; a combination of parts that were not all measured is the sum of what they do alone."""
    train = profiles.learned()
    situations = {condition: situation_of(condition, train) for condition in asked}
    parts = {
        condition: [condition.alone(part) for part in condition.parts]
        for condition, situation in situations.items()
        if situation == NEW_PERTURBATION and not condition.single
    }
    whole = [condition for condition in situations if condition not in parts]
    found = _each(dict.fromkeys([*whole, *(part for own in parts.values() for part in own)]), profiles, kinship, trials)
    for condition, own in parts.items():
        each = [found[part] for part in own]
        found[condition] = Answer(
            np.sum([one.change for one in each], axis=0),
            np.sqrt(np.sum([one.width**2 for one in each], axis=0)),
            NEW_PERTURBATION,
            "sum of the parts: " + " | ".join(dict.fromkeys(one.method for one in each)),
            min(one.reliability for one in each),
        )
    return [found[condition] for condition in asked]


def said(trial: Trial) -> str:
    """Return what a trial chose, in words."""
    if trial.chosen != BLEND:
        return trial.chosen if trial.conditions else f"{trial.chosen} (untried)"
    ordered = sorted(trial.weights.items(), key=lambda one: -one[1])
    return " + ".join(f"{weight:.2f} {name}" for name, weight in ordered) or "no change"


def _each(
    conditions: Mapping[Condition, None], profiles: Profiles, kinship: Kinship, trials: Mapping[str, Trial]
) -> dict[Condition, Answer]:
    """Answers to conditions that are not sums, those of one situation together."""
    train, measured = profiles.learned(), profiles.changes()
    of_situation: dict[str, list[Condition]] = {}
    for condition in conditions:
        of_situation.setdefault(situation_of(condition, train), []).append(condition)
    found: dict[Condition, Answer] = {}
    for situation, own in of_situation.items():
        if situation == MEASURED:
            for condition in own:
                change = measured.values[measured.conditions.index(condition)]
                found[condition] = Answer(change, np.full(len(change), np.nan), MEASURED, MEASURED, 1.0)
            continue
        trial = trials[situation]
        predicted = trial.predict(train, own, kinship)
        reliable = trial.reliability(predicted)
        for condition, change, trust in zip(own, predicted, reliable.tolist(), strict=True):
            found[condition] = Answer(change, trial.width, situation, said(trial), trust)
    return found
