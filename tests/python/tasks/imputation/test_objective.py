"""Panel and reference are seen through the genes that they share, at one depth, and learned in the same steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.nn.masking import BiLevelMask, Masking
from celloquy.tasks.imputation.objective import DEPTH, PanelCounts, PanelTrainingData, at_panel_depth
from examples import cells, small_model
from strategies import cell_batches, dense_counts


@given(batch=cell_batches(), seed=st.integers(0, 99))
def test_cells_are_seen_with_some_genes_at_one_depth(batch, seed):
    genes = torch.from_numpy(np.random.default_rng(seed).random(batch.n_genes) < 0.6)
    seen = dense_counts(at_panel_depth(batch, genes))
    kept = dense_counts(batch) * genes
    total = kept.sum(1, keepdim=True)
    expected = torch.where(total > 0, kept / total.clamp(min=1e-6) * DEPTH, 0)
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)


@given(batch=cell_batches(), seed=st.integers(0, 99))
def test_genes_that_are_left_out_count_as_not_measured(batch, seed):
    genes = torch.from_numpy(np.random.default_rng(seed).random(batch.n_genes) < 0.6)
    kept = batch.keep_genes(genes)
    assert torch.equal(kept.measured, batch.measured & genes)
    assert torch.equal(dense_counts(kept), dense_counts(batch) * genes)


@pytest.fixture
def batch() -> cq.CellBatch:
    return cq.data.CellSource(cells(40)).over(small_model().vocabulary).read_all()


def test_hidden_counts_and_their_sum_reach_nothing_that_is_seen(batch):
    mask = BiLevelMask.draw(len(batch), Masking(share=1.0, beta=(5.0, 5.0)), seed=0)
    objective = PanelCounts(small_model(covariates=(("batch", 2),)), torch.arange(30) < 20)
    hidden = mask.at(batch.cell_of_count, batch.indices)
    other = replace(batch, values=torch.where(hidden, batch.values * 7, batch.values))
    assert hidden.any()
    assert torch.equal(objective.visible(batch, mask).values, objective.visible(other, mask).values)
    assert int(objective.visible(batch, mask).indices.max()) < 20


def test_every_step_has_cells_of_both_sources_and_every_cell_is_used_once(batch):
    two = replace(batch, tissue=torch.arange(40) // 20, batch=torch.arange(40) // 20)
    data = PanelTrainingData(two, small_model(), batch_size=10, held_out=0.0, seed=0)
    steps = [batch for step in data.epoch(0) for batch, _ in step.parts]
    assert [len(step) for step in steps] == [10, 10, 10, 10]
    assert all(set(step.batch.tolist()) == {0, 1} for step in steps)
    # Cells of one sentence are of one source.
    assert all(len(step.batch[step.tissue == one].unique()) == 1 for step in steps for one in step.tissue.unique())
    total = sum(dense_counts(step).sum(0) for step in steps)
    torch.testing.assert_close(total, dense_counts(two).sum(0))
