"""Embed cells tissue by tissue: every cell's own vector, the encoder over its tissue, the latent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from celloquy.models.encoding import Embedder, Embedding, EmbeddingOptions, Encoding
from celloquy.nn.encoder import CellEncoder, EncoderLayer
from celloquy.nn.expression import ExpressionEmbedder
from celloquy.nn.latent import GaussianLatent, MixtureLatent, NoLatent
from celloquy.nn.streaming import VectorRows, stream_layer
from celloquy.runtime.arrays import RowArray, runs
from celloquy.runtime.hardware import PRODUCTS, autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celloquy.data import CellBatch, CellReader
    from celloquy.models.cellplm.config import CellModelConfig

CHUNK_BYTES = {"cpu": 40 * 2**20, "cuda": 2**30, "mps": 2**28}
"""Memory for the cells that are computed at a time, where the user does not say how many. A processor's cache holds
what is computed of so few; a GPU is kept busy by more."""


class TissueModel(Embedder, Protocol):
    """The parts of a model that are run one after the other; see :class:`celloquy.CellModel`."""

    config: CellModelConfig
    embedder: ExpressionEmbedder
    encoder: CellEncoder
    norm: nn.LayerNorm
    latent: MixtureLatent | GaussianLatent | NoLatent

    def embed_expression(self, batch: CellBatch, table: Sequence[Tensor] | None = None) -> Tensor:
        """Return the cells before they read each other."""


class TissueEncoding(Encoding):
    """The embedding of cells that read their tissue; a tissue of any size is streamed through the encoder."""

    def __init__(self, model: TissueModel, cells: CellReader, options: EmbeddingOptions) -> None:
        self.model = model
        super().__init__(model, cells, options)

    def share(self, cells: CellReader, processes: int) -> np.ndarray:
        """See :meth:`Encoding.share`; a tissue that is streamed is spread over all processes, others are not cut."""
        config, options = self.model.config, self.options
        room = min(self.room // 4, CHUNK_BYTES[options.device.type])
        self.chunk = options.batch_size or _cells_in(room, config.width, config.feedforward)
        # Cells that do not read each other need no tissue.
        apart = config.attention == "none" or not self._layers
        self._tissue = np.arange(len(cells)) if apart else cells.tissue
        sizes = np.bincount(self._tissue)
        # Of several processes one would work while the others wait, had it a large share of the cells in one tissue.
        largest = self.chunk if processes == 1 else min(self.chunk, max(1, len(cells) // (2 * processes)))
        self._streamed = (sizes > largest) & (config.attention != "softmax")
        if processes == 1:
            return np.zeros(len(cells), dtype=np.int8)
        order = np.argsort(self._tissue, kind="stable")
        within = np.arange(len(cells)) - np.repeat(sizes.cumsum() - sizes, sizes)
        # Small tissues follow each other from the first process to the last, each where its middle lies.
        whole = np.where(self._streamed, 0, sizes)
        middle = whole.cumsum() - whole / 2
        of_tissue = (middle * processes // max(1, whole.sum())).astype(np.int64)
        number = self._tissue[order]
        owner = np.empty_like(order)
        owner[order] = np.where(self._streamed[number], within * processes // sizes[number], of_tissue[number])
        return owner

    def prepare(self) -> list[RowArray]:
        """Order the cells by tissue, and make room for their vectors."""
        config, cells, options = self.model.config, self.cells, self.options
        if self.processes is not None:
            self._tissue = self._tissue[self.owner == self.processes.global_rank]
        self.order = np.argsort(self._tissue, kind="stable")
        # Cells that lie tissue by tissue already are read and written in runs.
        self.sorted = bool((self.order[1:] > self.order[:-1]).all())
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(cells))
        self._group()
        self.vectors = self.rows(config.width, "vectors", device=options.device)
        # A layer of a tissue that is streamed reads one file and writes the other, so that it can be done again.
        streamed = bool(self.streamed)
        self.others = self.rows(config.width, "others") if streamed and options.folder else self.vectors
        # Those of one tissue at a time, so they need not outlive an interruption.
        products = PRODUCTS[options.precision]
        self.queries, self.keys = (
            self.rows(config.width if streamed else 0, name, products, device=options.device)
            for name in ("queries", "keys")
        )
        return [self.vectors, self.others]

    def identity(self) -> dict[str, str | int]:
        """Return how the cells are cut: into shares, tissues, and these into chunks."""
        digest = hashlib.sha256(self.owner.tobytes() + self.cells.tissue.tobytes())
        return {"chunk": self.chunk, "tissues": digest.hexdigest()}

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        self._bar = self.bar()
        with self._bar, autocast(self.options.precision, self.options.device):
            self._read_expression()
            self._encode_streamed()
            for number in range(self.journal.done("together"), len(self.together)):
                self._encode_together(self.together[number])
                self.journal.note(together=number + 1)
        return self.collected()

    @property
    def passes(self) -> int:
        """One to read a cell, and one for each layer."""
        return 1 + len(self._layers)

    def _passed(self, cells: int) -> None:
        self._bar.update(cells / self.passes)

    @property
    def _layers(self) -> list[EncoderLayer]:
        return list(self.model.encoder.layers)  # type: ignore[arg-type]  # a ModuleList does not say of what

    def _group(self) -> None:
        """Find what is encoded together: a tissue in several runs of rows, or some small tissues in one.

        Every process has the same streamed tissues, though it may hold no cell of one.
        """
        self.streamed: list[Sequence[slice]] = []
        self.together: list[slice] = []
        first = last = 0
        sizes = np.bincount(self._tissue, minlength=len(self._streamed))
        for size, streamed in zip(sizes, self._streamed, strict=True):
            if last > first and (streamed or last - first + size > self.chunk):
                self.together.append(slice(first, last))
                first = last
            last += int(size)
            if streamed:
                self.streamed.append(runs(first, last, self.chunk))
                first = last
        if last > first:
            self.together.append(slice(first, last))

    def _read_expression(self) -> None:
        """Write every cell's own vector."""
        embedder, table = self.model.embedder, None
        reads = -(-len(self.cells) // self.read)
        for part, batch in self.read_ahead(self._bar):
            # One for all cells: to make it reads all of the genes' vectors.
            table = table or embedder.table(PRODUCTS[self.options.precision], reads * len(batch.indices))
            cells = self.model.embed_expression(batch, table)
            self.vectors.write(part if self.sorted else self.place[part], cells)

    def _encode_streamed(self) -> None:
        """Encode the tissues that are streamed, a layer at a time, all processes the same one."""
        layers, finish, sides = self._layers, _Finish(self), (self.vectors, self.others)
        # A process that died may have been a layer behind; the others still hold what that layer reads.
        done = self.least(self.journal.done("layers"))
        for step in range(done, len(self.streamed) * len(layers)):
            tissue, number = divmod(step, len(layers))
            target: VectorRows = finish if number + 1 == len(layers) else sides[(number + 1) % 2]
            stream_layer(
                layers[number], sides[number % 2], target, self.queries, self.keys, self.streamed[tissue],
                self._passed, self.add_up,
            )  # fmt: skip
            self.journal.note(layers=step + 1)

    def _encode_together(self, rows: slice) -> None:
        """Encode some small tissues at once."""
        tissue = torch.from_numpy(self._tissue[self.order[rows]])
        cells = self.vectors.read(rows).to(self.options.device)
        _Finish(self).write(rows, self.model.encoder(cells, tissue.to(self.options.device)))
        self._passed(len(self._layers) * (rows.stop - rows.start))


class _Finish:
    """Takes encoded cells and keeps their latent, in the order in which the cells came."""

    def __init__(self, encoding: TissueEncoding) -> None:
        self._encoding = encoding

    def read(self, rows: slice) -> Tensor:
        return self._encoding.embedding.vectors.read(rows)

    def write(self, rows: slice, values: Tensor) -> None:
        encoding = self._encoding
        # In float32: near the border of two components of the mixture a rounding would decide.
        with torch.autocast(encoding.options.device.type, enabled=False):
            latent = encoding.model.latent(encoding.model.norm(values.float())).mean
        encoding.embedding.vectors.write(rows if encoding.sorted else encoding.order[rows], latent)


def _cells_in(memory: int, width: int, feedforward: int) -> int:
    """Cells whose vectors, queries, keys, values and hidden layers fit a number of bytes in float32."""
    return max(64, memory // (4 * (6 * width + 2 * feedforward)))
