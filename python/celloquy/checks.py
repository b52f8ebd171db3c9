"""Checks of arguments: one function for each kind of value, one form of error for all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from celloquy.errors import ArgumentError


def check_whole_number(argument: str, value: object, *, least: int, most: int | None = None, remedy: str = "") -> None:
    """Check that a value is a whole number within bounds; True and False are not numbers.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    highest = math.inf if most is None else most
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= highest:
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        refuse(argument, value, f"a whole number of {bounds}", remedy)


def check_number(
    argument: str,
    value: object,
    *,
    least: float = 0.0,
    most: float | None = None,
    exclude_least: bool = False,
    exclude_most: bool = False,
    remedy: str = "",
) -> None:
    """Check that a value is a number within bounds; the bounds themselves may be excluded.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    number = float("nan") if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    low = number > least if exclude_least else number >= least
    high = most is None or (number < most if exclude_most else number <= most)
    if not (low and high):
        bounds = f"{'above' if exclude_least else 'of at least'} {least:g}"
        if most is not None:
            bounds += f" and {'below' if exclude_most else 'up to'} {most:g}"
        refuse(argument, value, f"a number {bounds}", remedy)


def check_choice(argument: str, value: object, choices: Collection[object], *, remedy: str = "") -> None:
    """Check that a value is one of the choices.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    # Compared with a choice of its own type alone: what is compared with an array is an array.
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        refuse(argument, value, " or ".join(map(repr, choices)), remedy or "pass one of these.")


def check_name(argument: str, value: object, expected: str, remedy: str = "") -> None:
    """Check that a value is text, as a name is.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    if not isinstance(value, str):
        refuse(argument, value, expected, remedy)


def check_names(argument: str, value: object, expected: str, remedy: str = "") -> list[str]:
    """Check that a value is a name or several, and return them, each once.

    Raises
    ------
    ArgumentError
        If it is something else.
    """
    names = listed(value)
    if not all(isinstance(name, str) for name in names):
        refuse(argument, value, expected, remedy)
    return list(dict.fromkeys(names))


def listed(value: object) -> list[Any]:
    """Return several values as a list; of one value, such as text or an array without axes, a list of it."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict) or getattr(value, "shape", None) == ():
        return [value]
    return list(value)


def check_path(argument: str, value: object, expected: str) -> Path:
    """Check that a value is a path, and return it as one.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    if not isinstance(value, str | PathLike) or "\0" in str(value):
        refuse(argument, value, expected, "pass a path.")
    return Path(value)


def refuse(argument: str, value: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise the error of an argument whose value can't be used."""
    raise ArgumentError(
        f"`{argument}` can't be used.",
        found=repr(value),
        expected=expected,
        remedy=remedy or f"change `{argument}`, or leave it out.",
        argument=argument,
    )
