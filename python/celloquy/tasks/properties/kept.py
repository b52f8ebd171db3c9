"""Blocks of features as files: those that ship are kept by name, others as tables beside what reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from celloquy.genes import Prior
from celloquy.tasks.properties.features import Block
from celloquy.tasks.properties.sources import SHIPPED, shipped_block
from celloquy.tasks.saved import TASK


def described_blocks(blocks: Sequence[Block]) -> list[dict[str, str | None]]:
    """Return name and file of each block, for ``task.json``; a block that ships has no file."""
    return [
        {"name": block.name, "file": None if block.name in SHIPPED else f"features-{place}.npz"}
        for place, block in enumerate(blocks)
    ]


def write_blocks(folder: Path, blocks: Sequence[Block]) -> None:
    """Write the blocks that do not ship."""
    for block, described in zip(blocks, described_blocks(blocks), strict=True):
        if described["file"] is not None:
            block.source.save(folder / described["file"])


def read_described(folder: Path, task: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what ``task.json`` says, and the files of its blocks.

    Raises
    ------
    OSError, ValueError, TypeError, KeyError
        If it is of another task, can't be read, or names a file outside of the folder.
    """
    described = json.loads((folder / TASK).read_text(encoding="utf-8"))
    if described["task"] != task:
        raise ValueError(f"one for the task {described['task']!r}")
    files = tuple(one["file"] for one in described["blocks"] if one["file"])
    if any(Path(name).name != name for name in files):
        raise ValueError(f"a file outside of the directory, {files[0]!r}")
    return described, files


def read_blocks(folder: Path, described: Iterable[dict[str, Any]]) -> tuple[Block, ...]:
    """Return the blocks that :func:`described_blocks` described."""
    return tuple(
        Block(one["name"], Prior.load(folder / one["file"])) if one["file"] else shipped_block(one["name"])
        for one in described
    )
