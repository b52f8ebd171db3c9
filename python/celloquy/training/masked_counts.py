"""The objective of pretraining: fill in masked counts.

Wen et al. 2024, CellPLM, section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from celloquy.models import Model
from celloquy.nn.masking import BiLevelMask
from celloquy.nn.mmd import maximum_mean_discrepancy
from celloquy.runtime.hardware import autocast
from celloquy.training.loop import Batch, Objective
from celloquy.training.sampling import draw_sentences, gather
from celloquy.training.split import hold_out

if TYPE_CHECKING:
    from celloquy.data import CellBatch

# Purposes of draws, which are part of their seeds, so that no two draws share their random numbers.
SPLIT, HELD_OUT, SENTENCES, MASKS = range(4)


WARMUP = 0.5
"""Share of the training in which the weights of the divergence and of the discrepancy rise from 0, linearly."""


class MaskedCounts(Objective):
    """The loss of a model on masked cells: negative binomial of the counts, and divergence of the latent.

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
        """Return ``loss``, and its parts ``reconstruction`` and ``divergence``, in nats a cell.

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
        figures = {"reconstruction": losses.reconstruction, "divergence": losses.divergence}
        loss = losses.reconstruction + warmup * losses.divergence_weight * losses.divergence
        if self.batch_mixing:
            figures["discrepancy"] = maximum_mean_discrepancy(losses.embedding, batch.batch)
            loss = loss + warmup * self.batch_mixing * figures["discrepancy"]
        return {"loss": loss, **figures}

    def visible(self, batch: CellBatch, mask: BiLevelMask) -> CellBatch:
        """Return the cells with the counts that are visible to the encoder."""
        return mask.hide(batch)


class MaskedCells:
    """The cells of a pretraining, in minibatches of masked sentences.

    Parameters
    ----------
    cells
        All cells, held-out ones included.
    model
        Model, which determines the shares of the mask.
    batch_size
        Largest number of cells of a sentence, and of a minibatch.
    held_out
        Share of the cells to hold out, the same of every experimental batch.
    seed
        Seed of the split, the sentences and the masks.
    labels
        Labels ``(cells,)`` int64. With labels, every minibatch has those of its cells, and the same share of every
        label is held out.
    """

    def __init__(
        self,
        cells: CellBatch,
        model: Model,
        *,
        batch_size: int,
        held_out: float,
        seed: int,
        labels: Tensor | None = None,
    ) -> None:
        self._cells, self._masking, self._longest, self._seed = cells, model.masking, batch_size, seed
        self._tissue, self._labels = cells.tissue.numpy(), labels
        self._used, self._kept = (part.numpy() for part in split_cells(cells, held_out, seed, labels))

    def __len__(self) -> int:
        """Number of training cells."""
        return len(self._used)

    @property
    def held_out(self) -> int:
        """Number of held-out cells."""
        return len(self._kept)

    def epoch(self, number: int, rank: int = 0, processes: int = 1) -> Iterator[tuple[Batch, ...]]:
        """Yield the minibatches of an epoch, or those of one of several processes."""
        yield from self._batches(self._used, (SENTENCES, number), rank, processes)

    def validation(self, rank: int = 0, processes: int = 1) -> Iterator[tuple[Batch, ...]]:
        """Yield the held-out minibatches, the same with the same masks every time."""
        yield from self._batches(self._kept, (HELD_OUT,), rank, processes)

    def _batches(
        self, cells: np.ndarray, draw: tuple[int, ...], rank: int, processes: int
    ) -> Iterator[tuple[Batch, ...]]:
        random = np.random.default_rng([self._seed, *draw])
        for number, sentences in list(enumerate(self._sentences(cells, random)))[rank::processes]:
            mask = BiLevelMask.draw(sum(map(len, sentences)), self._masking, seed=[self._seed, MASKS, *draw, number])
            batch = gather(self._cells, sentences)
            if self._labels is None:
                yield batch, mask
            else:
                yield batch, mask, self._labels[torch.from_numpy(np.concatenate(sentences))]

    def _sentences(self, cells: np.ndarray, random: np.random.Generator) -> list[list[np.ndarray]]:
        """Return minibatches of sentences."""
        return draw_sentences(self._tissue, cells, longest=self._longest, random=random)


def split_cells(cells: CellBatch, share: float, seed: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the training and the held-out cells: hold out the same share of every batch and, if given, every label.

    Parameters
    ----------
    cells
        Cells to split, with their batches.
    share
        Share to hold out.
    seed
        Seed of the draw.
    labels
        Labels of the cells, ``(cells,)`` int64.
    """
    groups = cells.batch if labels is None else labels * (cells.batch.max() + 2) + cells.batch
    used, kept = hold_out(groups.numpy(), share, np.random.default_rng([seed, SPLIT]))
    return torch.from_numpy(used), torch.from_numpy(kept)
