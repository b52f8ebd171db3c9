"""Cut tissues into sentences and put sentences into minibatches, anew in every epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from celloquy.data import CellBatch


def draw_sentences(
    tissue: np.ndarray, *, longest: int, batch_size: int, random: np.random.Generator
) -> list[list[np.ndarray]]:
    """Shuffle the cells of each tissue, cut them into sentences of similar size, and fill minibatches with these.

    A sentence is an array ``(cells,)`` int64: the places of the cells that are read together.

    Parameters
    ----------
    tissue
        Tissue of every cell, ``(n,)`` int64.
    longest
        Largest number of cells of a sentence.
    batch_size
        Largest number of cells of a minibatch, at least that of a sentence.
    random
        Generator of the shuffling.
    """
    shuffled = random.permutation(len(tissue))
    by_tissue = shuffled[np.argsort(tissue[shuffled], kind="stable")]
    ends = np.flatnonzero(np.diff(tissue[by_tissue])) + 1
    sentences: list[np.ndarray] = []
    for whole in np.split(by_tissue, ends):
        if len(whole):
            sentences += np.array_split(whole, -(-len(whole) // longest))
    batches: list[list[np.ndarray]] = []
    room = 0
    for place in random.permutation(len(sentences)):
        sentence = sentences[place]
        if not batches or len(sentence) > room:
            batches.append([])
            room = batch_size
        batches[-1].append(sentence)
        room -= len(sentence)
    return batches


def gather(cells: CellBatch, sentences: list[np.ndarray]) -> CellBatch:
    """Return the cells of some sentences, with the panels that they have; each sentence becomes a tissue of its own."""
    chosen = cells.select(torch.from_numpy(np.concatenate(sentences)))
    number = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
    # A corpus has many panels, a minibatch few.
    panels, panel = chosen.panel.unique(return_inverse=True)
    return replace(
        chosen, tissue=torch.from_numpy(number), panel=panel, measured=cells.measured[panels],
        species=cells.species[panels],
    )  # fmt: skip
