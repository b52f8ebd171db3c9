"""Results that appear whole or not at all, and computations that resume after an interruption."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from celloquy.errors import ArgumentError, CelloquyError, DiskError

JOURNAL = "journal.json"
"""Name of the file with the progress of a computation."""

ROOM = "room"
"""Name of the file that holds the room of a result on the disk until the result is written."""

KINDS = (".h5ad", ".zarr")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


RESTART_SECONDS = 60
"""Difference in seconds below which two start times of the machine are the same."""


@dataclass(frozen=True)
class Output:
    """The files of a computation."""

    folder: Path
    """Folder for its own files."""
    result: Path
    """Path at which it builds its result."""


@contextmanager
def resumable_output(target: Path) -> Iterator[Output]:
    """Yield a folder beside the target for the files of a computation, and move its result to the target at the end.

    The folder outlives an interruption, so that the same call can resume; it is removed once the result is there.

    Raises
    ------
    ArgumentError
        If the target can't hold a result, or another process is writing it.
    DiskError
        If the disk is full; an older file at the target is unchanged.
    """
    from filelock import FileLock, Timeout

    if target.suffix not in KINDS:
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=f"the ending {target.suffix!r}",
            expected=" or ".join(map(repr, KINDS)),
            remedy="give `out` one of these endings.",
            argument="out",
        )
    if target.exists() and target.is_dir() != (target.suffix == ".zarr"):
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=f"a {'directory' if target.is_dir() else 'file'} of that name",
            remedy="choose another name as `out`.",
            argument="out",
        )
    # A link stays, and what it names is written.
    target = target.resolve()
    folder = target.parent / f".{target.name}.unfinished"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=0):
            output = Output(folder, folder / f"result{target.suffix}")
            # An interrupted call may have begun to write the result.
            remove_path(output.result)
            yield output
            _replace(output.result, target)
            _remove(folder)
    except Timeout:
        raise ArgumentError(
            f"{str(target)!r} is being written by another process.",
            found=f"a lock in {str(folder)!r}",
            remedy="wait for it, or choose another name as `out`.",
            argument="out",
        ) from None
    except Exception as error:
        full = is_disk_full(error)
        resumable = full or not isinstance(error, CelloquyError)
        if not resumable or not (folder / JOURNAL).exists():
            _remove(folder)
        if full and not isinstance(error, DiskError):
            raise DiskError.full(target, error) from error
        raise


def is_disk_full(error: Exception) -> bool:
    """Return whether an error says that a disk is full; HDF5 and safetensors say so in their text alone."""
    known = isinstance(error, DiskError) or (isinstance(error, OSError) and error.errno in FULL)
    return known or "No space left" in str(error)


def fingerprint_of(path: str | PathLike[str] | None) -> str:
    """Return a text that differs between states of a file or directory; without a path it differs every time."""
    if path is None:
        return uuid.uuid4().hex
    place = Path(path).resolve()
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    states = [file.stat() for file in files if file.is_file()]
    return f"{place}|{sum(one.st_size for one in states)}|{max((one.st_mtime_ns for one in states), default=0)}"


def current_umask() -> int:
    """Return the mode bits that new files do not get."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _replace(new: Path, target: Path) -> None:
    if target.is_file():
        shutil.copymode(target, new)
    if target.is_dir():
        # A directory can't be replaced in one step; the older one is moved away just before.
        older = new.with_name("older")
        remove_path(older)
        target.rename(older)
    new.replace(target)


def _remove(folder: Path) -> None:
    """Remove the folder of a computation, its journal first, because this too can be interrupted."""
    (folder / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def remove_path(path: Path) -> None:
    """Remove a file or a directory if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Journal:
    """The progress of a computation, in a small file that is replaced as a whole.

    Parameters
    ----------
    file
        File of the journal; None keeps it in memory, and nothing can be resumed.
    identity
        Description of the computation, in types of JSON. The state of another computation is not resumed, nor one from
        before the machine was last started, because its files may not have reached the disk.
    """

    def __init__(self, file: Path | None, identity: dict[str, Any]) -> None:
        self._file, self._identity = file, identity | {"started": _machine_start()}
        self.steps: dict[str, int] = {}
        if file is not None and file.exists():
            self.steps = self._resumed(json.loads(file.read_text()))

    def _resumed(self, state: dict[str, Any]) -> dict[str, int]:
        before, now = dict(state["identity"]), dict(self._identity)
        if abs(before.pop("started") - now.pop("started")) > RESTART_SECONDS or before != now:
            return {}
        steps: dict[str, int] = state["steps"]
        return steps

    def forget(self) -> None:
        """Start from the beginning."""
        self.steps.clear()

    def done(self, step: str) -> int:
        """Return how often a step has been done."""
        return self.steps.get(step, 0)

    def note(self, **steps: int) -> None:
        """Record how often steps have been done."""
        self.steps.update(steps)
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"identity": self._identity, "steps": self.steps}))
        new.replace(self._file)


def _machine_start() -> float:
    import psutil

    return psutil.boot_time()
