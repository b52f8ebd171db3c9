"""The objective of pretraining: fill in masked counts.

Wen et al. 2024, CellPLM, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.data import CellBatch
from celloquy.models import Model
from celloquy.nn.masking import BiLevelMask, Masking
from celloquy.nn.mmd import maximum_mean_discrepancy
from celloquy.runtime.hardware import autocast
from celloquy.training.loop import Batch, Objective, Step
from celloquy.training.pools import CellsInMemory, CellStore, Pool, load_ahead
from celloquy.training.sampling import draw_sentences, gather
from celloquy.training.split import hold_out

# Purposes of draws, which are part of their seeds, so that no two draws share their random numbers.
SPLIT, HELD_OUT, SENTENCES, MASKS, NOISE = range(5)


WARMUP = 0.5
"""Share of the training in which the weights of the divergence and of the discrepancy rise from 0, linearly."""


class MaskedCounts(Objective):
    """The loss of a model on masked cells: how well it fills in what is hidden, and the divergence of its latent.

    The weights of the divergence and of the discrepancy of batches rise slowly. At full weight from the start, either
    removes information from the latent before the decoder has learned to read it: with a few hundred cells of two
    plates, one of them thinned, half of the seeds then lost the cell types.

    Parameters
    ----------
    model
        Model to train.
    precision
        Precision of the matrix products.
    batch_mixing
        Weight, in nats a cell, of the discrepancy of the batches in the embedding; see
        :func:`celloquy.nn.mmd.maximum_mean_discrepancy`.
    """

    def __init__(
        self, model: Model, precision: Literal["float32", "bfloat16"] = "float32", *, batch_mixing: float = 0.0
    ) -> None:
        super().__init__()
        self.model, self.precision, self.batch_mixing = model, precision, batch_mixing

    def forward(self, batch: CellBatch, mask: BiLevelMask) -> dict[str, Tensor]:
        """Return ``loss``, and the parts that the model names, for a CellModel in nats a cell.

        Parameters
        ----------
        batch
            Cells of whole tissues.
        mask
            Mask of the counts that are hidden from the encoder.
        """
        with autocast(self.precision, batch.values.device):
            losses = self.model.fill_in(self.visible(batch, mask), batch, mask)
        warmup = min(1.0, self.progress / WARMUP)
        figures, loss = {"reconstruction": losses.reconstruction, **losses.parts}, losses.reconstruction
        if losses.divergence is not None:
            figures["divergence"] = losses.divergence
            loss = loss + warmup * losses.divergence_weight * losses.divergence
        if self.batch_mixing:
            figures["discrepancy"] = maximum_mean_discrepancy(losses.embedding, batch.batch)
            loss = loss + warmup * self.batch_mixing * figures["discrepancy"]
        return {"loss": loss, **figures}

    def visible(self, batch: CellBatch, mask: BiLevelMask) -> CellBatch:
        """Return the cells with the counts that are visible to the encoder."""
        return mask.hide(batch)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a minibatch."""

    number: int
    """Number in the epoch."""
    sentences: list[np.ndarray]
    """Places of the cells of each sentence in the pool."""

    def __len__(self) -> int:
        return sum(map(len, self.sentences))


class MaskedCells:
    """The cells of a pretraining, in minibatches of masked sentences.

    Parameters
    ----------
    cells
        All cells, held-out ones included, in memory or in a store.
    model
        Model, which determines the shares of the mask.
    batch_size
        Largest number of cells of a minibatch.
    held_out
        Share of the cells to hold out, the same of every experimental batch.
    seed
        Seed of the split, the sentences and the masks.
    cells_per_sentence
        Largest number of cells of a sentence; by default that of a part.
    parts
        Number of parts of a minibatch, which several processes share.
    labels
        Labels ``(cells,)`` int64. With labels, every minibatch has those of its cells, and the same share of every
        label is held out.
    masking
        Shares of the mask; by default those of the model.
    """

    def __init__(
        self,
        cells: CellBatch | CellStore,
        model: Model,
        *,
        batch_size: int,
        held_out: float,
        seed: int,
        cells_per_sentence: int | None = None,
        parts: int = 1,
        labels: Tensor | None = None,
        masking: Masking | None = None,
    ) -> None:
        self._store: CellStore = CellsInMemory(cells) if isinstance(cells, CellBatch) else cells
        self._masking, self._seed, self._labels, self._parts = masking or model.masking, seed, labels, parts
        self._batch_size = max(1, batch_size // parts)
        self._longest = min(self._batch_size, cells_per_sentence or self._batch_size)
        self._tissue = self._store.tissue
        share = min(held_out, self._store.most_held_out / len(self._tissue))
        used, kept = split_cells(torch.from_numpy(self._store.batch), share, seed, labels)
        self._used, self._kept = used.numpy(), kept.numpy()
        self._held: tuple[CellBatch, np.ndarray] | None = None

    def __len__(self) -> int:
        """Number of training cells."""
        return len(self._used)

    @property
    def held_out(self) -> int:
        """Number of held-out cells."""
        return len(self._kept)

    def epoch(self, number: int, rank: int = 0, processes: int = 1, first: int = 0) -> Iterator[Step]:
        """Yield the steps of an epoch, from number ``first`` on, each with its parts for one of several processes."""
        draw = SENTENCES, number
        planned = self._plan(self._store.pools(self._used, number), draw, rank, processes, first)
        for cells, rows, pool, steps in load_ahead(self._store, planned):
            for n_cells, parts in steps:
                inputs = [self._inputs(cells, rows, pool, part, draw) for part in parts]
                # Where a step has several parts, their noise must not depend on who draws it.
                noise = [self._noise(number, part.number) for part in parts] if self._parts > 1 else []
                yield Step(n_cells, inputs, noise)

    def validation(self, rank: int = 0, processes: int = 1) -> Iterator[tuple[Batch, ...]]:
        """Yield the held-out minibatches, the same with the same masks every time."""
        pool, draw = Pool.once(self._kept), (HELD_OUT,)
        if self._held is None:
            self._held = self._store.load(pool)
        for _, steps in self._plan(iter([pool]), draw, rank, processes, 0):
            for _, parts in steps:
                for part in parts:
                    yield self._inputs(*self._held, pool, part, draw)

    def _plan(
        self, pools: Iterator[Pool], draw: tuple[int, ...], rank: int, processes: int, first: int
    ) -> Iterator[tuple[Pool, list[tuple[int, list[_Part]]]]]:
        """Yield each pool with its steps: their numbers of cells, and those of their parts that are this process's."""
        random, n_parts, n_steps = np.random.default_rng([self._seed, *draw]), 0, 0
        for pool in pools:
            # Copies of a cell must not read each other.
            tissue = self._tissue[pool.cells] * (pool.copy.max(initial=0) + 1) + pool.copy
            parts = [_Part(n_parts + i, one) for i, one in enumerate(self._sentences(tissue, random))]
            whole = [parts[i : i + self._parts] for i in range(0, len(parts), self._parts)]
            steps = whole[max(0, first - n_steps) :]
            n_parts, n_steps = n_parts + len(parts), n_steps + len(whole)
            if steps:
                yield pool, [(sum(len(part) for part in step), step[rank::processes]) for step in steps]

    def _inputs(
        self, cells: CellBatch, rows: np.ndarray, pool: Pool, part: _Part, draw: tuple[int, ...]
    ) -> tuple[Batch, ...]:
        mask = BiLevelMask.draw(len(part), self._masking, seed=[self._seed, MASKS, *draw, part.number])
        batch = gather(cells, [rows[sentence] for sentence in part.sentences])
        if self._labels is None:
            return batch, mask
        return batch, mask, self._labels[torch.from_numpy(pool.cells[np.concatenate(part.sentences)])]

    def _noise(self, epoch: int, part: int) -> int:
        return int(np.random.default_rng([self._seed, NOISE, epoch, part]).integers(2**63))

    def _sentences(self, tissue: np.ndarray, random: np.random.Generator) -> list[list[np.ndarray]]:
        """Return parts of minibatches, each some sentences, as the places of their cells in a pool."""
        return draw_sentences(tissue, longest=self._longest, batch_size=self._batch_size, random=random)


def split_cells(batch: Tensor, share: float, seed: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the training and the held-out cells: hold out the same share of every batch and, if given, every label.

    Parameters
    ----------
    batch
        Experimental batches of the cells, ``(cells,)`` int64.
    share
        Share to hold out.
    seed
        Seed of the draw.
    labels
        Labels of the cells, ``(cells,)`` int64.
    """
    groups = batch if labels is None else labels * (batch.max() + 2) + batch
    used, kept = hold_out(groups.numpy(), share, np.random.default_rng([seed, SPLIT]))
    return torch.from_numpy(used), torch.from_numpy(kept)
