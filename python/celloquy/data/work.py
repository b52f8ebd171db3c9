"""A result that appears whole under its name or not at all, and can be gone on with after an interruption."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from celloquy.data.store import remove_store
from celloquy.errors import ArgumentError, CelloquyError, DiskError

JOURNAL = "journal.json"
"""Name of the file that tells how far a computation has come."""

KINDS = (".h5ad", ".zarr")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Work:
    """Where a computation keeps its files, and where it builds its result."""

    folder: Path
    result: Path


@contextmanager
def work_for(target: Path) -> Iterator[Work]:
    """Give a folder beside the target for a computation's files; move its result to the target at the end.

    The folder outlives an interruption, so that the same call can go on with it, and goes with the result.

    Raises
    ------
    ArgumentError
        If the target can't be a result, or another process is at work on it.
    DiskError
        If the disk is full; what was at the target is as it was.
    """
    from filelock import FileLock, Timeout

    if target.suffix not in KINDS:
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=f"the ending {target.suffix!r}",
            expected=" or ".join(map(repr, KINDS)),
            remedy="give `out` one of these endings.",
        )
    if target.exists() and target.is_dir() != (target.suffix == ".zarr"):
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=f"a {'directory' if target.is_dir() else 'file'} of that name",
            remedy="choose another name as `out`.",
        )
    folder = target.parent / f".{target.name}.unfinished"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=0):
            work = Work(folder, folder / f"result{target.suffix}")
            # An interrupted call may have begun to write it.
            remove_store(work.result)
            yield work
            _replace(work.result, target)
            _remove(folder)
    except Timeout:
        raise ArgumentError(
            f"{str(target)!r} is being written by another process.",
            found=f"a lock in {str(folder)!r}",
            remedy="wait for it, or choose another name as `out`.",
        ) from None
    except Exception as error:
        # HDF5 tells the reason in its text alone.
        full = error if isinstance(error, OSError) and (error.errno in FULL or "No space left" in str(error)) else None
        resumable = full or isinstance(error, DiskError) or not isinstance(error, CelloquyError)
        if not resumable or not (folder / JOURNAL).exists():
            _remove(folder)
        if full and not isinstance(full, DiskError):
            raise DiskError.full(target, full) from error
        raise


def fingerprint_of(path: str | PathLike[str] | None) -> str:
    """Tell one state of a file or directory from another; what is in memory only is never the same twice."""
    if path is None:
        return uuid.uuid4().hex
    place = Path(path).resolve()
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    seen = [file.stat() for file in files if file.is_file()]
    return f"{place}|{sum(one.st_size for one in seen)}|{max((one.st_mtime_ns for one in seen), default=0)}"


def _replace(new: Path, target: Path) -> None:
    if target.is_dir():
        # A directory can't be replaced in one step; the older one is out of its place for that moment only.
        older = new.with_name("older")
        remove_store(older)
        target.rename(older)
    new.replace(target)


def _remove(folder: Path) -> None:
    """Remove the folder of a computation, what tells how far it has come first: this too can be killed."""
    (folder / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
