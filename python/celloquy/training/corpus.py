"""The corpus of a pretraining: the cells of many inputs over one vocabulary, in memory or read a pool at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from celloquy.data import CellBatch, CellColumns
from celloquy.data.reader import GeneColumns
from celloquy.errors import BadFileWarning, CelloquyError, GenesError, some
from celloquy.genes import GeneVocabulary, identify_genes, in_species
from celloquy.runtime.progress import ProgressBar
from celloquy.training.checked import CheckedSource, check_input
from celloquy.training.inputs import Input
from celloquy.training.pools import BlockOrder, Pool

if TYPE_CHECKING:
    from celloquy.data.matrix import CountRows

LEAST_COUNTS = 3
"""Counts over all cells below which a vocabulary leaves a gene out, because nothing can be learned from it."""

BYTES_A_COUNT, BYTES_A_CELL = 8, 64
"""Memory of a count and of a cell in a batch."""

POOL_CELLS = 16_384
"""Number of cells of a pool, unless the memory is too small: the order then does not depend on the memory."""

POOLS = 4
"""Pools whose memory is in use at a time: one in training, one that waits, and one that is put together of blocks."""

GAP = 64
"""Number of cells that are not wanted up to which a run of cells is read in one piece."""

OPEN_FILES = 128
"""Number of files that are open at a time."""


class NamedGenes(Protocol):
    """The genes of one source of cells."""

    @property
    def name(self) -> str:
        """Name of the source, for messages."""

    @property
    def columns(self) -> CellColumns:
        """Reading options."""

    @property
    def var_names(self) -> Iterable[object]:
        """Names of the genes."""

    def expressed_names(self, least: float = 1) -> list[str]:
        """Return the names of the genes with at least a number of counts."""


def find_vocabulary(sources: Sequence[NamedGenes]) -> GeneVocabulary:
    """Return the union of the known genes that are expressed in the inputs.

    If they are of human and mouse, one-to-one orthologs share a row; with ``species="auto"``, genes of another species
    are mapped to the species of the first input instead.

    Raises
    ------
    GenesError
        If no gene of an input is known.
    """
    names: list[list[str]] = []
    species: list[str] = []
    for source in sources:
        own = source.expressed_names(LEAST_COUNTS)
        first = species[0] if species else None
        if source.columns.species == "auto" and first in ("human", "mouse"):
            own = in_species(own, "human" if first == "human" else "mouse")
        identified = identify_genes(own)
        genes = [gene for gene in identified.ids if gene]
        if not genes:
            raise GenesError(
                f"No gene of {source.name} is known.",
                found=some(source.var_names),
                expected="Ensembl ids or gene symbols of human or mouse",
                remedy="name the genes in `var_names`; see cq.identify_genes(adata.var_names).",
            )
        names.append(genes)
        species.append(identified.species)
    if len(set(species) - {"unknown"}) > 1:
        return GeneVocabulary.both(*names)
    return GeneVocabulary.from_ids(dict.fromkeys(gene for own in names for gene in own))


def check_inputs(inputs: Sequence[Input], *, skip_bad_files: bool, progress: bool) -> list[CheckedSource]:
    """Check all inputs, each file once and never again while it stays as it is.

    Parameters
    ----------
    inputs
        Inputs to check.
    skip_bad_files
        Leave out files that can't be used, with a warning; otherwise the first one is an error.
    progress
        Show a progress bar.
    """
    checked: list[CheckedSource] = []
    with ProgressBar(total=len(inputs), desc="Checking", unit=" files", disable=not progress or len(inputs) < 2) as bar:
        for one in inputs:
            try:
                checked.append(check_input(one))
            except CelloquyError as error:
                # The last one is an error in any case, if no other file could be used.
                last = one is inputs[-1] and not checked
                if not (skip_bad_files and isinstance(one.data, Path)) or last:
                    raise
                warnings.warn(BadFileWarning(f"A file is left out. {error}"), stacklevel=3)
            bar.update()
    return checked


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How a corpus is read."""

    memory: int
    """Bytes for the cells in memory."""
    temperature: float = 1.0
    """Temperature of the shares of the inputs, see :class:`BlockOrder`."""
    seed: int = 0
    """Seed of the order."""


class Corpus:
    """All cells of a pretraining over a vocabulary; it is a store of cells, see :class:`celloquy.training.pools`.

    Each of several inputs is a batch of its own, which the batch column splits further. Tissues are those of one input;
    cells of inputs that measure the same genes share a panel.

    Parameters
    ----------
    sources
        Checked inputs, at least one.
    vocabulary
        Genes to read.
    options
        Memory, temperature and seed.

    Raises
    ------
    GenesError
        If the genes of an input don't fit the vocabulary.
    """

    def __init__(self, sources: Sequence[CheckedSource], vocabulary: GeneVocabulary, options: CorpusOptions) -> None:
        self.sources, self.vocabulary = list(sources), vocabulary
        facts = [source.facts for source in sources]
        self._genes = [
            GeneColumns(vocabulary, one.facts.var_names, one.facts.column_totals, one.facts.genes, one.columns.species)
            for one in sources
        ]
        # Inputs of both species may measure the same genes, if these are all pairs.
        keys = torch.stack([torch.cat([one.measured, one.species == torch.arange(2)]) for one in self._genes])
        panels, self._panel = np.unique(keys, axis=0, return_inverse=True)
        self._measured = torch.from_numpy(panels[:, :-2])
        self._species = torch.from_numpy(np.where(panels[:, -2:].any(1), panels[:, -1].astype(np.int64), -1))
        self._starts = np.concatenate([[0], np.cumsum([len(one) for one in facts])])
        self.tissue, n_tissues = np.concatenate([one.tissue for one in facts]).astype(np.int64), 0
        self.batch, self.batches = np.concatenate([one.batch for one in facts]).astype(np.int64), list[str]()
        for (first, last), source in zip(self._runs(), sources, strict=True):
            self.tissue[first:last] += n_tissues
            n_tissues = int(self.tissue[first:last].max()) + 1
            names = source.facts.batches.tolist()
            if len(sources) > 1:
                self.batch[first:last] = self.batch[first:last].clip(min=0) + len(self.batches)
                names = [f"{source.name}: {name}" for name in names] or [source.name]
            self.batches += names
        self.label = self._labels()
        n_bytes = sum(BYTES_A_COUNT * one.n_counts + BYTES_A_CELL * len(one) for one in facts)
        self.in_memory = n_bytes * 2 <= options.memory
        self.pool_cells = min(POOL_CELLS, max(1, options.memory * len(self) // (n_bytes * POOLS)))
        # Held-out cells stay in memory.
        self.most_held_out = self.pool_cells
        self._memory = options.memory // (2 * len(sources))
        self._order = BlockOrder(
            [len(one) for one in facts], [one.given.weight for one in sources], options.temperature, options.seed
        )
        self._open: OrderedDict[int, tuple[ExitStack, CountRows]] = OrderedDict()
        self._all: CellBatch | None = None

    def __len__(self) -> int:
        """Number of cells."""
        return int(self._starts[-1])

    @property
    def digest(self) -> str:
        """Digest of all cells and genes, by which the same corpus is recognised."""
        digests = [self.vocabulary.fingerprint]
        digests += [f"{source.facts.digest} {source.given.weight}" for source in self.sources]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def pools(self, used: np.ndarray, epoch: int) -> Iterator[Pool]:
        """See :class:`CellStore`."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[used] = True
        return self._order.pools(chosen, epoch, self.pool_cells)

    def load(self, pool: Pool) -> tuple[CellBatch, np.ndarray]:
        """See :class:`CellStore`."""
        if self.in_memory:
            if self._all is None:
                self._all = self.read(np.arange(len(self)))
                self.close()
            return self._all, pool.cells
        cells, rows = np.unique(pool.cells, return_inverse=True)
        return self.read(cells), rows

    def sample(self) -> CellBatch:
        """Return a pool of cells of all inputs, or all cells if they are no more."""
        cells, rows = self.load(next(self.pools(np.arange(len(self)), 0)))
        return cells if len(rows) == len(cells) else cells.select(torch.from_numpy(rows))

    def runs(self) -> Iterator[CellBatch]:
        """Yield every cell once, a pool at a time, in the order of the inputs."""
        if self._all is not None:
            yield self._all
            return
        for first in range(0, len(self), self.pool_cells):
            yield self.read(np.arange(first, min(first + self.pool_cells, len(self))))

    def read(self, cells: np.ndarray) -> CellBatch:
        """Return some cells, ``(n,)`` in rising order; neighbours are read in one piece."""
        parts, panels = [], []
        for number, (first, last) in enumerate(self._runs()):
            own = cells[np.searchsorted(cells, first) : np.searchsorted(cells, last)]
            if not len(own):
                continue
            rows, genes = self._rows(number), self._genes[number]
            for run in _runs_of(own - first):
                block = rows.read(int(run[0]), int(run[-1]) + 1).astype(np.float32, copy=False)
                if len(run) < block.shape[0]:
                    block = block[run - run[0]]
                there = run + first
                parts.append(genes.batch(block, self.tissue[there], self._position(number, run), self.batch[there]))
                panels.append(np.full(len(run), self._panel[number]))
        whole = CellBatch.concatenate(parts)
        panel = torch.from_numpy(np.concatenate(panels))
        return replace(whole, panel=panel, measured=self._measured, species=self._species)

    def close(self) -> None:
        """Close the files."""
        for stack, _ in self._open.values():
            stack.close()
        self._open.clear()

    def _runs(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)

    def _labels(self) -> Tensor | None:
        """Return the labels ``(n,)`` of all inputs, -1 where there are none; None if there are none at all."""
        found = [source.facts for source in self.sources]
        names = sorted({name for one in found for name in one.labels.tolist()})
        if not names:
            return None
        place = {name: code for code, name in enumerate(names)}
        codes = [np.array([*(place[name] for name in one.labels.tolist()), -1])[one.label] for one in found]
        return torch.from_numpy(np.concatenate(codes))

    def _position(self, number: int, rows: np.ndarray) -> np.ndarray:
        position = self.sources[number].facts.position
        return position[rows] if len(position) else np.full((len(rows), 2), np.nan, dtype=np.float32)

    def _rows(self, number: int) -> CountRows:
        """Return the counts of an input; the files that were used last stay open."""
        if number in self._open:
            self._open.move_to_end(number)
        else:
            stack = ExitStack()
            self._open[number] = stack, stack.enter_context(self.sources[number].open(self._memory))
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
        return self._open[number][1]


def _runs_of(rows: np.ndarray) -> list[np.ndarray]:
    """Cut rows in rising order into runs that are read in one piece."""
    cuts = np.flatnonzero((np.diff(rows) > GAP) | (np.diff(rows // 8192) > 0)) + 1
    return np.split(rows, cuts)


def open_corpus(
    inputs: Sequence[Input],
    vocabulary: GeneVocabulary | None,
    options: CorpusOptions,
    *,
    skip_bad_files: bool = False,
    progress: bool = False,
) -> Corpus:
    """Check the inputs and return their corpus, over the genes that they express if no vocabulary is given."""
    sources = check_inputs(inputs, skip_bad_files=skip_bad_files, progress=progress)
    return Corpus(sources, find_vocabulary(sources) if vocabulary is None else vocabulary, options)
