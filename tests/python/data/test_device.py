"""Cells that were packed for a GPU are unpacked unchanged."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import cell_batch
from celloquy.data import CellBatch
from celloquy.data.device import PackedCells


def single_cell(values: list[float], n_genes: int) -> CellBatch:
    """Make a batch of one cell with these counts in the last genes."""
    counts = np.zeros((1, n_genes))
    counts[0, n_genes - len(values) :] = values
    return cell_batch(counts, position=np.full((1, 2), 3.0, dtype=np.float32), batch=np.zeros(1, dtype=np.int64))


@given(
    values=st.lists(st.sampled_from([1.0, 254, 255, 256, 32767, 32768, 65535, 65536, 1e6, 0.5]), max_size=6),
    genes=st.sampled_from([6, 32768, 32769, 65536, 65537]),
)
def test_unpacked_cells_equal_the_packed_cells(values, genes):
    batch = single_cell(values, genes)
    found = PackedCells.pack(batch, pinned=False).unpack(torch.device("cpu"))
    for name in ("indptr", "indices", "values", "tissue", "position", "batch", "panel", "measured"):
        torch.testing.assert_close(getattr(found, name), getattr(batch, name), rtol=0, atol=0)


def test_counts_are_packed_in_the_fewest_bytes_that_hold_them():
    sizes = [PackedCells.pack(single_cell([most], 10), pinned=False).values.itemsize for most in (255, 256, 65536, 0.5)]
    assert sizes == [1, 2, 4, 4]
