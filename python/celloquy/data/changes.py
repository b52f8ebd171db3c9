"""Counts of some genes that are changed in cells of which all else stays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from celloquy.data.batch import CellBatch


@dataclass(frozen=True, eq=False, slots=True)
class CountChange:
    """Other counts of some genes in the cells of a batch.

    Shapes: ``n`` cells, ``m`` genes that are changed together.
    """

    rows: Tensor
    """``(m,)`` int64: rows of the vocabulary, each once."""
    before: Tensor
    """``(n, m)`` float32: their counts in the batch."""
    after: Tensor
    """``(n, m)`` float32: their counts instead; 0 deletes a gene."""

    @property
    def changed(self) -> Tensor:
        """``(n,)`` bool: cells in which a count differs."""
        return (self.after != self.before).any(1)

    def to(self, device: torch.device | str) -> CountChange:
        """Return the change on another device."""
        return CountChange(self.rows.to(device), self.before.to(device), self.after.to(device))

    def applied(self, batch: CellBatch) -> CellBatch:
        """Return the cells with the other counts, of which those that are 0 are left out."""
        kept = ~torch.isin(batch.indices.long(), self.rows)
        cell, place = torch.nonzero(self.after > 0, as_tuple=True)
        cells = torch.cat([batch.cell_of_count[kept], cell])
        genes = torch.cat([batch.indices[kept].long(), self.rows[place]])
        values = torch.cat([batch.values[kept], self.after[cell, place]])
        order = (cells * batch.n_genes + genes).argsort()
        ends = torch.bincount(cells, minlength=len(batch)).cumsum(0)
        return replace(
            batch,
            indptr=torch.cat([ends.new_zeros(1), ends]),
            indices=genes[order].to(batch.indices.dtype),
            values=values[order],
        )
