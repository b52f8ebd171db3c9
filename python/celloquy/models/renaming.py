"""Names of weights in the checkpoints of other packages, turned into ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rules = tuple[tuple[re.Pattern[str], str], ...]


def rules(names: Iterable[tuple[str, str]]) -> Rules:
    """Return the rules that pairs of a pattern of a name of theirs, and what takes its place, stand for."""
    return tuple((re.compile(theirs), ours) for theirs, ours in names)


def rename(name: str, names: Rules) -> str:
    """Return our name of a weight, by the first rule that its beginning fits; what follows is kept, as are others."""
    for theirs, ours in names:
        if match := theirs.match(name):
            return match.expand(ours) + name[match.end() :]
    return name
