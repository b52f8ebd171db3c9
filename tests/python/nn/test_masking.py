"""Masks hide exactly the drawn entries, at the drawn rates, the same ones every time, and touch nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from celloquy.nn.masking import BiLevelMask, Masking
from strategies import cell_batches, dense_counts, masks

batches_and_masks = cell_batches().flatmap(lambda batch: st.tuples(st.just(batch), masks(len(batch))))


@given(batches_and_masks)
def test_exactly_the_drawn_entries_are_hidden(case):
    batch, mask = case
    hidden = mask.block(0, len(batch), batch.n_genes)
    kept = mask.hide(batch)
    torch.testing.assert_close(dense_counts(kept), dense_counts(batch).masked_fill(hidden, 0), rtol=0, atol=0)
    assert kept.values.ne(0).all()
    for name in ("tissue", "position", "batch", "panel", "measured"):
        assert getattr(kept, name) is getattr(batch, name)


@given(batches_and_masks)
def test_unmasked_cells_keep_all_their_counts(case):
    batch, mask = case
    untouched = ~mask.masked
    assert torch.equal(dense_counts(mask.hide(batch))[untouched], dense_counts(batch)[untouched])


@given(batches_and_masks, st.data())
def test_any_part_of_a_mask_equals_that_part_of_the_whole(case, data):
    batch, mask = case
    whole = mask.block(0, len(batch), batch.n_genes)
    start = data.draw(st.integers(0, len(batch)))
    stop = data.draw(st.integers(start, len(batch)))
    genes = torch.tensor(data.draw(st.lists(st.integers(0, batch.n_genes - 1), max_size=5)), dtype=torch.int64)
    assert torch.equal(mask.block(start, stop, genes), whole[start:stop, genes])
    cells = torch.arange(start, stop).repeat_interleave(len(genes))
    assert torch.equal(mask.at(cells, genes.repeat(stop - start)), whole[start:stop, genes].flatten())


@given(batches_and_masks, st.data())
def test_a_cells_mask_does_not_depend_on_the_others(case, data):
    batch, mask = case
    cells = torch.tensor(data.draw(st.permutations(range(len(batch))))[:4], dtype=torch.int64)
    alone = mask.select(cells)
    assert torch.equal(alone.block(0, len(cells), batch.n_genes), mask.block(0, len(batch), batch.n_genes)[cells])
    assert torch.equal(dense_counts(alone.hide(batch.select(cells))), dense_counts(mask.hide(batch))[cells])


@given(cells=st.integers(0, 50), seed=st.one_of(st.integers(0, 2**40), st.lists(st.integers(0, 99), min_size=1)))
def test_masks_repeat_with_the_seed(cells, seed):
    first, second = BiLevelMask.draw(cells, seed=seed), BiLevelMask.draw(cells, seed=seed)
    assert torch.equal(first.key, second.key)
    assert torch.equal(first.threshold, second.threshold)


def test_another_seed_gives_another_mask():
    first, second = (BiLevelMask.draw(100, seed=seed).block(0, 100, 200) for seed in (0, 1))
    assert 0.1 < (first != second).float().mean() < 0.5


@pytest.mark.parametrize(("share", "masked"), [(0.0, 0), (0.001, 1), (0.75, 750), (1.0, 1000)])
def test_the_requested_share_of_cells_is_masked(share, masked):
    assert int(BiLevelMask.draw(1000, Masking(share=share), seed=0).masked.sum()) == masked


def test_rates_follow_the_beta_distribution_up_to_the_cap():
    rate = BiLevelMask.draw(20_000, Masking(share=1), seed=0).rate.numpy()
    assert stats.kstest(rate, stats.beta(5, 13).cdf).pvalue > 0.01
    capped = BiLevelMask.draw(20_000, Masking(share=1, beta=(2, 2), cap=0.4), seed=0).rate.numpy()
    assert capped.max() == pytest.approx(0.4)
    assert (capped > 0.3999).mean() == pytest.approx(stats.beta(2, 2).sf(0.4), abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.28, 0.5, 0.9, 1.0])
def test_hidden_shares_follow_the_rates(rate):
    cells, genes = 400, 3000
    hidden = BiLevelMask.with_rates(torch.full((cells,), rate), seed=3).block(0, cells, genes).numpy()
    if rate in (0.0, 1.0):
        assert (hidden == rate).all()
        return
    # Entries are independent draws: the spread over cells and over genes is that of a binomial.
    for axis, draws in ((1, genes), (0, cells)):
        share = hidden.mean(axis)
        standard = (share - rate) / np.sqrt(rate * (1 - rate) / draws)
        chi_square = np.square(standard).sum()
        assert 0.001 < stats.chi2(len(standard)).sf(chi_square) < 0.999
    assert hidden.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / hidden.size))


def test_cells_and_neighbouring_genes_are_masked_independently():
    hidden = BiLevelMask.with_rates(torch.full((300,), 0.3), seed=5).block(0, 300, 4000).double().numpy()
    between_cells = np.corrcoef(hidden)[np.triu_indices(300, 1)]
    assert stats.kstest(between_cells * np.sqrt(4000), "norm").pvalue > 0.005
    for distance in (1, 2, 3, 64, 1024):
        together = (hidden[:, distance:] * hidden[:, :-distance]).mean()
        assert together == pytest.approx(0.09, abs=0.002)


def test_the_seed_may_be_a_generator_which_then_advances():
    random = np.random.default_rng(0)
    assert not torch.equal(BiLevelMask.draw(9, seed=random).key, BiLevelMask.draw(9, seed=random).key)
