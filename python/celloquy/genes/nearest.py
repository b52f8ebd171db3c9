"""Names that are spelled most like one that was not found."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from celloquy.errors import some

ALIKE = 0.6
"""Likeness of two spellings, from 0 to 1, below which they have nothing to do with each other."""
LOOKED_UP = 3
"""Names that are looked up for one message, at most, because each takes a while among tens of thousands."""


def nearest_names(name: str, among: Iterable[str], *, n: int = 3) -> list[str]:
    """Return the names that are spelled most like one, the most alike first, whatever their case.

    Parameters
    ----------
    name
        Name that was not found.
    among
        Names that exist; empty ones are left out.
    n
        Number of names, at most.
    """
    by_case = {one.lower(): one for one in among if one}
    return [by_case[one] for one in get_close_matches(name.lower(), by_case, n, ALIKE)]


def said_nearest(names: Iterable[str], among: Iterable[str]) -> str:
    """Return the nearest names of the first few that were not found, for a message."""
    there = list(among)
    found = {name: nearest_names(name, there) for name in list(names)[:LOOKED_UP]}
    said = [f"nearest to {name}: {', '.join(near)}" for name, near in found.items() if near]
    return "; ".join(said) or f"such as {some([one for one in there if one], 3)}"
