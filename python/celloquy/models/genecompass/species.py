"""The species of cells, the genes of a species, and the pairs of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from celloquy.models.genecompass.tokens import SPECIAL

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.genes import GeneVocabulary


def species_of(batch: CellBatch, vocabulary: GeneVocabulary) -> Tensor:
    """Return the species of cells, ``(n,)`` int64 on the CPU; see :meth:`GeneModel.species_of`."""
    species = batch.species.cpu()
    if bool((species < 0).any()):
        human, mouse = _known(vocabulary)
        measured = batch.measured.cpu()
        guess = ((measured & mouse & ~human).sum(1) > (measured & human & ~mouse).sum(1)).long()
        species = torch.where(species < 0, guess, species)
    return species[batch.panel.cpu()]


def rows_of_species(vocabulary: GeneVocabulary) -> tuple[Tensor, ...]:
    """Return which genes are of human and which of mouse, each ``(g,)`` bool; those of neither are of both.

    A model of one species alone may be asked to read cells of the other, to which its genes then belong.
    """
    human, mouse = _known(vocabulary)
    return tuple(own if own.any() else ~own for own in (human | ~mouse, mouse | ~human))


def partners(vocabulary: GeneVocabulary, words: int) -> Tensor:
    """Return the row of what is known of each word in a mouse cell; those of mouse genes of pairs follow all words."""
    partner = torch.arange(words)
    both = zip(vocabulary.human_ids, vocabulary.mouse_ids, strict=True)
    pairs = [row for row, (human, mouse) in enumerate(both) if human and mouse]
    partner[torch.tensor(pairs, dtype=torch.int64) + SPECIAL] = torch.arange(len(pairs)) + SPECIAL + len(vocabulary)
    return partner


def _known(vocabulary: GeneVocabulary) -> tuple[Tensor, Tensor]:
    human, mouse = (torch.tensor([bool(gene) for gene in ids]) for ids in (vocabulary.human_ids, vocabulary.mouse_ids))
    return human, mouse
