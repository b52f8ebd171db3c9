"""The files of a saved task beside those of its model."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

TASK, TENSORS, SHARED = "task.json", "task.safetensors", "shared"


def fitted_task(directory: str | PathLike[str]) -> str | None:
    """Return the name of the task that was saved to a directory, or None if there is none."""
    file = Path(directory) / TASK
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["task"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
