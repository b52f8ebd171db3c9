"""From counts to tokens: the expressed genes of a cell with their values, the highest first.

The value of a gene is ``log2(1 + count / median)``, with the median of the gene's counts where it is expressed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celloquy.genes.tables import SPECIES

if TYPE_CHECKING:
    from celloquy.data import CellBatch

PADDING, MASK = 0, 1
"""Ids of the tokens that are no genes, as in the released table; those of genes follow."""
SPECIAL = 2
"""Number of these tokens."""

USUAL_DEPTH = 1e4
"""Counts to which a cell is scaled where its values shall not grow with its depth."""

HUMAN, MOUSE = (SPECIES.index(one) for one in ("human", "mouse"))

COUNTS_AT_A_TIME = 2**15
"""Counts that are sorted at a time: so few stay in a processor's cache."""

_LOG2_E = 1 / math.log(2)


@dataclass(frozen=True, eq=False, slots=True)
class GeneTokens:
    """Cells as sequences of genes, each with its value, the highest first.

    Shapes: ``n`` cells, ``t`` tokens.
    """

    indptr: Tensor
    """``(n + 1,)`` int64: the tokens of cell ``i`` are ``ids[indptr[i]:indptr[i + 1]]``."""
    ids: Tensor
    """``(t,)`` int64: the gene of each token."""
    values: Tensor
    """``(t,)`` float32: how strongly it is expressed."""
    species: Tensor
    """``(n,)`` int64: 0 human, 1 mouse."""
    cut: Tensor
    """``(n,)`` int64: expressed genes of each cell that did not fit the context."""

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.species)

    @property
    def lengths(self) -> Tensor:
        """``(n,)`` int64: tokens of each cell."""
        return self.indptr.diff()

    def padded(self, cells: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ids and values of some cells, each ``(n, longest of them)``, padded with 0.

        Parameters
        ----------
        cells
            Numbers of the cells; all by default.
        """
        chosen = torch.arange(len(self), device=self.ids.device) if cells is None else cells
        starts, lengths = self.indptr[chosen], self.lengths[chosen]
        place = torch.arange(int(lengths.max()) if len(chosen) else 0, device=self.ids.device)
        there = place < lengths[:, None]
        source = (starts[:, None] + place)[there]
        ids, values = there.to(torch.int64), there.to(torch.float32)
        ids[there], values[there] = self.ids[source], self.values[source]
        return ids, values

    @classmethod
    def unpadded(cls, ids: Tensor, values: Tensor, species: Tensor) -> GeneTokens:
        """Return the genes with their values of padded tokens ``(n, l)``, without those that are hidden."""
        there = (ids >= SPECIAL) & (values > 0)
        lengths = there.sum(1)
        indptr = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return cls(indptr, ids[there], values[there], species, torch.zeros_like(lengths))

    def first(self, most: int) -> GeneTokens:
        """Return the tokens of the highest values of each cell, at most so many."""
        kept = self.lengths.clamp(max=most)
        within = torch.arange(len(self.ids)) - torch.repeat_interleave(self.indptr[:-1], self.lengths) < most
        indptr = torch.cat([self.indptr[:1], kept.cumsum(0)])
        cut = self.cut + self.lengths - kept
        return GeneTokens(indptr, self.ids[within], self.values[within], self.species, cut)

    def to(self, device: torch.device | str) -> GeneTokens:
        """Return the tokens on another device."""
        parts = (self.indptr, self.ids, self.values, self.species, self.cut)
        return GeneTokens(*(part.to(device, non_blocking=True) for part in parts))


def tokenise(
    batch: CellBatch, token: Tensor, median: Tensor, species: Tensor, *, context: int, scaled: bool = False
) -> GeneTokens:
    """Return the tokens of some cells.

    Genes of equal value stand in the order of the vocabulary. Values count as equal if the counts over the medians
    agree to some eleven digits, so that rounding decides nothing. A cell without counts has no tokens.

    Parameters
    ----------
    batch
        The cells, on a CPU.
    token
        ``(g,)`` int64: id of each gene of the vocabulary.
    median
        ``(2, g)`` float64: median of each gene in human and in mouse; 0 where it is not known, which counts as 1.
    species
        ``(n,)`` int64: 0 human, 1 mouse.
    context
        Tokens of a cell, at most.
    scaled
        Scale the counts of a cell to a sum of 10,000 first. Their order stays.
    """
    starts = batch.indptr.numpy()
    indices, counts = batch.indices.numpy(), batch.values.numpy()
    lengths = np.diff(starts)
    kept = np.minimum(lengths, context)
    ends = np.concatenate([[0], np.cumsum(kept)])
    ids, values = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.float32)
    over = torch.where(median > 0, median, 1.0).to(torch.float64).numpy()
    sorter = _Sorter(token.numpy(), over, scaled=scaled)

    def run(part: tuple[int, int]) -> None:
        first, last = part
        into = slice(ends[first], ends[last])
        counted = slice(starts[first], starts[last])
        sorter.sort(
            indices[counted], counts[counted], starts[first : last + 1] - starts[first], kept[first:last],
            species[first:last].numpy(), ids[into], values[into],
        )  # fmt: skip

    parts = _parts(starts)
    threads = min(torch.get_num_threads(), len(parts))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, parts))
    else:
        for part in parts:
            run(part)
    return GeneTokens(
        torch.from_numpy(ends), torch.from_numpy(ids), torch.from_numpy(values), species,
        torch.from_numpy(lengths - kept),
    )  # fmt: skip


class _Sorter:
    """Sorts the genes of cells by counts over medians.

    A count and its gene are one number of 64 bits: the inverse ratio, positive and so ordered as its bits are, with the
    gene in place of its last bits. NumPy sorts such numbers faster than pairs.
    """

    def __init__(self, token: NDArray[np.int64], over: NDArray[np.float64], *, scaled: bool) -> None:
        self._token, self._over, self._scaled = token, over, scaled
        self._low = np.int64((1 << max(1, (len(token) - 1).bit_length())) - 1)
        self._half = np.int64((int(self._low) + 1) // 2)

    def sort(
        self,
        genes: NDArray[np.int32],
        counts: NDArray[np.float32],
        starts: NDArray[np.int64],
        kept: NDArray[np.int64],
        species: NDArray[np.int64],
        ids: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Write ids and values of the first genes of each cell."""
        if (species == species[0]).all():
            inverse = self._over[species[0]].take(genes)
        else:
            inverse = self._over[np.repeat(species, np.diff(starts)), genes]
        inverse /= counts
        key = inverse.view(np.int64)
        # Rounded, not cut: equal ratios of different counts may differ in their last bit.
        key += self._half
        key &= ~self._low
        key |= genes
        for first, last, some in zip(starts[:-1].tolist(), starts[1:].tolist(), kept.tolist(), strict=True):
            if some < last - first:
                key[first:last].partition(some)
            key[first : first + some].sort()
        if len(ids) < len(key):
            key = key[np.arange(len(ids)) + np.repeat(starts[:-1] - (np.cumsum(kept) - kept), kept)]
            inverse = key.view(np.float64)
        self._token.take(key & self._low, out=ids, mode="clip")
        if self._scaled:
            inverse *= np.repeat(_depth(counts, starts) / USUAL_DEPTH, kept)
        # torch has a logarithm that is several times as fast as NumPy's on most processors.
        value = torch.from_numpy(values)
        value.copy_(torch.from_numpy(inverse)).reciprocal_().log1p_().mul_(_LOG2_E)


def _depth(counts: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the counts of each cell."""
    depth = np.zeros(len(starts) - 1)
    filled = np.diff(starts) > 0
    if len(counts):
        depth[filled] = np.add.reduceat(counts, starts[:-1][filled], dtype=np.float64)
    return depth


def _parts(starts: NDArray[np.int64]) -> Sequence[tuple[int, int]]:
    """Cut cells into runs of about so many counts, at least one cell each."""
    parts, first, n_cells = [], 0, len(starts) - 1
    while first < n_cells:
        last = int(np.searchsorted(starts, starts[first] + COUNTS_AT_A_TIME, "right")) - 1
        last = min(max(last, first + 1), n_cells)
        parts.append((first, last))
        first = last
    return parts
