"""Results that appear whole or not at all, and computations that resume after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from celloquy.errors import ArgumentError, CelloquyError, DiskError, says_full

JOURNAL = "journal.json"
"""Name of the file with the progress of a computation."""

ROOM = "room"
"""Name of the file that holds the room of a result on the disk until the result is written."""

KINDS = (".h5ad", ".zarr")

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
        If the target can't be written to, or the disk is full; an older file at the target is unchanged.
    """
    try:
        _check_target(target)
        # A link stays, and what it names is written.
        target = target.resolve()
        folder = working_folder(target)
        made = [one for one in target.parents if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    # Links that run in a circle, and names with a null character, are no OSError.
    except (OSError, RuntimeError, ValueError) as error:
        raise error if isinstance(error, CelloquyError) else DiskError.of(target, error) from error
    with sole_writer(target, folder):
        try:
            output = Output(folder, folder / f"result{target.suffix}")
            # An interrupted call may have begun to write the result.
            remove_path(output.result)
            yield output
            _replace(output.result, target)
            _remove(folder)
        except Exception as error:
            full = is_disk_full(error)
            resumable = full or not isinstance(error, CelloquyError)
            if not resumable or not _journals(folder):
                _remove(folder)
                for one in made:
                    with suppress(OSError):
                        one.rmdir()
            if full and not isinstance(error, DiskError):
                raise DiskError.full(target, error) from error
            raise


def working_folder(target: Path) -> Path:
    """Return the folder beside a target for the files of the computation that makes it."""
    target = target.resolve()
    return target.parent / f".{target.name}.unfinished"


@contextmanager
def sole_writer(target: Path, folder: Path) -> Iterator[None]:
    """Keep other processes from writing a target, by a lock in the folder of what is unfinished of it.

    Raises
    ------
    ArgumentError
        If another process is writing it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ArgumentError(
            f"{str(target)!r} is being written by another process.",
            found=f"a lock in {str(folder)!r}",
            remedy="wait for it, or choose another name as `out`.",
            argument="out",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _check_target(target: Path) -> None:
    """Check that a result can take the place of what is at the target."""
    if target.suffix not in KINDS:
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=f"the ending {target.suffix!r}",
            expected=" or ".join(map(repr, KINDS)),
            remedy="give `out` one of these endings.",
            argument="out",
        )
    found = ""
    if target.exists() and target.is_dir() != (target.suffix == ".zarr"):
        found = f"a {'directory' if target.is_dir() else 'file'} of that name"
    elif target.is_dir() and os.path.ismount(target):
        found = "a mounted disk, which can't be replaced"
    elif target.is_dir() and any(target.iterdir()) and not _holds_anndata(target):
        found = "a directory that is no AnnData"
    if found:
        raise ArgumentError(
            f"{str(target)!r} can't be written.",
            found=found,
            remedy="choose another name as `out`.",
            argument="out",
        )


def _holds_anndata(folder: Path) -> bool:
    """Return whether a directory is a zarr group that anndata wrote."""
    described = [folder / name for name in (".zattrs", "zarr.json") if (folder / name).is_file()]
    return any('"anndata"' in file.read_text(encoding="utf-8", errors="replace") for file in described)


def _is_of_zarr(entry: Path) -> bool:
    """Return whether an entry of a zarr group is part of it."""
    marks = (".zgroup", ".zarray", "zarr.json")
    return entry.name.startswith(".z") or entry.name in marks or any((entry / mark).is_file() for mark in marks)


def is_disk_full(error: Exception) -> bool:
    """Return whether an error says that a disk is full."""
    return isinstance(error, DiskError) or says_full(error)


def fingerprint_of(path: str | PathLike[str] | None) -> str:
    """Return a text that differs between states of a file or directory; without a path it differs every time."""
    if path is None:
        return uuid.uuid4().hex
    place = Path(path).resolve()
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    states = [file.stat() for file in files if file.is_file()]
    return f"{place}|{sum(one.st_size for one in states)}|{max((one.st_mtime_ns for one in states), default=0)}"


@contextmanager
def replace_file(file: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces a file at the end, so that the file is whole at any time."""
    # The same name each time, so that a killed process leaves one such file at most, for the next to overwrite.
    new = file.with_name(f".{file.name}.new")
    try:
        yield new
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def current_umask() -> int:
    """Return the mode bits that new files do not get."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _replace(new: Path, target: Path) -> None:
    if target.exists():
        shutil.copymode(target, new)
    if target.is_dir():
        # What others have put beside the parts of the AnnData stays.
        for entry in target.iterdir():
            if not _is_of_zarr(entry) and not (new / entry.name).exists():
                shutil.move(entry, new / entry.name)
        # A directory can't be replaced in one step; the older one is moved away just before.
        older = new.with_name("older")
        remove_path(older)
        target.rename(older)
    new.replace(target)


def _remove(folder: Path) -> None:
    """Remove the folder of a computation, its journal first, because this too can be interrupted."""
    for journal in _journals(folder):
        journal.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _journals(folder: Path) -> list[Path]:
    """Return the journals of a computation: its own, or those of its processes, each in a folder of its own."""
    return [*folder.glob(JOURNAL), *folder.glob(f"*/{JOURNAL}")]


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
        if self._file is not None:
            # At once: where the other processes are depends on it.
            self._file.unlink(missing_ok=True)

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
