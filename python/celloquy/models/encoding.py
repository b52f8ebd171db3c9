"""Embed cells in bounded memory: read ahead, computed a run at a time, resumed after an interruption.

The steps and their order are the same in memory and on disk, so the result is, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from celloquy.data.device import DeviceSender
from celloquy.data.share import CellShare
from celloquy.errors import ArgumentError
from celloquy.runtime.arrays import RowArray, runs
from celloquy.runtime.hardware import autocast
from celloquy.runtime.processes import collect_rows, least_of, sum_over
from celloquy.runtime.progress import ProgressBar
from celloquy.runtime.resume import JOURNAL, Journal

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from celloquy.data import CellBatch, CellReader

CELLS_READ = 1024
"""Cells whose counts are in memory at a time, at most; the next ones are read meanwhile."""

READERS = {"cuda": 8}
"""Threads, at most, that read cells in memory for a device of this kind; one does for others. A GPU computes cells
faster than one thread reads them."""


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
    processes: Fabric | None = None
    """Processes that share the cells; all of them embed the same cells with the same options."""
    collect: bool = True
    """Collect the embedding of all processes' cells in this one."""


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
    expressed: RowArray
    """``(n, 1)`` int32: genes of the vocabulary that each cell expresses."""


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
        self.options = options
        self._model = model
        self.read = options.batch_size or CELLS_READ
        processes = options.processes
        several = processes is not None and processes.world_size > 1
        self.processes = processes if several else None
        self.owner = self.share(cells, 1 if self.processes is None else self.processes.world_size)
        """``(cells,)``: the process that computes each cell."""
        self.cells: CellReader | CellShare = cells
        if self.processes is not None:
            self.cells = CellShare(cells, np.flatnonzero(self.owner == self.processes.global_rank))
        width = model.embedding_width
        self.embedding = Embedding(self.rows(width, "embedding"), self.rows(1, "expressed", torch.int32))
        self.whole = self.embedding
        if several and options.collect:
            n_cells = len(cells)
            self.whole = Embedding(
                self.rows(width, "whole", cells=n_cells), self.rows(1, "whole_expressed", torch.int32, cells=n_cells)
            )
        kept = [self.embedding.vectors, self.embedding.expressed, *self.prepare()]
        self.journal = Journal(
            None if options.folder is None else options.folder / JOURNAL,
            {**options.identity, "cells": len(cells), "precision": options.precision}
            | {"device": str(options.device), "read": self.read, **self.identity()},
        )
        # What one of several processes has lost, the others need in the state in which it was, so all begin anew.
        if any(array.new for array in kept) or not self.least(bool(self.journal.steps)):
            self.journal.forget()

    def share(self, cells: CellReader, processes: int) -> np.ndarray:
        """Return the process that computes each cell, ``(cells,)``."""
        return np.arange(len(cells)) * processes // max(1, len(cells))

    def least(self, number: int) -> int:
        """Return the least of the processes' numbers."""
        return number if self.processes is None else least_of(self.processes, number)

    def add_up(self, *sums: Tensor) -> None:
        """Replace sums over the cells of this process, in place, by those over the cells of all."""
        if self.processes is not None:
            sum_over(*sums)

    def collected(self) -> Embedding:
        """Return the embedding of all cells, where it is collected, or that of the cells of this process."""
        if self.processes is not None:
            wanted = self.whole if self.options.collect else None
            for name in ("vectors", "expressed"):
                whole = None if wanted is None else getattr(wanted, name)
                collect_rows(self.processes, self.owner, getattr(self.embedding, name), whole)
        return self.whole

    def prepare(self) -> list[RowArray]:
        """Make what else the computation needs, and return the arrays without which it can't resume."""
        return []

    @property
    def passes(self) -> int:
        """How often each cell is passed through something, so that it counts as done a part at a time."""
        return 1

    def identity(self) -> dict[str, str | int]:
        """Return what else tells this computation from others."""
        return {}

    def rows(
        self,
        width: int,
        name: str,
        precision: torch.dtype = torch.float32,
        *,
        device: torch.device | str = "cpu",
        cells: int | None = None,
    ) -> RowArray:
        """Return an array with a row for every cell, in a file of the folder, or in a device's memory without one."""
        file = None if self.options.folder is None else self.options.folder / name
        return RowArray((len(self.cells) if cells is None else cells, width), precision, file=file, device=device)

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        with self.bar() as bar, autocast(self.options.precision, self.options.device):
            for part, batch in self.read_ahead(bar):
                self.embedding.vectors.write(part, self._model.embed_batch(batch).float())
        return self.collected()

    def bar(self) -> ProgressBar:
        """Return the progress bar of the computation, which counts cells: one that was read is one of their passes."""
        return ProgressBar(
            total=len(self.cells), desc=f"Embedding ({self.options.precision})", unit=" cells", unit_scale=True,
            disable=not self.options.progress,
        )  # fmt: skip

    def read_ahead(self, bar: ProgressBar) -> Iterator[tuple[slice, CellBatch]]:
        """Yield runs of cells on the device, the next being read meanwhile; a run counts as done when it is taken up.

        How many genes each cell expresses is noted on the way.
        """
        parts, send = runs(0, len(self.cells), self.read), DeviceSender(self.options.device)

        def fetch(part: slice) -> CellBatch:
            return send(self.cells.read(part.start, part.stop))

        done = self.journal.done("runs")
        bar.update(sum(part.stop - part.start for part in parts[:done]) / self.passes)
        most = 1 if self.cells.on_disk else READERS.get(self.options.device.type, 1)
        readers = min(most, torch.get_num_threads())
        with ThreadPoolExecutor(readers) as pool:
            coming = deque(pool.submit(fetch, part) for part in parts[done : done + readers])
            for number in range(done, len(parts)):
                part, batch = parts[number], coming.popleft().result()
                if number + readers < len(parts):
                    coming.append(pool.submit(fetch, parts[number + readers]))
                yield part, batch
                self.embedding.expressed.write(part, batch.indptr.diff()[:, None])
                self.journal.note(runs=number + 1)
                bar.update((part.stop - part.start) / self.passes)


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
