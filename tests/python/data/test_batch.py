"""CellBatch: slicing, selecting and joining keep every count with its cell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from celloquy.data.batch import CellBatch
from celloquy.errors import ArgumentError

GENES = 11


@st.composite
def batches(draw, min_cells=0):
    """Batches with empty cells, several tissues, panels and unknown positions."""
    cells = draw(st.integers(min_cells, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = sparse.csr_matrix(rng.poisson(0.5, size=(cells, GENES)).astype(np.float32))
    panels = draw(st.integers(1, 3))
    position = rng.random((cells, 2)).astype(np.float32)
    position[rng.random(cells) < 0.3] = np.nan
    return CellBatch(
        indptr=torch.from_numpy(counts.indptr.astype(np.int64)),
        indices=torch.from_numpy(counts.indices.astype(np.int32)),
        values=torch.from_numpy(counts.data),
        tissue=torch.from_numpy(rng.integers(0, 3, cells)),
        position=torch.from_numpy(position),
        batch=torch.from_numpy(rng.integers(-1, 2, cells)),
        panel=torch.from_numpy(rng.integers(0, panels, cells)),
        measured=torch.from_numpy(rng.random((panels, GENES)) < 0.8),
    )


def dense(batch: CellBatch) -> np.ndarray:
    rows = sparse.csr_matrix(
        (batch.values.numpy(), batch.indices.numpy(), batch.indptr.numpy()), shape=(len(batch), batch.n_genes)
    )
    return rows.toarray()


def assert_same(found: CellBatch, expected: CellBatch, cells: np.ndarray) -> None:
    np.testing.assert_array_equal(dense(found), dense(expected)[cells])
    for name in ("tissue", "position", "batch"):
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name).numpy()[cells])
    panels = found.measured[found.panel], expected.measured[expected.panel][torch.from_numpy(cells)]
    assert torch.equal(*panels)


@given(batch=batches(), bounds=st.tuples(st.integers(-12, 12), st.integers(-12, 12)), step=st.sampled_from([1, 2, 3]))
def test_a_slice_holds_the_cells_that_a_list_would(batch, bounds, step):
    cells = np.arange(len(batch))[slice(*bounds, step)]
    assert_same(batch[slice(*bounds, step)], batch, cells)


@given(batch=batches(min_cells=1), data=st.data())
def test_selection_follows_any_order_and_repeats_cells(batch, data):
    cells = np.array(data.draw(st.lists(st.integers(0, len(batch) - 1), max_size=20)), dtype=np.int64)
    assert_same(batch.select(torch.from_numpy(cells)), batch, cells)


@given(batch=batches(), cut=st.integers(0, 9))
def test_parts_join_to_the_whole(batch, cut):
    assert_same(CellBatch.concatenate([batch[:cut], batch[cut:]]), batch, np.arange(len(batch)))


@given(batch=batches())
def test_library_size_is_the_sum_of_a_cells_counts(batch):
    np.testing.assert_array_equal(batch.library_size().numpy(), dense(batch).sum(1))


@given(batch=batches())
def test_moving_keeps_everything(batch):
    assert_same(batch.to("cpu"), batch, np.arange(len(batch)))


def test_batches_of_different_vocabularies_do_not_join():
    empty = torch.zeros(0, dtype=torch.int64)

    def of_genes(genes: int) -> CellBatch:
        none = torch.zeros(0)
        measured = torch.ones(1, genes, dtype=torch.bool)
        return CellBatch(torch.zeros(1, dtype=torch.int64), empty.int(), none, empty, none[:, None].expand(0, 2),
                         empty, empty, measured)  # fmt: skip

    with pytest.raises(ArgumentError, match=r"vocabularies of \[3, 4\] genes"):
        CellBatch.concatenate([of_genes(3), of_genes(4)])
    with pytest.raises(ArgumentError, match="no batches"):
        CellBatch.concatenate([])
