"""The order of blocks uses every cell once an epoch, is a pure function of seed and epoch, and weighs the inputs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from celloquy.training.pools import BLOCK_CELLS, BlockOrder, Pool, load_ahead

SIZES = st.lists(st.integers(1, 4 * BLOCK_CELLS), min_size=1, max_size=6)


def epoch_of(order, sizes, number, most=2 * BLOCK_CELLS, used=None):
    everything = np.ones(sum(sizes), dtype=bool) if used is None else used
    return list(order.pools(everything, number, most))


@given(sizes=SIZES, epoch=st.integers(0, 3), most=st.integers(1, 2000), seed=st.integers(0, 9))
def test_every_cell_comes_once_an_epoch_in_pools_of_bounded_size(sizes, epoch, most, seed):
    used = np.random.default_rng(seed).random(sum(sizes)) < 0.7
    pools = epoch_of(BlockOrder(sizes, [1.0] * len(sizes), 1.0, seed), sizes, epoch, most, used)
    cells = [cell for pool in pools for cell in pool.cells.tolist()]
    assert sorted(cells) == np.flatnonzero(used).tolist()
    # A block is not cut, so a pool can be larger by less than one.
    assert all(len(pool.cells) < max(most, BLOCK_CELLS) + BLOCK_CELLS for pool in pools)
    assert not any(pool.copy.any() for pool in pools)


@given(sizes=SIZES, epoch=st.integers(0, 3))
def test_the_order_is_a_pure_function_of_seed_and_epoch(sizes, epoch):
    def cells(seed, number):
        order = BlockOrder(sizes, [1.0] * len(sizes), 2.0, seed)
        return [pool.cells.tolist() for pool in epoch_of(order, sizes, number)]

    assert cells(1, epoch) == cells(1, epoch)
    order = BlockOrder(sizes, [1.0] * len(sizes), 2.0, 1)
    for before in range(epoch):
        epoch_of(order, sizes, before)
    assert [pool.cells.tolist() for pool in epoch_of(order, sizes, epoch)] == cells(1, epoch)


def test_epochs_and_seeds_have_orders_of_their_own():
    sizes = [20 * BLOCK_CELLS]
    orders = [
        np.concatenate([pool.cells for pool in epoch_of(BlockOrder(sizes, [1.0], 1.0, seed), sizes, epoch)])
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert not any((orders[a] == orders[b]).all() for a, b in ((0, 1), (0, 2), (1, 2)))


def shares(sizes, weights, temperature, epochs=40):
    order = BlockOrder(sizes, weights, temperature, 0)
    edges = np.cumsum([0, *sizes])
    counts = np.zeros(len(sizes))
    for epoch in range(epochs):
        for pool in epoch_of(order, sizes, epoch):
            counts += np.histogram(pool.cells, edges)[0]
    return counts / counts.sum(), counts.sum() / epochs


@pytest.mark.parametrize("temperature", [1.0, 2.0, 1e9])
def test_a_temperature_draws_the_shares_of_the_inputs_together(temperature):
    sizes = [BLOCK_CELLS, 4 * BLOCK_CELLS, 16 * BLOCK_CELLS]
    found, cells = shares(sizes, [1, 1, 1], temperature)
    expected = np.array(sizes) ** (1 / temperature)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=0.02)
    assert cells == pytest.approx(sum(sizes), rel=0.02)


def test_a_weight_multiplies_the_share_of_an_input():
    found, _ = shares([4 * BLOCK_CELLS, 4 * BLOCK_CELLS], [3, 1], 1.0)
    np.testing.assert_allclose(found, [0.75, 0.25], rtol=0.02)


def test_a_cell_that_comes_twice_is_told_apart_from_its_copy():
    sizes = [BLOCK_CELLS, 40 * BLOCK_CELLS]
    pools = epoch_of(BlockOrder(sizes, [1, 1], 1e9, 0), sizes, 0, most=10**6)
    assert len(pools) == 1
    (pool,) = pools
    assert pool.copy.max() > 5
    pairs = set(zip(pool.cells.tolist(), pool.copy.tolist(), strict=True))
    assert len(pairs) == len(pool.cells)


def test_every_block_of_a_large_input_comes_before_any_comes_again():
    sizes = [BLOCK_CELLS, 9 * BLOCK_CELLS]
    order, seen = BlockOrder(sizes, [1, 1], 1e9, 0), []
    for epoch in range(4):
        for pool in epoch_of(order, sizes, epoch):
            seen += np.unique(pool.cells[pool.cells >= BLOCK_CELLS] // BLOCK_CELLS).tolist()
    counts = np.bincount(seen)[1:]
    assert counts.max() - counts.min() <= 1
    assert counts.max() > 1


class WatchedStore:
    """A store on disk that tells by how many threads it is read."""

    in_memory = False

    def load(self, pool):
        return torch.get_num_threads(), pool.cells


def test_cells_are_read_ahead_by_one_thread_and_the_model_keeps_its_own():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        planned = ((Pool.once(np.arange(3)), None) for _ in range(3))
        for threads, *_ in load_ahead(WatchedStore(), planned):
            assert (threads, torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(usual)
