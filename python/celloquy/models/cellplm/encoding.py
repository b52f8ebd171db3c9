"""Embed cells tissue by tissue: every cell's own vector, the encoder over its tissue, the latent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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

    def prepare(self) -> list[RowArray]:
        """Order the cells by tissue, and make room for their vectors."""
        config, cells, options = self.model.config, self.cells, self.options
        room = min(self.room // 4, CHUNK_BYTES[options.device.type])
        self.chunk = options.batch_size or _cells_in(room, config.width, config.feedforward)
        self.order = np.argsort(cells.tissue, kind="stable")
        # Cells that lie tissue by tissue already are read and written in runs.
        self.sorted = bool((self.order[1:] > self.order[:-1]).all())
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(cells))
        self.groups = list(self._groups())
        self.vectors = self.rows(config.width, "vectors", device=options.device)
        # A layer of a tissue that is streamed reads one file and writes the other, so that it can be done again.
        streamed = any(len(parts) > 1 for parts in self.groups)
        self.others = self.rows(config.width, "others") if streamed and options.folder else self.vectors
        # Those of one tissue at a time, so they need not outlive an interruption.
        products = PRODUCTS[options.precision]
        self.queries, self.keys = (
            self.rows(config.width if streamed else 0, name, products, device=options.device)
            for name in ("queries", "keys")
        )
        return [self.vectors, self.others]

    def identity(self) -> dict[str, str | int]:
        """Return how the cells are cut: into tissues, and these into chunks."""
        return {"chunk": self.chunk, "tissues": hashlib.sha256(self.cells.tissue.tobytes()).hexdigest()}

    @torch.inference_mode()
    def run(self) -> Embedding:
        """Do what is left to do, and return the whole embedding."""
        self._bar = self.bar((1 + len(self._layers)) * len(self.cells), " cell-layers")
        with self._bar, autocast(self.options.precision, self.options.device):
            self._read_expression()
            for number in range(self.journal.done("tissues"), len(self.groups)):
                self._encode(self.groups[number])
                self.journal.note(tissues=number + 1, layers=0)
        return self.embedding

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
        """Write every cell's own vector."""
        embedder, table = self.model.embedder, None
        reads = -(-len(self.cells) // self.read)
        for part, batch in self.read_ahead(self._bar):
            # One for all cells: to make it reads all of the genes' vectors.
            table = table or embedder.table(PRODUCTS[self.options.precision], reads * len(batch.indices))
            cells = self.model.embed_expression(batch, table)
            self.vectors.write(part if self.sorted else self.place[part], cells)

    def _encode(self, parts: list[slice]) -> None:
        finish = _Finish(self)
        layers = self._layers
        if len(parts) == 1:
            rows = parts[0]
            tissue = torch.from_numpy(self.cells.tissue[self.order[rows]])
            cells = self.vectors.read(rows).to(self.options.device)
            finish.write(rows, self.model.encoder(cells, tissue.to(self.options.device)))
            self._bar.update(len(layers) * (rows.stop - rows.start))
            return
        sides = (self.vectors, self.others)
        for number in range(self.journal.done("layers"), len(layers)):
            target: VectorRows = finish if number + 1 == len(layers) else sides[(number + 1) % 2]
            stream_layer(
                layers[number], sides[number % 2], target, self.queries, self.keys, parts, self._bar.update
            )  # fmt: skip
            self.journal.note(layers=number + 1)


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
