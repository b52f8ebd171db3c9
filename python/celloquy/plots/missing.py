"""What a picture needs, and is not there."""

from __future__ import annotations

from typing import Any

from celloquy.errors import ArgumentError


def require(present: Any, key: str, where: str) -> None:
    """Raise ArgumentError unless a key is there."""
    if key not in present:
        raise ArgumentError(
            f"There is no {key!r} in {where}.",
            found=", ".join(map(str, present.keys())) or "nothing",
            remedy="compute it first, or name one that is there.",
        )
