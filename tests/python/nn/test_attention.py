"""The encoder equals the published formulas, and a cell reads its own tissue alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from celloquy.nn.attention import EPSILON, FlowAttention, TissueBlocks
from celloquy.nn.encoder import CellEncoder
from celloquy.nn.streaming import stream_layer
from celloquy.runtime.arrays import RowArray, runs

tissues = st.lists(st.integers(0, 6), min_size=1, max_size=40)
"""The tissue of each cell: from one tissue to as many tissues as cells."""


def encoder(attention: str, seed: int = 0) -> CellEncoder:
    torch.manual_seed(seed)
    return CellEncoder(16, layers=2, heads=4, feedforward=32, dropout=0.1, attention=attention).eval()


def vectors(n_cells: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n_cells, 16, generator=torch.Generator().manual_seed(seed))


def published_flow_attention(attention: FlowAttention, cells: torch.Tensor) -> torch.Tensor:
    """One tissue by the formulas of the paper, written out pair by pair in float64."""
    attention = attention.double()
    split = (len(cells), attention.heads, -1)
    q, k = (linear(cells.double()).sigmoid().view(split) for linear in (attention.query, attention.key))
    v = attention.value(cells.double()).view(split)
    e = EPSILON
    incoming = 1 / torch.einsum("ihd,hd->ih", q + e, k.sum(0) + e)
    outgoing = 1 / torch.einsum("jhd,hd->jh", k + e, q.sum(0) + e)
    conserved_sink = torch.einsum("ihd,hd->ih", q + e, (outgoing[..., None] * k).sum(0) + e)
    conserved_source = torch.einsum("jhd,hd->jh", k + e, (incoming[..., None] * q).sum(0) + e).clamp(-1, 1)
    competition = len(cells) * conserved_source.softmax(0)
    pairs = torch.einsum("ihd,jhd->ijh", q, k)
    mixed = torch.einsum("ijh,jh,jhd->ihd", pairs, competition, v)
    return attention.out((mixed * (conserved_sink.sigmoid() * incoming)[..., None]).flatten(1))


@given(cells=st.integers(1, 50))
def test_flow_attention_equals_the_published_formulas(cells):
    torch.manual_seed(0)
    attention = FlowAttention(16, 4)
    single, _ = TissueBlocks.arrange(torch.zeros(cells, dtype=torch.int64))
    found = attention(vectors(cells), single)
    expected = published_flow_attention(attention, vectors(cells)).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["flow", "softmax", "none"])
@given(tissue=tissues)
def test_a_tissue_is_encoded_the_same_alone_and_among_others(attention, tissue):
    model, tissue = encoder(attention), torch.tensor(tissue)
    cells = vectors(len(tissue))
    together = model(cells, tissue)
    for one in tissue.unique():
        alone = model(cells[tissue == one], tissue[tissue == one])
        torch.testing.assert_close(together[tissue == one], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["flow", "softmax"])
def test_a_cell_influences_only_cells_of_its_own_tissue(attention):
    model, tissue = encoder(attention), torch.tensor([0, 0, 0, 1, 1, 2])
    cells = vectors(6)
    changed = cells.clone()
    changed[0] += 1
    moved = (model(changed, tissue) - model(cells, tissue)).abs().amax(1) > 0
    assert moved.tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("attention", ["flow", "softmax", "none"])
@given(tissue=tissues, seed=st.integers(0, 100))
def test_reordered_cells_have_the_same_encodings_in_the_new_order(attention, tissue, seed):
    model, tissue = encoder(attention), torch.tensor(tissue)
    cells, order = vectors(len(tissue)), torch.randperm(len(tissue), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(model(cells[order], tissue[order]), model(cells, tissue)[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["flow", "none"])
@given(tissue=tissues, chunk=st.integers(1, 45))
@settings(max_examples=40)
def test_a_streamed_tissue_equals_one_read_at_once(attention, tissue, chunk):
    model, tissue = encoder(attention), torch.tensor(tissue)
    cells = vectors(len(tissue))
    with torch.no_grad():
        order = tissue.argsort(stable=True)
        at_once = model(cells, tissue)[order]
        buffer, queries, keys = (RowArray(tuple(cells.shape)) for _ in range(3))
        buffer.write(slice(None), cells[order])
        last = 0
        for size in tissue.unique(return_counts=True)[1].tolist():
            first, last = last, last + size
            for layer in model.layers:
                stream_layer(layer, buffer, buffer, queries, keys, runs(first, last, chunk))
    torch.testing.assert_close(buffer.read(slice(None)), at_once, rtol=1e-5, atol=1e-5)


def test_a_tissue_of_many_cells_keeps_its_precision():
    """Sums over 60,000 cells leave the range of half precision; they are kept in float32 even under autocast."""
    model = encoder("flow")
    cells = vectors(60_000)
    with torch.no_grad():
        exact = model(cells, torch.zeros(len(cells), dtype=torch.int64))
        with torch.autocast("cpu", torch.bfloat16):
            half = model(cells, torch.zeros(len(cells), dtype=torch.int64))
    assert torch.cosine_similarity(exact, half.float()).min() > 0.999


@given(tissue=tissues)
def test_every_cell_lies_in_exactly_one_block(tissue):
    arranged, order = TissueBlocks.arrange(torch.tensor(tissue))
    covered = [cell for run, _ in arranged.blocks() for cell in range(run.start, run.stop)]
    assert covered == list(range(len(tissue)))
    assert sorted(order.tolist()) == covered
    assert sum(arranged.sizes) == len(tissue)


@pytest.mark.parametrize("attention", ["flow", "softmax"])
def test_gradients_reach_every_weight_of_the_encoder(attention):
    model = encoder(attention)
    model(vectors(12), torch.tensor([0] * 5 + [1] * 4 + [2] * 3)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
