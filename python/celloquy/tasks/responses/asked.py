"""The conditions that are asked for, checked against what was measured and what is known."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd

from celloquy.checks import check_names, check_number, listed, refuse
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.genes import Prior
from celloquy.genes.nearest import said_nearest
from celloquy.genes.priors import PRIORS
from celloquy.tasks.properties.sources import CELLS, KINDS, VECTORS, check_evidence
from celloquy.tasks.responses.conditions import Condition, Naming, doses_of
from celloquy.tasks.responses.kinship import Kinship
from celloquy.tasks.responses.profiles import Changes, Profiles

USUAL: Final = (*PRIORS, VECTORS)
"""What describes perturbed genes where the user does not say."""


def check_priors(priors: object) -> list[str | pd.DataFrame | Prior]:
    """Return the kinds of features of genes that are asked for.

    Raises
    ------
    ArgumentError
        If there is no such kind, or it needs cells.
    """
    if isinstance(priors, str) and priors == "auto":
        return list(USUAL)
    if isinstance(priors, str) and priors == CELLS:
        refuse("priors", priors, '"auto", or some of ' + ", ".join(repr(kind) for kind in KINDS if kind != CELLS))
    try:
        return check_evidence(priors, None)
    except ArgumentError as error:
        raise ArgumentError(
            "`priors` can't be used.", found=error.found, expected=error.expected, remedy="change it, or leave it out.",
            argument="priors",
        ) from error  # fmt: skip


def asked_conditions(
    profiles: Profiles,
    naming: Naming,
    perturbations: str | Iterable[str] | None,
    contexts: str | Iterable[str] | None,
    doses: float | Iterable[float] | None,
) -> list[Condition]:
    """Return the conditions that are asked for: each perturbation in each context at each dose.

    Raises
    ------
    ArgumentError
        If nothing is named, a name is the control's, a context has no control, or a dose is no number above 0.
    """
    if perturbations is None:
        parts = sorted({one.parts for one in profiles.conditions if one.single})
        if not parts:
            several = sorted({naming.name(one.parts) for one in profiles.conditions})
            raise ArgumentError(
                "No perturbation was measured alone.",
                found=some(map(repr, several)),
                expected="names of what is asked for",
                remedy="pass some as `perturbations`.",
                argument="perturbations",
            )
    else:
        expected = f'names of perturbations, several with "{naming.separator}" between them'
        named = check_names("perturbations", perturbations, expected)
        parts = [naming.parts(name) for name in named]
        if not named or not all(parts):
            empty = [name for name, own in zip(named, parts, strict=True) if not own]
            refuse("perturbations", empty[0] if empty else perturbations, expected + ", other than the control")
    known = [context for context, n in zip(profiles.contexts, profiles.n_control, strict=True) if n > 0]
    # Tables of effects have no controls, and a context of them is no more than a name.
    wanted = known or list(profiles.contexts)
    if contexts is not None:
        expected = "names of contexts"
        wanted = check_names("contexts", contexts, expected) or refuse("contexts", contexts, expected)
    if known and (missing := [context for context in wanted if context not in known]):
        raise ArgumentError(
            "There are no controls of these contexts.",
            found=some(map(repr, missing)),
            expected=f"contexts with controls, {some(map(repr, known))}",
            remedy="pass their control cells as `controls`, or leave them out.",
            argument="contexts",
        )
    if doses is None:
        amounts = doses_of(profiles.conditions)
    else:
        amounts = listed(doses) or refuse("doses", doses, "numbers above 0")
        for dose in amounts:
            check_number("doses", dose, exclude_least=True, most=sys.float_info.max)
    return [
        Condition(own, context, float(dose)) for own in dict.fromkeys(parts) for context in wanted for dose in amounts
    ]


def refuse_unknown(asked: Iterable[Condition], train: Changes, kinship: Kinship, described: Iterable[object]) -> None:
    """Refuse perturbations that were not measured, of which nothing is known, and that the user did not describe.

    Raises
    ------
    GenesError
        If there is such a one; it tells the nearest names.
    """
    measured = {part for one in train.conditions for part in one.parts}
    known = np.zeros(len(kinship.names), dtype=bool)
    for features in kinship.features.values():
        known |= np.diff(features.indptr) > 0
    told = {name for name, there in zip(kinship.names, known, strict=True) if there}
    told |= {*train.genes, *map(str, described)}
    unknown = sorted({part for one in asked for part in one.parts} - measured - told)
    if unknown:
        raise GenesError(
            "Nothing is known of these perturbations.",
            found=some(unknown),
            expected="perturbations that were measured, genes by symbol or id, or names in `described`; "
            + said_nearest(unknown, sorted(measured)),
            remedy="correct the names, or add rows for them to `described`, with SMILES, targets or mechanism.",
            argument="perturbations",
        )
