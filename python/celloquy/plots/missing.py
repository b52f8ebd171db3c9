"""The error of a plot whose data are missing."""

from __future__ import annotations

from typing import Any

from celloquy.errors import ArgumentError


def require(present: Any, key: str, where: str, argument: str = "") -> None:
    """Raise ArgumentError unless a mapping, which messages call ``where``, has a key, which an argument names."""
    if key not in present:
        raise ArgumentError(
            f"There is no {key!r} in {where}.",
            found=", ".join(map(str, present.keys())) or "nothing",
            remedy="compute it first, or name one that is there.",
            argument=argument,
        )
