"""Dropout drops its share, keeps the mean and passes the gradient, as the seed decides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from celloquy.nn.dropout import LEVELS, Dropout, read_with_dropout
from celloquy.nn.transformer import TransformerLayer


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


def qkv(heads: int, tokens: int, keys: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((heads, tokens, 4), (heads, keys, 4), (heads, keys, 4))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def read_slowly(query, key, value, share: float):
    """Attention by autograd, with the weights that the same random numbers drop."""
    heads = []
    for q, k, v in zip(query, key, value, strict=True):
        weights = (q @ k.T / q.shape[-1] ** 0.5).softmax(-1)
        words = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(-(-weights.numel() // 8))
        kept = torch.from_numpy(words.view(np.uint8)[: weights.numel()].copy()).view(weights.shape) >= share * LEVELS
        heads.append((weights * kept / (1 - share)) @ v)
    return torch.stack(heads)


@given(
    heads=st.integers(1, 3),
    tokens=st.integers(1, 9),
    keys=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.25, 0.5]),
    seed=st.integers(0, 99),
)
def test_attention_drops_weights_and_passes_the_gradient_of_the_others(heads, tokens, keys, share, seed):
    found, expected = [], []
    for read, into in ((read_with_dropout, found), (read_slowly, expected)):
        parts = qkv(heads, tokens, keys, seed)
        torch.manual_seed(seed)
        result = read(*parts, share)
        (result * torch.arange(result.numel()).view(result.shape)).sum().backward()
        into += [result, *(part.grad for part in parts)]
    for one, other in zip(found, expected, strict=True):
        # The weights are of float32.
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), (True, 0.02)])
@pytest.mark.parametrize("padded", [True, False])
def test_attention_that_may_drop_weights_but_drops_none_is_the_usual(padded, bfloat16, tolerance):
    layer = TransformerLayer(width=8, heads=2, feedforward=16, dropout=1e-9)
    tokens = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = (torch.arange(6) < torch.tensor([[6], [2], [4]]))[:, None, None] if padded else None
    found = []
    for training in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            read = layer.train(training)(tokens, mask).float()
        (read * torch.arange(8).sin()).sum().backward()
        found.append((read, tokens.grad, layer.qkv.weight.grad))
        tokens.grad = None
        layer.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.detach().abs().max()))
