"""Snapshots of a training, from which it goes on after it was killed as if it had not been."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from celloquy.errors import ArgumentError, CelloquyError, DiskError
from celloquy.runtime.resume import is_disk_full, replace_file, sole_writer

SAVE_EVERY = 60.0
"""Least number of seconds between two snapshots."""

SNAPSHOT = "training.safetensors"


@dataclass(slots=True)
class Snapshot:
    """The state of a training between two steps."""

    values: dict[str, Any] = field(default_factory=dict)
    """Numbers and records, in types of JSON."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """Weights, state of the optimiser and of the random numbers."""

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors whose name starts with a word and a dot, without these."""
        return {key[len(name) + 1 :]: tensor for key, tensor in self.tensors.items() if key.startswith(f"{name}.")}


class Snapshots:
    """The last snapshot of a training, in a file that is replaced as a whole.

    Parameters
    ----------
    folder
        Folder of the file.
    identity
        Description of the training, in types of JSON. The snapshot of another training is not taken up.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._file, self._identity = folder / SNAPSHOT, identity
        self._saved, self._parts = time.monotonic(), 1

    def exist(self) -> bool:
        """Return whether there is a snapshot."""
        return self._file.exists()

    def parts(self, usual: int) -> int:
        """Return the number of parts of a step of the last snapshot, or the usual one, which the next ones keep."""
        snapshot = self.load()
        self._parts = usual if snapshot is None else int(snapshot.values["parts"])
        return self._parts

    def load(self) -> Snapshot | None:
        """Return the last snapshot, or None if there is none.

        Raises
        ------
        ArgumentError
            If it is of another training, or damaged.
        """
        if not self._file.exists():
            return None
        try:
            with safe_open(self._file, framework="pt") as file:
                told = json.loads(file.metadata()["snapshot"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise self._refusal(str(error).splitlines()[0], "a whole snapshot") from error
        before, now = told["identity"], self._identity
        if other := [name for name in now if before.get(name) != now[name]]:
            shown = "; ".join(f"{name}: {_short(before.get(name))}, now {_short(now[name])}" for name in other)
            raise self._refusal(shown, "the same cells, genes, options and versions as before")
        return Snapshot(told["values"], tensors)

    def due(self) -> bool:
        """Return whether the last snapshot is old enough for a new one."""
        return time.monotonic() - self._saved >= SAVE_EVERY

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the last one.

        Raises
        ------
        DiskError
            If the disk is full; the last snapshot is then still there.
        """
        told = json.dumps({"identity": self._identity, "values": snapshot.values | {"parts": self._parts}})
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        try:
            with replace_file(self._file) as new:
                save_file(tensors, new, metadata={"snapshot": told})
        except (OSError, SafetensorError) as error:
            if is_disk_full(error):
                raise DiskError.full(self._file, error) from error
            raise
        # From the end of the writing, so that slow disks do not slow the training down.
        self._saved = time.monotonic()

    def _refusal(self, found: str, expected: str) -> ArgumentError:
        return ArgumentError(
            f"The interrupted training in {str(self._file.parent)!r} can't be resumed.",
            found=found,
            expected=expected,
            remedy="repeat the call as it was, or start anew: delete that folder, or leave `resume` out.",
            argument="resume",
        )


def fingerprint(identity: dict[str, Any]) -> str:
    """Return a digest of the description of a training."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@contextmanager
def unfinished_folder(out: Path, *, locked: bool = True) -> Iterator[Path]:
    """Yield the folder beside a target in which the snapshots of its training lie; it is removed at the end.

    The folder outlives an interruption or a crash, but not an error that the same call would meet again.

    Parameters
    ----------
    out
        The target.
    locked
        True in the first of several processes, which keeps those of other calls away and removes the folder.

    Raises
    ------
    ArgumentError
        If another process trains a model for the same target.
    """
    target = out.resolve()
    folder = target.parent / f".{target.name}.unfinished"
    if not locked:
        yield folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError.of(folder, error) from error
    with sole_writer(out, folder):
        try:
            yield folder
        except CelloquyError as error:
            if error.argument != "resume" and not isinstance(error, DiskError):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
