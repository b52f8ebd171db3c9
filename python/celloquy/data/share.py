"""Some of the cells of a reader, for one of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from celloquy.data.batch import CellBatch
from celloquy.runtime.arrays import runs

if TYPE_CHECKING:
    from celloquy.data.reader import CellReader

CELLS_SPANNED = 8192
"""Cells of the reader that are in memory at a time, at most, where others lie between those that are wanted."""


class CellShare:
    """Some cells of a reader, read a run at a time, as of a reader that has no others.

    Parameters
    ----------
    cells
        The reader.
    rows
        Numbers of the cells, rising.
    """

    def __init__(self, cells: CellReader, rows: np.ndarray) -> None:
        self._cells, self._rows = cells, rows
        self.tissue, self.measured, self.on_disk = cells.tissue[rows], cells.measured, cells.on_disk

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._rows)

    def read(self, start: int, stop: int) -> CellBatch:
        """Return a run of cells; those that lie between them are read, too, and left out."""
        rows, found = self._rows[start:stop], []
        for span in runs(int(rows[0]), int(rows[-1]) + 1, CELLS_SPANNED):
            wanted = rows[np.searchsorted(rows, span.start) : np.searchsorted(rows, span.stop)]
            if len(wanted):
                first, last = int(wanted[0]), int(wanted[-1]) + 1
                batch = self._cells.read(first, last)
                whole = len(wanted) == last - first
                found.append(batch if whole else batch.select(torch.from_numpy(wanted - first)))
        return found[0] if len(found) == 1 else CellBatch.concatenate(found)
