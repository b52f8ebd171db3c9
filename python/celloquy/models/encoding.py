"""Embed cells in bounded memory: read ahead, computed a run at a time, resumed after an interruption.

The steps and their order are the same in memory and on disk, so the result is, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn

from celloquy.data.device import DeviceSender
from celloquy.errors import ArgumentError
from celloquy.runtime.arrays import RowArray, runs
from celloquy.runtime.hardware import autocast
from celloquy.runtime.progress import ProgressBar
from celloquy.runtime.resume import JOURNAL, Journal

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader

CELLS_READ = 1024
"""Cells whose counts are in memory at a time, at most; the next ones are read meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingOptions:
    """How an embedding is computed; none of it changes the result beyond rounding."""

    batch_size: int | None = None
    """Cells computed at a time; by default as many as the memory allows."""
    memory: int | None = None
    """Bytes that may be used, the model included; without a bound if not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device to compute on."""
    folder: Path | None = None
    """Folder for files, in which an interrupted computation of the same identity resumes; None keeps all in memory."""
    identity: Mapping[str, str | int] = field(default_factory=dict)
    """Identity of the computation, beside what the encoding itself knows."""
    progress: bool = False
    """Show a progress bar."""


class Embedder(Protocol):
    """A model, as far as an encoding asks for it; see :class:`celloquy.Model`."""

    @property
    def embedding_width(self) -> int:
        """Width of a cell's embedding."""

    def embed_batch(self, batch: CellBatch) -> Tensor:
        """Return the embedding of some cells."""

    def bytes_beside_weights(self, precision: str) -> int:
        """Return the memory that the model takes beside its weights."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights."""

    def to(self, device: torch.device) -> nn.Module:
        """Move to a device."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of ``n`` cells, in the order in which they came."""

    vectors: RowArray
    """``(n, embedding_width)`` float32."""
    empty: RowArray
    """``(n, 1)`` uint8: 1 for cells without a known count."""


class Encoding:
    """The computation of an embedding, run by run.

    Parameters
    ----------
    model
        The model; it is put into evaluation mode and onto the device.
    cells
        The cells, whose tissues may lie in any order.
    options
        Options of the computation.

    Raises
    ------
    ArgumentError
        If the memory does not hold the model.
    """

    def __init__(self, model: Embedder, cells: CellReader, options: EmbeddingOptions) -> None:
        self.room = room_beside(model, options)
        model.to(options.device).eval()
        self.cells, self.options = cells, options
        self._model = model
        self.read = options.batch_size or CELLS_READ
        self.embedding = Embedding(self.rows(model.embedding_width, "embedding"), self.rows(1, "empty", torch.uint8))
        kept = [self.embedding.vectors, self.embedding.empty, *self.prepare()]
        self.journal = Journal(
            None if options.folder is None else options.folder / JOURNAL,
            {**options.identity, "cells": len(cells), "precision": options.precision}
            | {"device": str(options.device), "read": self.read, **self.identity()},
        )
        if any(array.new for array in kept):
            self.journal.forget()

    def prepare(self) -> list[RowArray]:
        """Make what else the computation needs, and return the arrays without which it can't resume."""
        return []

    def identity(self) -> dict[str, str | int]:
        """Return what else tells this computation from others."""
        return {}

    def rows(
        self, width: int, name: str, precision: torch.dtype = torch.float32, *, device: torch.device | str = "cpu"
    ) -> RowArray:
        """Return an array with a row for every cell, in a file of the folder, or in a device's memory without one."""
        file = None if self.options.folder is None else self.options.folder / name
        return RowArray((len(self.cells), width), precision, file=file, device=device)

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        with self.bar(len(self.cells), " cells") as bar, autocast(self.options.precision, self.options.device):
            for part, batch in self.read_ahead(bar):
                self.embedding.vectors.write(part, self._model.embed_batch(batch).float())
        return self.embedding

    def bar(self, total: int, unit: str) -> ProgressBar:
        """Return the progress bar of the computation."""
        return ProgressBar(
            total=total, desc=f"Embedding ({self.options.precision})", unit=unit, disable=not self.options.progress
        )

    def read_ahead(self, bar: ProgressBar) -> Iterator[tuple[slice, CellBatch]]:
        """Yield runs of cells on the device, the next being read meanwhile; a run counts as done when it is taken up.

        Cells without a count are noted on the way.
        """
        parts, send = runs(0, len(self.cells), self.read), DeviceSender(self.options.device)

        def fetch(part: slice) -> CellBatch:
            return send(self.cells.read(part.start, part.stop))

        done = self.journal.done("runs")
        bar.update(sum(part.stop - part.start for part in parts[:done]))
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for number in range(done, len(parts)):
                part = parts[number]
                batch: CellBatch = (coming or reader.submit(fetch, part)).result()
                if number + 1 < len(parts):
                    coming = reader.submit(fetch, parts[number + 1])
                yield part, batch
                self.embedding.empty.write(part, batch.indptr.diff().eq(0)[:, None])
                self.journal.note(runs=number + 1)
                bar.update(part.stop - part.start)


def room_beside(model: Embedder, options: EmbeddingOptions) -> int:
    """Return the bytes that are left beside the model.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    needed = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    needed += model.bytes_beside_weights(options.precision)
    if options.memory is None:
        return 2**62
    if options.memory <= needed:
        raise ArgumentError(
            "`max_memory` does not hold the model.",
            found=f"{options.memory / 1e6:,.0f} MB",
            expected=f"more than {needed / 1e6:,.0f} MB",
            remedy="allow more memory, or take a smaller model.",
            argument="max_memory",
        )
    return options.memory - needed
