"""Slicing, selecting and concatenating batches keep every count with its cell."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import cell_batch
from celloquy.data.batch import CellBatch
from celloquy.errors import ArgumentError
from strategies import dense_counts

GENES = 11


@st.composite
def batches(draw, min_cells=0):
    """Batches with empty cells, several tissues and panels, and cells without a position."""
    n_cells = draw(st.integers(min_cells, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = rng.poisson(0.5, size=(n_cells, GENES))
    n_panels = draw(st.integers(1, 3))
    position = rng.random((n_cells, 2)).astype(np.float32)
    position[rng.random(n_cells) < 0.3] = np.nan
    return cell_batch(
        counts,
        tissue=rng.integers(0, 3, n_cells),
        position=position,
        batch=rng.integers(-1, 2, n_cells),
        panel=rng.integers(0, n_panels, n_cells),
        measured=rng.random((n_panels, GENES)) < 0.8,
    )


def assert_same(found: CellBatch, expected: CellBatch, cells: np.ndarray) -> None:
    np.testing.assert_array_equal(dense_counts(found), dense_counts(expected)[cells])
    for name in ("tissue", "position", "batch"):
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name).numpy()[cells])
    panels = found.measured[found.panel], expected.measured[expected.panel][torch.from_numpy(cells)]
    assert torch.equal(*panels)


@given(batch=batches(), bounds=st.tuples(st.integers(-12, 12), st.integers(-12, 12)), step=st.sampled_from([1, 2, 3]))
def test_slicing_a_batch_takes_the_cells_that_slicing_a_list_takes(batch, bounds, step):
    cells = np.arange(len(batch))[slice(*bounds, step)]
    assert_same(batch[slice(*bounds, step)], batch, cells)


@given(batch=batches(min_cells=1), data=st.data())
def test_selected_cells_come_in_any_order_and_may_be_repeated(batch, data):
    cells = np.array(data.draw(st.lists(st.integers(0, len(batch) - 1), max_size=20)), dtype=np.int64)
    assert_same(batch.select(torch.from_numpy(cells)), batch, cells)


@given(batch=batches(), cut=st.integers(0, 9))
def test_concatenated_parts_equal_the_whole(batch, cut):
    assert_same(CellBatch.concatenate([batch[:cut], batch[cut:]]), batch, np.arange(len(batch)))


@given(batch=batches())
def test_library_size_is_the_sum_of_a_cells_counts(batch):
    np.testing.assert_array_equal(batch.library_size(), dense_counts(batch).sum(1))


@given(batch=batches())
def test_moving_to_a_device_changes_nothing(batch):
    assert_same(batch.to("cpu"), batch, np.arange(len(batch)))


def test_batches_over_different_vocabularies_are_not_concatenated():
    batches = [cell_batch(np.zeros((0, n_genes))) for n_genes in (3, 4)]
    with pytest.raises(ArgumentError, match=r"vocabularies of \[3, 4\] genes"):
        CellBatch.concatenate(batches)
    with pytest.raises(ArgumentError, match="no batches"):
        CellBatch.concatenate([])
