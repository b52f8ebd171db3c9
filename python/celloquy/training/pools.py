"""The cells of an epoch in pools: what is in memory at a time, and the order in which cells come.

A file is read in blocks of neighbouring cells, because a disk reads neighbours fast. The blocks of all files are put
into a random order and read a pool at a time, and the cells of a pool are shuffled among each other. So the order is
random at the scale of a pool, and a pure function of seed and epoch. Cells that fit the memory are one pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from celloquy.data import CellBatch

BLOCK_CELLS = 256
"""Number of neighbouring cells that are read together."""

# Purposes of draws, which are part of their seeds; those of `masked_counts` are other numbers.
BLOCKS, ORDER = 100, 101


@dataclass(frozen=True, slots=True)
class Pool:
    """Cells that are in memory together."""

    cells: np.ndarray
    """``(n,)`` int64: the cells, by their number in the whole."""
    copy: np.ndarray
    """``(n,)`` int64: which time of an epoch a cell comes; 0 where each comes once. Copies share no sentence."""

    @staticmethod
    def once(cells: np.ndarray) -> Pool:
        """Return a pool of different cells."""
        return Pool(cells, np.zeros(len(cells), dtype=np.int64))

    def take(self, places: np.ndarray) -> Pool:
        """Return a pool of some of the cells."""
        return Pool(self.cells[places], self.copy[places])


class CellStore(Protocol):
    """Cells to train on, in memory or on disk."""

    tissue: np.ndarray
    """``(n,)``: tissue of each cell."""
    batch: np.ndarray
    """``(n,)``: experimental batch of each cell, or -1."""
    most_held_out: int
    """Number of cells that can be held out, because held-out cells stay in memory."""
    in_memory: bool
    """True if nothing needs to be read."""

    def pools(self, used: np.ndarray, epoch: int, /) -> Iterator[Pool]:
        """Yield the pools of an epoch over the cells in use."""
        ...

    def load(self, pool: Pool, /) -> tuple[CellBatch, np.ndarray]:
        """Return cells in memory, and the row of each cell of the pool."""
        ...


class CellsInMemory:
    """A batch of cells as a store: one pool."""

    in_memory = True

    def __init__(self, cells: CellBatch) -> None:
        self._cells = cells
        self.tissue, self.batch, self.most_held_out = cells.tissue.numpy(), cells.batch.numpy(), len(cells)

    def pools(self, used: np.ndarray, epoch: int) -> Iterator[Pool]:
        """See :class:`CellStore`."""
        yield Pool.once(used)

    def load(self, pool: Pool) -> tuple[CellBatch, np.ndarray]:
        """See :class:`CellStore`."""
        return self._cells, pool.cells


class BlockOrder:
    """The order of the blocks of several files, epoch by epoch.

    Every file goes through its blocks in a random order before any comes again. A file of ``n`` cells and weight ``w``
    has a share of ``w n^(1 / temperature)`` of an epoch.

    Parameters
    ----------
    sizes
        Number of cells of each file.
    weights
        Weight of each file.
    temperature
        1 takes every cell once an epoch; the higher, the more alike are the shares of small and large files.
    seed
        Seed of the order.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], temperature: float, seed: int) -> None:
        self._seed = seed
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._blocks = [-(-size // BLOCK_CELLS) for size in sizes]
        share = np.asarray(weights) * np.asarray(sizes, dtype=float) ** (1 / temperature)
        # Blocks an epoch: the share of the file in the cells of an epoch, over the cells of a block.
        self._quotas = np.asarray(self._blocks) * (share / share.sum()) * (sum(sizes) / np.asarray(sizes, dtype=float))

    def pools(self, used: np.ndarray, epoch: int, most: int) -> Iterator[Pool]:
        """Yield the pools of an epoch.

        Parameters
        ----------
        used
            ``(cells,)`` bool: the cells of all files that are in use.
        epoch
            Number of the epoch, from 0.
        most
            Largest number of cells of a pool, and at least a block.
        """
        blocks = [self._file(number, epoch) for number in range(len(self._blocks))]
        first, last, copy = (np.concatenate(part) for part in zip(*blocks, strict=True))
        order = np.random.default_rng([self._seed, ORDER, epoch]).permutation(len(first))
        pool_of = (np.cumsum((last - first)[order]) - 1) // max(most, BLOCK_CELLS)
        for one in np.split(order, np.flatnonzero(np.diff(pool_of)) + 1):
            # In the order of the files, for the disk; the cells are shuffled when sentences are drawn.
            chosen = one[np.argsort(first[one], kind="stable")]
            sizes = (last - first)[chosen]
            cells = np.repeat(first[chosen] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
            pool = Pool(cells, np.repeat(copy[chosen], sizes)).take(np.flatnonzero(used[cells]))
            if len(pool.cells):
                yield pool

    def _file(self, number: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return first cell, last cell and copy of the blocks of a file in an epoch."""
        n_blocks, quota = self._blocks[number], self._quotas[number]
        turns = np.arange(round(epoch * quota), round((epoch + 1) * quota))
        cycles = turns // n_blocks
        block = np.empty_like(turns)
        for cycle in np.unique(cycles):
            shuffled = np.random.default_rng([self._seed, BLOCKS, number, cycle]).permutation(n_blocks)
            block[cycles == cycle] = shuffled[turns[cycles == cycle] % n_blocks]
        first = self._starts[number] + block * BLOCK_CELLS
        last = np.minimum(first + BLOCK_CELLS, self._starts[number + 1])
        return first, last, cycles - cycles[:1].sum()


def load_ahead(
    store: CellStore, planned: Iterator[tuple[Pool, Any]]
) -> Iterator[tuple[CellBatch, np.ndarray, Pool, Any]]:
    """Yield cells in memory, rows, pool and plan of each pool; the next pool is read meanwhile, in a thread."""
    if store.in_memory:
        for pool, plan in planned:
            yield *store.load(pool), pool, plan
        return
    with ThreadPoolExecutor(1, initializer=_one_thread) as reader:
        waiting = None
        for pool, plan in planned:
            coming = reader.submit(store.load, pool), pool, plan
            if waiting is not None:
                yield *waiting[0].result(), *waiting[1:]
            waiting = coming
        if waiting is not None:
            yield *waiting[0].result(), *waiting[1:]


def _one_thread() -> None:
    """Let torch read in this thread alone.

    With threads of its own there would be more than the machine has cores. OpenMP's threads then sleep wherever they
    wait for each other, the model's too, and the training takes a third longer or more.
    """
    torch.get_num_threads()  # takes the usual number over, which is then lowered
    threadpool_limits(1, user_api="openmp")
