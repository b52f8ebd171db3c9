"""Errors and warnings; each error says what to do next."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Self

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of the errors of a full disk."""


class CelloquyError(Exception):
    """A call that could not be carried out; the caller's object is unchanged.

    Parameters
    ----------
    problem
        One sentence that names the object and what is wrong with it.
    found
        Value or state that was found.
    expected
        Values that are accepted.
    remedy
        Next step: an argument, a function, a command.
    argument
        Name of the Python argument at fault, or empty. The texts write arguments in backticks, so that R, which spells
        them in another way, can tell them from other words.
    """

    def __init__(self, problem: str, *, found: str = "", expected: str = "", remedy: str, argument: str = "") -> None:
        self.problem, self.found, self.expected, self.remedy = problem, found, expected, remedy
        self.argument = argument
        super().__init__(self._text())

    def _text(self) -> str:
        parts = {"Found": self.found, "Expected": self.expected, "Fix": self.remedy}
        return "\n".join([self.problem, *(f"{name}: {part}" for name, part in parts.items() if part)])

    def say_kept(self, what: str, place: Path) -> None:
        """Say, too, where something is that was computed before the call failed."""
        self.remedy = f"{self.remedy.rstrip('.')}. {what} is kept in {str(place)!r}."
        self.args = (self._text(),)


class CountsError(CelloquyError, ValueError):
    """The object holds no usable raw counts."""


class GenesError(CelloquyError, ValueError):
    """Gene names that cannot be matched."""


class ArgumentError(CelloquyError, ValueError):
    """An argument, or a column that it names, that cannot be used."""


class CheckpointError(CelloquyError, ValueError):
    """A saved model that cannot be read, or that does not fit the call."""


class SeuratError(CelloquyError, ValueError):
    """An R installation or an R object that can't be used from Python."""


class DiskError(CelloquyError, OSError):
    """A file that cannot be written; an older file of that name is unchanged."""

    @classmethod
    def of(cls, file: Path, error: Exception) -> Self:
        """Make the error of a failed write."""
        if says_full(error):
            return cls.full(file, error)
        return cls(
            f"{str(file)!r} can't be written.",
            found=getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0],
            remedy="choose a place in a folder that you may write to.",
            argument="out",
        )

    @classmethod
    def full(cls, file: Path, error: Exception, *, needed: int | None = None) -> Self:
        """Make the error of a failed write, with the free space of the disk."""
        free = shutil.disk_usage(next(one for one in file.absolute().parents if one.is_dir())).free
        return cls(
            f"{str(file)!r} can't be written.",
            found=f"{getattr(error, 'strerror', None) or str(error).splitlines()[0]}; {free / 1e9:.2f} GB free",
            expected="" if needed is None else f"room for {needed / 1e9:.2f} GB",
            remedy="make room, or write to another disk; an interrupted call goes on where it was when it is repeated.",
        )


class ModelError(CelloquyError, ValueError):
    """A model whose family can't do the task."""


class OtherSpeciesWarning(UserWarning):
    """Genes of another species were mapped through orthologs, as ``species="auto"`` asks."""


class MixedSpeciesWarning(UserWarning):
    """An object holds genes of both human and mouse, as in a barnyard experiment or a xenograft."""


class MissingLabelWarning(UserWarning):
    """Cells of a reference were left out, because they have no label."""


class KeyWarning(UserWarning):
    """Results were written under another key, because the usual one holds other results."""


class BadFileWarning(UserWarning):
    """A file of a corpus can't be used and was left out, as ``skip_bad_files=True`` asks."""


class GeneCoverageWarning(UserWarning):
    """Less than half of the counts belong to genes that the vocabulary knows."""


class AbsentGenesWarning(UserWarning):
    """Genes that were named are not among those of the object, and were left out."""


def says_full(error: Exception) -> bool:
    """Return whether an error says that a disk is full; HDF5 and safetensors say so in their text alone."""
    return (isinstance(error, OSError) and error.errno in FULL) or "No space left" in str(error)


def some(names: Iterable[object], shown: int = 5) -> str:
    """Return the first few of many names and the number of the others, for a message."""
    given = list(map(str, names))
    more = f" and {len(given) - shown:,} more" if len(given) > shown else ""
    return ", ".join(given[:shown]) + more


class FewSamplesWarning(UserWarning):
    """Samples are so few that little can be claimed of what is learned from them."""


class FewCellsWarning(UserWarning):
    """Conditions have so few cells that their mean is uncertain; they count for less."""
