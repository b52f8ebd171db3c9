"""What can go wrong, said so that the reader knows what to do next."""

from __future__ import annotations


class CelloquyError(Exception):
    """A call that could not be carried out; nothing of the caller's object was changed.

    Parameters
    ----------
    problem
        One sentence that names the object and what is wrong with it.
    found
        What was seen there.
    expected
        What would have been accepted.
    remedy
        What to do about it: an argument, a function, a command.
    """

    def __init__(self, problem: str, *, found: str = "", expected: str = "", remedy: str) -> None:
        self.problem, self.found, self.expected, self.remedy = problem, found, expected, remedy
        lines = [problem]
        if found:
            lines.append(f"Found: {found}")
        if expected:
            lines.append(f"Expected: {expected}")
        super().__init__("\n".join([*lines, f"Fix: {remedy}"]))


class CountsError(CelloquyError, ValueError):
    """The object holds no usable raw counts."""


class GenesError(CelloquyError, ValueError):
    """Gene names that cannot be matched as asked."""


class ArgumentError(CelloquyError, ValueError):
    """An argument, or a column that it names, that cannot be used."""


class CheckpointError(CelloquyError, ValueError):
    """A saved model that cannot be read, or that does not fit."""


class GeneCoverageWarning(UserWarning):
    """Less than half of the counts belong to genes that the vocabulary knows."""
