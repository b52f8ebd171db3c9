"""From AnnData to what the model reads: counts chosen and checked, genes aligned, cells grouped into tissues."""

from celloquy.data.batch import CellBatch
from celloquy.data.cells import Cells
from celloquy.data.counts import Counts, choose_counts
from celloquy.data.recover import recover_counts

__all__ = ["CellBatch", "Cells", "Counts", "choose_counts", "recover_counts"]
