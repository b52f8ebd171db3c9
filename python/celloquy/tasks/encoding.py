"""Embed cells in bounded memory: every cell's own vector, the encoder tissue by tissue, the latent.

The steps and their order are the same in memory and on disk, so the result is, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.data import CellBatch, Cells
from celloquy.data.transfer import Transfer
from celloquy.data.work import JOURNAL
from celloquy.errors import ArgumentError
from celloquy.models import CellModel
from celloquy.models.compute import PRODUCTS, autocast
from celloquy.nn.encoder import EncoderLayer
from celloquy.nn.streaming import Rows, stream_layer
from celloquy.tasks.scratch import Journal, Scratch, runs
from celloquy.training.progress import ProgressBar

CHUNK_BYTES = {"cpu": 40 * 2**20, "cuda": 2**30, "mps": 2**28}
"""Memory for the cells that are computed at a time, where the user does not say how many. A processor's cache holds
what is computed of so few; a GPU is kept busy by more."""

CELLS_READ = 1024
"""Cells whose counts are in memory at a time, at most; the next ones are read meanwhile."""


class Encoding:
    """The embedding of some cells, step by step.

    Parameters
    ----------
    model
        The model; it is put into evaluation mode and onto the device.
    cells
        The cells, whose tissues may lie in any order.
    batch_size
        Cells computed at a time; by default as many as the memory allows.
    memory
        Bytes that may be used, the model included. Vectors that do not fit lie in files.
    precision, device
        Where and how to compute.
    folder
        For files; those of an earlier call with the same identity are gone on with. None keeps everything in memory.
    identity
        What tells this computation from others, beside what is known here.

    Raises
    ------
    ArgumentError
        If the memory does not hold the model.
    """

    def __init__(
        self,
        model: CellModel,
        cells: Cells,
        *,
        batch_size: int | None,
        memory: int,
        precision: Literal["float32", "bfloat16"],
        device: torch.device,
        folder: Path | None,
        identity: dict[str, str | int],
    ) -> None:
        self.model, self.cells, self.precision, self.device = model.to(device).eval(), cells, precision, device
        config, n = model.config, len(cells)
        room = min(_room(model, memory, precision) // 4, CHUNK_BYTES[device.type])
        self.chunk = batch_size or _cells_in(room, config.width, config.feedforward)
        self.read = batch_size or CELLS_READ
        self.order = np.argsort(cells.tissue, kind="stable")
        # Cells that lie tissue by tissue already are read and written in runs.
        self.sorted = bool((self.order[1:] > self.order[:-1]).all())
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(n)
        self.groups = list(self._groups())
        names = ("vectors", "others", "queries", "keys", "latent", "empty")
        files = {name: None if folder is None else folder / name for name in names}
        self.journal = Journal(
            None if folder is None else folder / JOURNAL,
            identity | {"cells": n, "chunk": self.chunk, "read": self.read, "precision": precision}
            | {"device": str(device), "tissues": hashlib.sha256(cells.tissue.tobytes()).hexdigest()},
        )  # fmt: skip
        self.vectors = Scratch((n, config.width), file=files["vectors"], device=device)
        # A layer of a tissue that is streamed reads one file and writes the other, so that it can be done again.
        streamed = any(len(parts) > 1 for parts in self.groups)
        self.others = Scratch((n, config.width), file=files["others"]) if streamed and folder else self.vectors
        self.latent = Scratch((n, config.latent_width), file=files["latent"])
        self.empty = Scratch((n, 1), torch.uint8, file=files["empty"])
        # Those of one tissue at a time, so they need not outlive an interruption.
        self.queries, self.keys = (
            Scratch((n if streamed else 0, config.width), PRODUCTS[precision], file=files[name], device=device)
            for name in ("queries", "keys")
        )
        if any(array.new for array in (self.vectors, self.others, self.latent, self.empty)):
            self.journal.forget()

    @torch.inference_mode()
    def run(self, *, progress: bool) -> None:
        """Do what is left to do; afterwards :attr:`latent` and :attr:`empty` are whole."""
        self._bar = ProgressBar(
            total=(1 + len(self._layers)) * len(self.cells),
            desc=f"Embedding ({self.precision})",
            unit=" cell-layers",
            disable=not progress,
        )
        with self._bar, autocast(self.precision, self.device):
            self._read_expression()
            for number in range(self.journal.done("tissues"), len(self.groups)):
                self._encode(self.groups[number])
                self.journal.note(tissues=number + 1, layers=0)

    @property
    def _layers(self) -> list[EncoderLayer]:
        return list(self.model.encoder.layers)  # type: ignore[arg-type]

    def _groups(self) -> Iterator[list[slice]]:
        """Yield what is encoded together: a tissue in several runs of rows, or some small tissues in one."""
        tissue = self.cells.tissue[self.order]
        sizes = np.diff([*np.flatnonzero(np.diff(tissue, prepend=tissue[:1] - 1)), len(tissue)])
        if self.model.config.attention == "none" or not self._layers:
            # Cells that do not read each other need no tissue.
            sizes = np.ones(len(tissue), dtype=int)
        whole = self.model.config.attention == "softmax"
        first = last = 0
        for size in sizes:
            if last > first and last - first + size > self.chunk:
                yield [slice(first, last)]
                first = last
            last += size
            if size > self.chunk and not whole:
                yield list(runs(first, last, self.chunk))
                first = last
        if last > first:
            yield [slice(first, last)]

    def _read_expression(self) -> None:
        """Write every cell's own vector, the next cells being read meanwhile."""
        parts = runs(0, len(self.cells), self.read)
        embedder, table, send = self.model.embedder, None, Transfer(self.device)

        def fetch(part: slice) -> CellBatch:
            return send(self.cells.read(part.start, part.stop))

        done = self.journal.done("runs")
        self._bar.update(sum(part.stop - part.start for part in parts[:done]))
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for number in range(done, len(parts)):
                part = parts[number]
                batch: CellBatch = (coming or reader.submit(fetch, part)).result()
                if number + 1 < len(parts):
                    coming = reader.submit(fetch, parts[number + 1])
                # One for all cells: to make it reads all of the genes' vectors.
                table = table or embedder.table(PRODUCTS[self.precision], len(parts) * len(batch.indices))
                cells = self.model.embed_expression(batch, table)
                self.vectors.write(part if self.sorted else self.place[part], cells)
                self.empty.write(part, batch.indptr.diff().eq(0)[:, None])
                self.journal.note(runs=number + 1)
                self._bar.update(part.stop - part.start)

    def _encode(self, parts: list[slice]) -> None:
        finish = _Finish(self)
        layers = self._layers
        if len(parts) == 1:
            rows = parts[0]
            tissue = torch.from_numpy(self.cells.tissue[self.order[rows]])
            finish.write(rows, self.model.encoder(self.vectors.read(rows).to(self.device), tissue.to(self.device)))
            self._bar.update(len(layers) * (rows.stop - rows.start))
            return
        sides = (self.vectors, self.others)
        for number in range(self.journal.done("layers"), len(layers)):
            target: Rows = finish if number + 1 == len(layers) else sides[(number + 1) % 2]
            stream_layer(
                layers[number], sides[number % 2], target, self.queries, self.keys, parts, self._bar.update
            )  # fmt: skip
            self.journal.note(layers=number + 1)


class _Finish:
    """Takes encoded cells and keeps their latent, in the order in which the cells came."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def read(self, rows: slice) -> Tensor:
        return self._encoding.latent.read(rows)

    def write(self, rows: slice, values: Tensor) -> None:
        encoding = self._encoding
        # In float32: near the border of two components of the mixture a rounding would decide.
        with torch.autocast(encoding.device.type, enabled=False):
            latent = encoding.model.latent(encoding.model.norm(values.float())).mean
        encoding.latent.write(rows if encoding.sorted else encoding.order[rows], latent)


def vectors_fit(model: CellModel, cells: int, memory: int, precision: Literal["float32", "bfloat16"]) -> bool:
    """Whether the vectors, queries and keys of so many cells fit the memory beside the model."""
    width, latent = model.config.width, model.config.latent_width
    a_cell = 4 * (width + latent) + 2 * PRODUCTS[precision].itemsize * width
    return cells * a_cell <= _room(model, memory, precision) // 2


def _room(model: CellModel, memory: int, precision: str) -> int:
    """Bytes that are left beside the model, and beside the table that bfloat16 keeps of its genes."""
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    needed = weights + (2 * model.embedder.gene.numel() if precision == "bfloat16" else 0)
    if memory <= needed:
        raise ArgumentError(
            "`max_memory` does not hold the model.",
            found=f"{memory / 1e6:,.0f} MB",
            expected=f"more than {needed / 1e6:,.0f} MB",
            remedy="allow more memory, or take a smaller model.",
        )
    return memory - needed


def _cells_in(memory: int, width: int, feedforward: int) -> int:
    """Cells whose vectors, queries, keys, values and hidden layers fit a number of bytes in float32."""
    return max(64, memory // (4 * (6 * width + 2 * feedforward)))
