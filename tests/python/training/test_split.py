"""The same share of every batch and every cell type is held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celloquy.training.split import hold_out


@given(groups=st.lists(st.integers(0, 4), min_size=1, max_size=60), share=st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_every_cell_is_on_one_side_and_every_group_gives_the_same_share(groups, share):
    groups = np.array(groups)
    used, held = hold_out(groups, share, np.random.default_rng(0))
    assert sorted([*used, *held]) == list(range(len(groups)))
    assert len(held) == round(share * len(groups))
    for group in np.unique(groups):
        size = (groups == group).sum()
        taken = (groups[held] == group).sum()
        alone = sum(np.bincount(groups) == 1)
        assert abs(taken - share * size) <= 1.5 + alone * share


@pytest.mark.parametrize("seed", range(20))
def test_no_group_is_held_out_whole(seed):
    groups = np.repeat([0, 1, 2], [50, 2, 1])
    used, _ = hold_out(groups, 0.1, np.random.default_rng(seed))
    assert set(groups[used]) == {0, 1, 2}


def test_the_draw_depends_on_the_seed_alone():
    groups = np.arange(40) % 3
    first, second = (hold_out(groups, 0.2, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])
    assert set(hold_out(groups, 0.2, np.random.default_rng(6))[1]) != set(first[1])
