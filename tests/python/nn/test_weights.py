"""The weights of attention, times the values, are what attention makes of the cells."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from celloquy.nn import weights as module
from celloquy.nn.attention import FlowAttention, SoftmaxAttention, TissueBlocks
from celloquy.nn.weights import shares, weights_of

KINDS = pytest.mark.parametrize("kind", [FlowAttention, SoftmaxAttention])


def attention_and_cells(kind, n: int, seed: int = 0):
    torch.manual_seed(seed)
    return kind(16, 4), torch.randn(n, 16) * 2


@KINDS
@given(n=st.integers(1, 60), seed=st.integers(0, 20))
def test_weights_times_values_are_the_output_of_the_module(kind, n, seed):
    attention, cells = attention_and_cells(kind, n, seed)
    with torch.no_grad():
        weights = weights_of(attention, cells).of(torch.arange(n))
        value = attention.value(cells).unflatten(1, (4, -1))
        found = attention.out(torch.einsum("ahn,nhd->ahd", weights, value).flatten(1))
        expected = attention(cells, TissueBlocks.whole(cells))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@KINDS
def test_weights_of_asked_cells_are_rows_of_those_of_all(kind):
    attention, cells = attention_and_cells(kind, 30)
    with torch.no_grad():
        weights = weights_of(attention, cells)
        asked = torch.tensor([7, 0, 29])
        torch.testing.assert_close(weights.of(asked), weights.of(torch.arange(30))[asked])


@KINDS
def test_sums_over_kinds_are_those_of_the_weights_however_the_memory_cuts_them(kind, monkeypatch):
    attention, cells = attention_and_cells(kind, 40)
    kinds = torch.nn.functional.one_hot(torch.arange(40) % 3).float()
    with torch.no_grad():
        weights, asked = weights_of(attention, cells), torch.arange(0, 40, 2)
        expected = weights.of(asked) @ kinds
        torch.testing.assert_close(weights.by_kind(asked, kinds), expected)
        monkeypatch.setattr(module, "WEIGHTS_AT_A_TIME", 500)
        torch.testing.assert_close(weights.by_kind(asked, kinds), expected)
        assert [len(run) for run in weights.runs(asked)] == [3] * 6 + [2]


@KINDS
def test_shares_are_above_zero_and_sum_to_one(kind):
    attention, cells = attention_and_cells(kind, 50)
    with torch.no_grad():
        found = shares(weights_of(attention, cells).of(torch.arange(50)))
    assert (found > 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(50))
