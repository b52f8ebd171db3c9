"""Read cells whose genes are deleted or have other values: every other token keeps its value and its position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from celloquy.models.changing import ReadingChanges
from celloquy.models.genecompass.encoding import cells_of_like_length
from celloquy.models.genecompass.summary import sums_of_words
from celloquy.models.genecompass.tokens import MOUSE, PADDING, USUAL_DEPTH

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.data.changes import CountChange
    from celloquy.models.genecompass.config import GeneModelConfig
    from celloquy.models.genecompass.fusion import GeneFusion
    from celloquy.models.genecompass.tokens import GeneTokens
    from celloquy.nn.transformer import Transformer

CHANGES_AT_A_TIME = 256
"""Changes whose cells are sorted by length together."""


class TokenReader(Protocol):
    """A gene model, as far as changed cells ask for it."""

    config: GeneModelConfig
    fusion: GeneFusion
    encoder: Transformer
    token: Tensor
    partner: Tensor
    median: Tensor

    def tokens_of(self, batch: CellBatch) -> GeneTokens:
        """Return the tokens of some cells that an embedding takes."""

    def table(self, species: int) -> Tensor:
        """Return word and priors of every gene."""

    def start(self, species: Tensor, sums: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return what the tokens of cells start from."""

    def cells_first(self, folded: Tensor, values: Tensor, start: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the cell's token and those of its genes."""

    def pooled(self, read: Tensor, ids: Tensor, values: Tensor) -> Tensor:
        """Return the embedding of what the last layer gives."""


class ChangingTokens(ReadingChanges):
    """The methods of the ability ``"read changed counts"``, a part of :class:`celloquy.GeneModel`.

    A gene that is deleted leaves a gap that is not read, so that no other gene moves up. A gene with another count has
    another value, on the depth that the cell had, and the rank that belongs to this value; one that enters a cell is
    read beside the others, also where the context is full, if its value is above the lowest that is read.
    """

    def embed_changed(
        self, batch: CellBatch, changes: Iterable[CountChange]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See :meth:`ReadingChanges.embed_changed`."""
        model = cast("TokenReader", self)
        for pairs in _Cells(model, batch).changed(changes):
            summary = model.config.pooling == "summary"
            vectors = pairs.start.float() if summary else model.pooled(pairs.read(), pairs.ids, pairs.values)
            yield pairs.change, pairs.cell, vectors

    def gene_shifts_in(
        self, batch: CellBatch, changes: Iterable[CountChange]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Yield how far the vectors of the other genes move.

        Number of the change, cell, row of the vocabulary, 1 - cosine and Euclidean distance between the last layer's
        vectors before and after, each ``(m,)``, of genes that are read both times and are not themselves changed.
        """
        model = cast("TokenReader", self)
        cells = _Cells(model, batch)
        row_of = torch.zeros(len(model.partner), dtype=torch.int64)
        row_of[model.token.cpu()] = torch.arange(len(model.token))
        for pairs in cells.changed(changes):
            before, after = cells.as_they_are(pairs).read()[:, 1:], pairs.read()[:, 1:]
            after = after[:, : before.shape[1]]
            there = pairs.held[:, : before.shape[1]]
            old, new = before[there], after[there]
            which, place = torch.nonzero(there, as_tuple=True)
            yield (
                pairs.change[which.cpu()], pairs.cell[which.cpu()], row_of[pairs.ids[which, place].cpu()],
                1 - functional.cosine_similarity(old, new), (new - old).norm(dim=1),
            )  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class _Pairs:
    """Some cells of like length, each with one change: ``p`` pairs, ``l`` tokens."""

    model: TokenReader
    table: Tensor
    change: Tensor
    cell: Tensor
    ids: Tensor
    values: Tensor
    places: Tensor
    held: Tensor
    """``(p, l)`` bool: genes that are read, and not changed."""
    start: Tensor
    """``(p, width)``: what the token of the cell starts from."""

    def read(self) -> Tensor:
        """Return what the last layer gives, ``(p, 1 + l, width)``."""
        folded = functional.embedding(self.ids, self.table)
        whole = self.model.cells_first(folded, self.values, self.start, self.places)
        return self.model.encoder(whole, functional.pad(self.ids != PADDING, (1, 0), value=True)).float()


class _Cells:
    """The tokens of some cells, on the CPU, and what makes the value of a count."""

    def __init__(self, model: TokenReader, batch: CellBatch) -> None:
        self.model, batch = model, batch.to("cpu")
        whole = model.tokens_of(batch)
        self.tokens = tokens = whole.first(model.config.context)
        self.device = model.token.device
        self.token = model.token.cpu()
        # Of each gene its median in human and mouse; where it is not known it counts as 1.
        medians = torch.stack([model.median[model.token], model.median[model.partner[model.token]]]).cpu()
        self.median = torch.where(medians > 0, medians, 1.0).double()
        depth = batch.library_size().double()
        scaled = model.config.depth == "scaled"
        self.scale = torch.where(depth > 0, USUAL_DEPTH / depth, 0.0) if scaled else torch.ones(len(batch)).double()
        owner = torch.repeat_interleave(torch.arange(len(batch)), tokens.lengths)
        self.key = (owner * len(model.partner) + tokens.ids).sort().values
        last = tokens.indptr[1:] - 1
        lowest = tokens.values[last.clamp(min=0)] if len(tokens.values) else torch.zeros(len(batch))
        self.lowest = torch.where(tokens.cut > 0, lowest, -1.0)
        self.tables: dict[int, Tensor] = {}
        self.sums = sums_of_words(whole.to(self.device), model.fusion.word) if model.config.summary else None

    def value(self, cells: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the values of counts ``(p, m)`` of genes ``(p, m)`` in cells ``(p,)``."""
        median = self.median[(self.tokens.species[cells] == MOUSE).long()[:, None], rows]
        ratio = (counts.double() * self.scale[cells][:, None] / median).float()
        return ratio.log1p() / torch.tensor(2.0).log()

    def changed(self, changes: Iterable[CountChange]) -> Iterator[_Pairs]:
        """Yield the cells that are read otherwise with each change, those of like length together."""
        source, first = iter(changes), 0
        while some := list(islice(source, CHANGES_AT_A_TIME)):
            change, cell, rows, before, counts = _joined([one.to("cpu") for one in some])
            ids = torch.where(rows >= 0, self.token[rows], PADDING)
            value = self.value(cell, rows.clamp(min=0), counts)
            more = value - self.value(cell, rows.clamp(min=0), before)
            start = self.start(cell, ids, torch.where(rows >= 0, more, 0))
            key = cell[:, None] * len(self.model.partner) + ids
            at = torch.searchsorted(self.key, key).clamp(max=max(0, len(self.key) - 1))
            is_read = (self.key[at] == key) if len(self.key) else torch.zeros_like(key, dtype=torch.bool)
            enters = ~is_read & (counts > 0) & (value > self.lowest[cell][:, None])
            alters = (rows >= 0) & (is_read | enters)
            ids = torch.where(alters, ids, PADDING)
            # A summary is of all genes of the cell, also those beyond the context.
            kept = alters.any(1) if self.sums is None else (rows >= 0).any(1)
            change, cell, ids, value, counts, start = (one[kept] for one in (change, cell, ids, value, counts, start))
            entering = enters[kept] & alters[kept]
            for species in (0, 1):
                own = torch.nonzero(self.tokens.species[cell] == species)[:, 0]
                for group in cells_of_like_length(self.tokens.lengths[cell[own]] + ids.shape[1]):
                    pairs = own[group]
                    new = torch.where(counts > 0, value, 0)[pairs]
                    changed = (ids[pairs], new, entering[pairs])
                    yield self._pairs(species, change[pairs] + first, cell[pairs], start[pairs], changed)
            first += len(some)

    def as_they_are(self, pairs: _Pairs) -> _Pairs:
        """Return the cells of some pairs without their change."""
        return self._pairs(int(self.tokens.species[pairs.cell[0]]), pairs.change, pairs.cell, self.start(pairs.cell))

    def start(self, cell: Tensor, ids: Tensor | None = None, more: Tensor | None = None) -> Tensor:
        """Return what the tokens of cells ``(p,)`` start from if the values of genes ``(p, m)`` grow by so much."""
        cell, sums = cell.to(self.device), None
        if self.sums is not None:
            words, total = (one[cell] for one in self.sums)
            if ids is not None and more is not None:
                ids, more = ids.to(self.device), more.to(self.device)
                words = words + (self.model.fusion.word[ids] * more[..., None]).sum(1)
                total = total + more.sum(1)
            sums = words, total
        return self.model.start(self.tokens.species.to(self.device)[cell], sums)

    def _pairs(
        self,
        species: int,
        change: Tensor,
        cell: Tensor,
        start: Tensor,
        changed: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> _Pairs:
        ids, values = self.tokens.padded(cell)
        places = torch.arange(ids.shape[1]).expand_as(ids).clone()
        held = ids != PADDING
        if changed is not None:
            genes, new, entering = changed
            extra = (len(ids), genes.shape[1])
            ids = torch.cat([ids, torch.where(entering, genes, PADDING)], 1)
            values = torch.cat([values, torch.where(entering, new, 0.0)], 1)
            places = torch.cat([places, torch.zeros(extra, dtype=torch.int64)], 1)
            held = torch.cat([held, torch.zeros(extra, dtype=torch.bool)], 1)
            touched = torch.zeros_like(held)
            for number in range(genes.shape[1]):
                gene, value = genes[:, number, None], new[:, number, None]
                here = (ids == gene) & (gene != PADDING)
                touched |= here
                values = torch.where(here, value, values)
                ids = torch.where(here & (value == 0), PADDING, ids)
            held &= ~touched
            if self.model.fusion.position is not None:
                # The rank that belongs to a changed value, among the genes that stay.
                rank = ((values[:, None] > values[:, :, None]) & held[:, None]).sum(2)
                places = torch.where(touched, rank, places).clamp(max=len(self.model.fusion.position) - 1)
        if species not in self.tables:
            self.tables[species] = self.model.table(species)
        parts = (one.to(self.device) for one in (ids, values, places, held, start))
        return _Pairs(self.model, self.tables[species], change, cell, *parts)


def _joined(changes: Sequence[CountChange]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return change ``(p,)``, cell ``(p,)``, rows, old and new counts, each ``(p, m)``, of altered cells.

    Changes of fewer genes are filled up with the row -1. A gene whose count stays has the row -1, too.
    """
    most = max(len(one.rows) for one in changes)
    numbers, cells, rows, old, new = [], [], [], [], []
    for number, one in enumerate(changes):
        cell = torch.nonzero(one.changed)[:, 0]
        fill = (0, most - len(one.rows))
        differs = (one.after != one.before)[cell]
        numbers.append(torch.full_like(cell, number))
        cells.append(cell)
        rows.append(functional.pad(torch.where(differs, one.rows, -1), fill, value=-1))
        old.append(functional.pad(one.before[cell], fill))
        new.append(functional.pad(one.after[cell], fill))
    return torch.cat(numbers), torch.cat(cells), torch.cat(rows), torch.cat(old), torch.cat(new)
