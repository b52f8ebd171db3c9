"""The files of a saved task beside those of its model."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from celloquy.errors import ArgumentError, CheckpointError

TASK, TENSORS, SHARED = "task.json", "task.safetensors", "shared"


def fitted_task(directory: str | PathLike[str]) -> str | None:
    """Return the name of the task that was saved to a directory, or None if there is none."""
    file = Path(directory) / TASK
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["task"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def not_fitted(kind: type) -> ArgumentError:
    """Return the error of what is asked before it is fitted."""
    return ArgumentError(
        f"This {kind.__name__} has not been fitted.",
        remedy=f"call fit() first, or {kind.__name__}.load(directory).",
    )


def none_there(kind: str, folder: Path, error: Exception) -> CheckpointError:
    """Return the error of a directory that holds no such fitted object, or a damaged one."""
    return CheckpointError(
        f"There is no {kind} in {str(folder)!r}.",
        found=(str(error).splitlines() or [type(error).__name__])[0],
        expected=f"a directory that {kind}.save() wrote",
        remedy="check the path, or fit and save it again.",
    )
