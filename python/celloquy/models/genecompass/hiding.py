"""What is hidden of the tokens of cells in pretraining, and what is asked for.

A mask is a rule of cell and gene, see :mod:`celloquy.nn.masking`: the same whoever computes it, and whatever the count
of the gene is. Of the genes that are to be named, eight in ten are hidden, one in ten is replaced by a random gene of
the cell's species, and one stays as it is. A hidden or replaced gene has the value -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from celloquy.models.genecompass.tokens import HUMAN, MASK, USUAL_DEPTH, GeneTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celloquy.data import CellBatch
    from celloquy.models.genecompass.config import GeneModelConfig
    from celloquy.nn.masking import BiLevelMask

NOT_ASKED = -100
"""Label of a place whose gene is not asked for."""

NO_VALUE = -1.0
"""Value of a place whose value is hidden."""

HIDDEN, CHANGED = 0.8, 0.9
"""Shares of the genes to be named that are hidden, and that are hidden or replaced."""

WHOLE = 2**31
"""Context of a cell whose every gene is read."""

# Purposes of numbers that are drawn beside a mask.
KIND, OTHER, PLACE = 1, 2, 3


class Tokeniser(Protocol):
    """A gene model, as far as hiding asks for it."""

    config: GeneModelConfig
    token: Tensor

    @property
    def words_of_species(self) -> Sequence[Tensor]:
        """Ids of the genes of human and of mouse."""

    def tokenise(self, batch: CellBatch, *, context: int | None = None, scaled: bool | None = None) -> GeneTokens:
        """Return the tokens of some cells."""


@dataclass(frozen=True, eq=False, slots=True)
class HiddenTokens:
    """Tokens of which some are hidden. Shapes: ``t`` tokens."""

    seen: GeneTokens
    """What the model sees."""
    labels: Tensor
    """``(t,)`` int64: the gene of each place whose gene is asked for, -100 elsewhere."""
    targets: Tensor
    """``(t,)`` float32: the value of each place whose value is asked for, NaN elsewhere."""
    clear: GeneTokens
    """All genes of the cells that are not asked for, also those beyond the context."""


def hide(model: Tokeniser, batch: CellBatch, mask: BiLevelMask) -> HiddenTokens:
    """Return the tokens of some cells as a mask leaves them.

    What is seen does not depend on what is hidden, not even through the depth of a cell or the end of the context. Only
    where the model knows ranks, a hidden place keeps its rank.

    Parameters
    ----------
    model
        The model.
    batch
        All counts of the cells; what is returned is on their device.
    mask
        What is hidden of them, on the same.
    """
    config, device = model.config, batch.values.device
    tokens = model.tokenise(batch, context=WHOLE, scaled=False).to(device)
    cell = torch.repeat_interleave(torch.arange(len(tokens), device=device), tokens.lengths)
    asked = mask.at(cell, tokens.ids)
    kept = _within(tokens, cell, asked, mask, config.context, ranked=config.positions == "rank")
    told = seen = tokens.values
    if config.depth == "scaled":
        visible = batch.keep(~mask.at(batch.cell_of_count, model.token.to(device)[batch.indices.long()]))
        told = _scaled(told, cell, batch.library_size())
        seen = _scaled(seen, cell, visible.library_size() / (1 - mask.rate).float())
    clear = GeneTokens(_starts(cell[~asked], len(tokens)), tokens.ids[~asked], seen[~asked], tokens.species, tokens.cut)
    cell, ids, told, seen, asked = cell[kept], tokens.ids[kept], told[kept], seen[kept], asked[kept]
    if config.value_scale == "raw":
        told = torch.expm1(told * math.log(2))
    named = asked if config.asked == "together" else asked & (mask.numbers(cell, ids, KIND) < 0.5)
    valued = asked if config.asked == "together" else asked & ~named
    hidden, changed = (named & mask.part(share).at(cell, ids) for share in (HIDDEN, CHANGED))
    shown = torch.where(hidden, MASK, torch.where(changed, _others(model, tokens.species, cell, ids, mask), ids))
    seen = torch.where(changed | (valued & ~named), NO_VALUE, seen)
    indptr = _starts(cell, len(tokens))
    return HiddenTokens(
        GeneTokens(indptr, shown, seen, tokens.species, tokens.lengths - indptr.diff()),
        torch.where(named, ids, NOT_ASKED),
        torch.where(valued, told, torch.nan),
        clear,
    )


def _starts(cell: Tensor, n_cells: int) -> Tensor:
    """Return where the tokens of each cell start, from the cell of each, ``(n + 1,)``."""
    ends = torch.bincount(cell, minlength=n_cells).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])


def _within(
    tokens: GeneTokens, cell: Tensor, asked: Tensor, mask: BiLevelMask, context: int, *, ranked: bool
) -> Tensor:
    """Which tokens are within the context, ``(t,)`` bool.

    Without ranks, what is asked for and what is not have shares of it, the one drawn at random and the other the
    highest values, lest a hidden value decide what is seen.
    """
    place = torch.arange(len(asked), device=asked.device)
    if not ranked:
        # Those that are asked for in random order come after the others, which keep theirs. The numbers have 32 bits,
        # so that with that of the cell they are whole in 53.
        number = 1 + mask.numbers(cell, tokens.ids, PLACE)
        order = (4.0 * cell + torch.where(asked, number, 0.0)).argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, place)
    place = place - torch.repeat_interleave(tokens.indptr[:-1], tokens.lengths)
    if ranked:
        return place < context
    most = (mask.rate * context).round()[cell]
    others = (tokens.lengths - torch.bincount(cell[asked], minlength=len(tokens)))[cell]
    return torch.where(asked, place - others < most, place < context - most)


def _scaled(values: Tensor, cell: Tensor, depth: Tensor) -> Tensor:
    """Return the values of counts that are scaled from the depth of a cell to the usual one."""
    # A cell of which nothing is seen has no depth to be scaled from.
    factor = USUAL_DEPTH / torch.where(depth > 0, depth, USUAL_DEPTH)
    return torch.log1p(torch.expm1(values * math.log(2)) * factor[cell]) / math.log(2)


def _others(model: Tokeniser, species: Tensor, cell: Tensor, ids: Tensor, mask: BiLevelMask) -> Tensor:
    """Return a random gene of the cell's species for each token."""
    number = mask.numbers(cell, ids, OTHER)
    drawn = ((own.to(ids.device), len(own)) for own in model.words_of_species)
    human, mouse = (own[(number * many).long().clamp(max=many - 1)] for own, many in drawn)
    return torch.where(species[cell] == HUMAN, human, mouse)
