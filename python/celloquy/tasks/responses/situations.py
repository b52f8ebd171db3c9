"""Situations in which a response is asked for, and how each is imitated by hiding what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Changes
from celloquy.tasks.responses.seen import COMBINATION, CONTEXT, DOSE
from celloquy.tasks.responses.unseen import Way, ways

MEASURED: Final = "measured"
NEW_PERTURBATION: Final = "new perturbation"
NEW_COMBINATION: Final = "new combination"
NEW_CONTEXT: Final = "new context"
NEW_PAIR: Final = "new pair of perturbation and context"
NEW_DOSE: Final = "new dose"
SITUATIONS: Final = (NEW_PERTURBATION, NEW_COMBINATION, NEW_CONTEXT, NEW_PAIR, NEW_DOSE)
UNTESTED: Final = {
    NEW_PERTURBATION: ("mean", 0.5), NEW_COMBINATION: ("additive", 1.0), NEW_CONTEXT: ("elsewhere", 0.5),
    NEW_PAIR: ("elsewhere", 0.5), NEW_DOSE: ("interpolation", 1.0),
}  # fmt: skip
"""Way that serves where too little was measured to try any, and its weight: halved where nothing says how far a change
carries over, which errs less than no change wherever the two correlate by a quarter."""
FOLDS: Final = 10
FEW: Final = 20
"""Groups up to which each is a fold of its own."""


def situation_of(condition: Condition, train: Changes) -> str:
    """Return the situation of a condition that is asked for; of parts that were not all measured, a new perturbation.

    The parts of such a combination are predicted one by one.
    """
    if train.place(condition) is not None:
        return MEASURED
    same = [one for one in train.conditions if one.parts == condition.parts]
    if any(one.context == condition.context for one in same):
        return NEW_DOSE
    if same:
        own = any(one.context == condition.context for one in train.conditions)
        return NEW_PAIR if own else NEW_CONTEXT
    if not condition.single and all(train.place(condition.alone(part)) is not None for part in condition.parts):
        return NEW_COMBINATION
    return NEW_PERTURBATION


def ways_of(situation: str, kinship: Kinship, train: Changes) -> dict[str, Way]:
    """Return the ways that can be tried in a situation, by name."""
    if situation == NEW_PERTURBATION:
        return ways(kinship, train.genes)
    return {NEW_COMBINATION: COMBINATION, NEW_DOSE: DOSE}.get(situation, CONTEXT)


def folds_of(situation: str, train: Changes, seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield, for each fold, which conditions are hidden and the places of those that are asked for.

    Of a new perturbation whatever contains it is hidden; of a new context all that was measured in it. Nothing is
    yielded if the situation can't be imitated at least twice.
    """
    conditions = train.conditions
    found = []
    for hidden in _hidden(situation, conditions, seed):
        left = train.only(~hidden)
        asked = [
            place
            for place in np.flatnonzero(hidden).tolist()
            if left.conditions and _like(situation, situation_of(conditions[place], left), conditions[place])
        ]
        if asked:
            found.append((hidden, np.array(asked, dtype=np.int64)))
    if len(found) > 1:
        yield from found


def _like(situation: str, found: str, condition: Condition) -> bool:
    """True if a condition whose like is hidden is in the situation."""
    return found == situation and (situation != NEW_PERTURBATION or condition.single)


def _hidden(situation: str, conditions: Sequence[Condition], seed: int) -> list[NDArray[np.bool_]]:
    """Which conditions each fold hides."""
    if situation == NEW_PERTURBATION:
        names = sorted({part for one in conditions for part in one.parts})
        return [
            np.array([bool(group & set(one.parts)) for one in conditions], dtype=bool)
            for group in ({names[at] for at in some} for some in _groups(len(names), seed))
        ]
    if situation == NEW_CONTEXT:
        contexts = sorted({one.context for one in conditions})
        return [np.array([one.context == context for one in conditions], dtype=bool) for context in contexts]
    if situation == NEW_DOSE:
        # Each fold hides one dose of each series.
        series: dict[tuple[tuple[str, ...], str], list[int]] = {}
        for place in sorted(range(len(conditions)), key=lambda at: conditions[at].dose):
            series.setdefault((conditions[place].parts, conditions[place].context), []).append(place)
        longest = max(map(len, series.values()), default=0)
        listed = [[own[at] for own in series.values() if len(own) > 1 and at < len(own)] for at in range(longest)]
        return [_mask(places, len(conditions)) for places in listed if places]
    if situation == NEW_COMBINATION:
        # In all contexts and doses, else the same combination elsewhere would tell it.
        several = sorted({one.parts for one in conditions if not one.single})
        chosen = [{several[at] for at in some} for some in _groups(len(several), seed)]
        return [np.array([one.parts in group for one in conditions], dtype=bool) for group in chosen]
    pairs = sorted({(one.parts, one.context) for one in conditions})
    drawn = [{pairs[at] for at in some} for some in _groups(len(pairs), seed)]
    return [np.array([(one.parts, one.context) in group for one in conditions], dtype=bool) for group in drawn]


def _groups(number: int, seed: int) -> list[NDArray[np.int64]]:
    """Places in folds: each alone if they are few, else drawn."""
    if number <= FEW:
        return [np.array([place]) for place in range(number)]
    return np.array_split(np.random.default_rng(seed).permutation(number), FOLDS)


def _mask(places: Sequence[int], number: int) -> NDArray[np.bool_]:
    mask = np.zeros(number, dtype=bool)
    mask[list(places)] = True
    return mask
