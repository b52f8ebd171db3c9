"""Cells packed for a GPU are the cells that were packed."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from celloquy.data import CellBatch
from celloquy.data.device import PackedCells


def batch_of(values: list[float], genes: int) -> CellBatch:
    """One cell with these counts, in the last genes."""
    return CellBatch(
        indptr=torch.tensor([0, len(values)]),
        indices=torch.arange(genes - len(values), genes, dtype=torch.int32),
        values=torch.tensor(values, dtype=torch.float32),
        tissue=torch.zeros(1, dtype=torch.int64),
        position=torch.full((1, 2), 3.0),
        batch=torch.zeros(1, dtype=torch.int64),
        panel=torch.zeros(1, dtype=torch.int64),
        measured=torch.ones(1, genes, dtype=torch.bool),
    )


@given(
    values=st.lists(st.sampled_from([1.0, 254, 255, 256, 32767, 32768, 65535, 65536, 1e6, 0.5]), max_size=6),
    genes=st.sampled_from([6, 32768, 32769, 65536, 65537]),
)
def test_what_is_unpacked_is_what_was_packed(values, genes):
    batch = batch_of(values, genes)
    found = PackedCells.pack(batch, pinned=False).unpack(torch.device("cpu"))
    for name in ("indptr", "indices", "values", "tissue", "position", "batch", "panel", "measured"):
        torch.testing.assert_close(getattr(found, name), getattr(batch, name), rtol=0, atol=0)


def test_counts_take_as_few_bytes_as_hold_them():
    sizes = [PackedCells.pack(batch_of([most], 10), pinned=False).values.itemsize for most in (255, 256, 65536, 0.5)]
    assert sizes == [1, 2, 4, 4]
