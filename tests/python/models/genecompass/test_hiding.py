"""What is hidden of cells in pretraining reaches no prediction, and is drawn as it is said to be."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from celloquy.data import CellBatch, CellSource
from celloquy.models.genecompass.hiding import NO_VALUE, NOT_ASKED, hide
from celloquy.models.genecompass.tokens import MASK
from celloquy.nn.masking import BiLevelMask, Masking
from gene_examples import HUMAN, MOUSE, gene_cells, small_gene_model


def batch_of(model, n=12, seed=0) -> CellBatch:
    """Cells of both species, one of them empty."""
    both = [gene_cells(n, seed, genes, empty=True) for genes in (HUMAN, MOUSE)]
    return CellBatch.concatenate([CellSource(one).over(model.vocabulary).read_all() for one in both])


def drawn(n_cells, seed=0, share=0.5) -> BiLevelMask:
    return BiLevelMask.draw(n_cells, Masking(share=1.0, genes=share), seed=seed)


def rows_of(hidden):
    """What is seen of each cell, in an order that values do not decide, and what is asked for."""
    seen = []
    for kind, tokens in enumerate((hidden.clear, hidden.seen)):
        cell = torch.repeat_interleave(torch.arange(len(tokens)), tokens.lengths)
        seen += zip(cell.tolist(), tokens.ids.tolist(), tokens.values.tolist(), [kind] * len(cell), strict=True)
    seen.sort()
    return seen, sorted(zip(cell.tolist(), hidden.labels.tolist(), strict=True))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    depth=st.sampled_from(["raw", "scaled"]),
    asked=st.sampled_from(["together", "apart"]),
    context=st.sampled_from([4, 9, 64]),
)
def test_without_ranks_a_hidden_gene_and_its_value_change_nothing_that_is_seen(seed, depth, asked, context):
    model = small_gene_model(depth=depth, asked=asked, context=context)
    batch = batch_of(model, seed=seed)
    mask = drawn(len(batch), seed)
    before = hide(model, batch, mask)
    # A gene of ten that are to be named stays as it is, and so does its count here.
    ids = model.token[batch.indices.long()]
    spoilt = mask.part(0.9).at(batch.cell_of_count, ids)
    random = torch.Generator().manual_seed(seed)
    other = torch.randint(1, 500, (len(batch.values),), generator=random).float()
    after = hide(model, dataclasses.replace(batch, values=torch.where(spoilt, other, batch.values)), mask)
    named = before.labels != NOT_ASKED
    assert spoilt.any()
    assert named.any() or context == 4
    assert rows_of(after) == rows_of(before)


def test_what_is_not_asked_for_is_clear_also_beyond_the_context():
    model = small_gene_model(depth="raw", context=4)
    batch = batch_of(model)
    mask = drawn(len(batch))
    clear = hide(model, batch, mask).clear
    whole = model.tokenise(batch, context=64)
    cell = torch.repeat_interleave(torch.arange(len(whole)), whole.lengths)
    asked = mask.at(cell, whole.ids)
    assert asked.any()
    assert torch.equal(clear.ids, whole.ids[~asked])
    assert torch.equal(clear.values, whole.values[~asked])
    assert torch.equal(clear.lengths, torch.bincount(cell[~asked], minlength=len(batch)))


def test_with_ranks_the_order_tells_hidden_values():
    model = small_gene_model(depth="raw", asked="together", positions="rank")
    batch = batch_of(model)
    mask = drawn(len(batch))
    hidden = hide(model, batch, mask)
    gone = hidden.seen.ids == MASK
    whole = model.tokenise(batch)
    assert torch.equal(hidden.seen.indptr, whole.indptr)
    kept = hidden.labels == NOT_ASKED
    assert torch.equal(hidden.seen.ids[kept], whole.ids[kept])
    assert torch.equal(hidden.seen.values[kept], whole.values[kept])
    # Between its neighbours in a falling order, which is what gives it away.
    inner = torch.nonzero(gone[1:-1] & kept[:-2] & kept[2:])[:, 0] + 1
    cell = torch.repeat_interleave(torch.arange(len(whole)), whole.lengths)
    inner = inner[(cell[inner - 1] == cell[inner]) & (cell[inner + 1] == cell[inner])]
    assert len(inner)
    told = hidden.targets[inner]
    assert ((told <= hidden.seen.values[inner - 1]) & (told >= hidden.seen.values[inner + 1])).all()


@pytest.mark.parametrize("asked", ["together", "apart"])
def test_fifteen_in_a_hundred_are_asked_for_and_of_those_eight_in_ten_hidden_one_replaced_one_left(asked):
    model = small_gene_model(depth="raw", asked=asked, context=64)
    batch = batch_of(model, 2000)
    hidden = hide(model, batch, drawn(len(batch), share=0.15))
    whole, seen = model.tokenise(batch), hidden.seen
    # Whether all are within the context or some are not, of those that are the shares are the same.
    named, valued = hidden.labels != NOT_ASKED, ~hidden.targets.isnan()
    share = (named | valued).sum() / len(whole.ids)
    assert 0.9 * 0.15 < share < 1.1 * 0.15
    if asked == "together":
        assert torch.equal(named, valued)
    else:
        assert not (named & valued).any()
        assert (seen.values[valued] == NO_VALUE).all()
        assert (seen.ids[valued] != MASK).all()
        assert 0.45 < named.sum() / (named | valued).sum() < 0.55
    changed = seen.values[named] == NO_VALUE
    gone = seen.ids[named] == MASK
    n = len(changed)
    shares = np.array([gone.sum(), (changed & ~gone).sum(), (~changed).sum()]) / n
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=4 * np.sqrt(0.16 / n))
    assert torch.equal(seen.ids[named][~changed], hidden.labels[named][~changed])


def test_a_gene_is_replaced_by_any_of_the_cells_own_species():
    model = small_gene_model(depth="raw", asked="together")
    batch = batch_of(model, 3000)
    hidden = hide(model, batch, drawn(len(batch)))
    cell = torch.repeat_interleave(torch.arange(len(batch)), hidden.seen.lengths)
    replaced = (hidden.labels != NOT_ASKED) & (hidden.seen.values == NO_VALUE) & (hidden.seen.ids != MASK)
    for species, ids in enumerate((model.vocabulary.human_ids, model.vocabulary.mouse_ids)):
        own = {int(word) for word, gene in zip(model.token, ids, strict=True) if gene}
        met, times = hidden.seen.ids[replaced & (hidden.seen.species[cell] == species)].unique(return_counts=True)
        assert set(met.tolist()) == own
        assert times.max() < 2 * times.min()


def test_what_is_hidden_depends_on_no_company():
    model = small_gene_model()
    batch = batch_of(model)
    mask = drawn(len(batch))
    seen, labels = rows_of(hide(model, batch, mask))
    for cell in range(len(batch)):
        one = torch.tensor([cell])
        alone, own = rows_of(hide(model, batch.select(one), mask.select(one)))
        assert [row[1:] for row in alone] == [row[1:] for row in seen if row[0] == cell]
        assert [row[1] for row in own] == [row[1] for row in labels if row[0] == cell]


def test_values_are_told_of_scaled_counts_on_either_scale():
    batch = batch_of(small_gene_model())
    mask = drawn(len(batch))
    log, raw = (hide(small_gene_model(value_scale=scale), batch, mask).targets for scale in ("log", "raw"))
    told = ~log.isnan()
    torch.testing.assert_close(torch.log2(1 + raw[told]), log[told], rtol=1e-5, atol=1e-5)
    model = small_gene_model(asked="together", positions="rank")
    hidden, whole = hide(model, batch, mask), model.tokenise(batch)
    told = ~hidden.targets.isnan()
    torch.testing.assert_close(hidden.targets[told], whole.values[told], rtol=1e-5, atol=1e-5)
