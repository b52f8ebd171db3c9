"""Some of the cells of a reader: read as if there were no others."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from celloquy.data import CellSource, share
from celloquy.data.share import CellShare
from examples import cells, small_model

READER = CellSource(cells(60)).over(small_model().vocabulary)
WHOLE = READER.read_all()


@pytest.fixture(autouse=True, scope="module")
def short_spans():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(share, "CELLS_SPANNED", 7)
        yield


@given(chosen=st.sets(st.integers(0, 59), min_size=1), step=st.integers(1, 60))
def test_some_cells_are_read_as_if_there_were_no_others(chosen, step):
    rows = np.array(sorted(chosen))
    some = CellShare(READER, rows)
    assert len(some) == len(rows)
    np.testing.assert_array_equal(some.tissue, READER.tissue[rows])
    for start in range(0, len(rows), step):
        found = some.read(start, min(start + step, len(rows)))
        expected = WHOLE.select(torch.from_numpy(rows[start : start + step]))
        for name in ("indptr", "indices", "values", "tissue", "batch"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=0)
