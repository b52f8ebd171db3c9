"""Dropout drops its share, keeps the mean and passes the gradient, as the seed decides."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from celloquy.nn.dropout import Dropout


@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32))
def test_the_share_is_dropped_and_the_mean_stays(share, seed):
    torch.manual_seed(seed)
    dropped = Dropout(share).train()(torch.ones(200, 300))
    kept = dropped[dropped > 0]
    assert abs((dropped == 0).float().mean() - share) < 0.015
    assert kept.unique().numel() == 1
    assert abs(dropped.mean() - 1) < 0.1 / (1 - share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_passes_only_where_values_are_kept(dtype):
    torch.manual_seed(0)
    values = torch.randn(7, 11, dtype=dtype, requires_grad=True)
    dropped = Dropout(0.5).train()(values)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, torch.where(dropped == 0, 0, 2).to(dtype))
    torch.testing.assert_close(dropped, values * values.grad)


def test_the_seed_fixes_the_draws_and_each_draw_differs():
    layer, values = Dropout(0.3).train(), torch.ones(100, 10)
    torch.manual_seed(1)
    first, second = layer(values), layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(first, second)
    # One random word decides on eight neighbours; they are independent all the same.
    pairs = (first == 0).flatten().float().unflatten(0, (-1, 2))
    assert abs(torch.corrcoef(pairs.T)[0, 1]) < 0.15


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_zero_or_one_drops_nothing_or_everything(share):
    values = torch.randn(3, 5)
    torch.testing.assert_close(Dropout(share).train()(values), functional.dropout(values, share))


def test_nothing_is_dropped_in_evaluation():
    values = torch.randn(3, 5)
    assert Dropout(0.5).eval()(values) is values
