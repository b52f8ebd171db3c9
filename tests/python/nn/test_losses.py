"""The loss equals the plain dense formula, its gradients equal autograd's, and no hidden count reaches a prediction."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import cell_batch
from celloquy.nn import losses
from celloquy.nn.decoder import CountDecoder
from celloquy.nn.losses import count_loss
from celloquy.nn.masking import BiLevelMask, Masking
from strategies import cell_batches, dense_counts, masks

RANK = 7

batches_and_masks = cell_batches(min_cells=1).flatmap(
    lambda batch: st.tuples(st.just(batch), st.one_of(st.none(), masks(len(batch))))
)


def decoder_for(n_genes, seed, spread=1.0):
    torch.manual_seed(seed)
    decoder = CountDecoder(n_genes, RANK, RANK, 0, rank=RANK)
    with torch.no_grad():
        decoder.log_dispersion.normal_(0, 2 * spread)
        decoder.log_mean.weight.normal_(0, spread)
    return decoder


def prediction(hidden, decoder, batch, mask, weight=1.0):
    """Return the scaled means, the measured entries and the hidden entries, all dense ``(cells, genes)``."""
    counts, measured = dense_counts(batch), batch.measured[batch.panel]
    hide = torch.zeros_like(measured) if mask is None else mask.block(0, len(batch), batch.n_genes)
    visible = measured & ~hide
    depth = (counts * visible).sum(1, keepdim=True).clamp(min=1)
    mean = decoder.mean(hidden)
    total = (mean * visible * weight).sum(1, keepdim=True)
    mean = mean * torch.where(total > 0, depth / total.where(total > 0, 1), 1)
    return mean, measured, hide


def dense_loss(hidden, decoder, batch, mask, weight=1.0):
    """The same loss by torch's own negative binomial; its logits are those of ``mean / (mean + dispersion)``."""
    mean, measured, hide = prediction(hidden, decoder, batch, mask, weight)
    dispersion = decoder.dispersion()
    counts = dense_counts(batch).to(mean)
    negative_binomial = torch.distributions.NegativeBinomial(dispersion, logits=mean.log() - dispersion.log())
    entries = -negative_binomial.log_prob(counts) * measured * (1 + hide.to(mean)) * weight
    cells = torch.ones(len(batch), dtype=torch.bool) if mask is None else mask.masked
    return entries[cells].sum() / cells.sum().clamp(min=1)


def gradients(loss, hidden, decoder):
    inputs = [hidden, decoder.log_mean.weight, decoder.log_mean.bias, decoder.log_dispersion]
    return torch.autograd.grad(loss, inputs)


def assert_equal_to_dense(hidden, decoder, batch, mask, tolerance, weight=None):
    # The reference always in float64: the plain formula itself is not exact enough in float32.
    exact = decoder_for(batch.n_genes, 0).double()
    exact.load_state_dict(decoder.state_dict())
    found = count_loss(hidden, decoder, batch, mask, weight)
    hidden64 = hidden.detach().double().requires_grad_()
    expected = dense_loss(hidden64, exact, batch, mask, 1.0 if weight is None else weight.double())
    assert found.dtype == hidden.dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    for ours, plain in zip(gradients(found, hidden, decoder), gradients(expected, hidden64, exact), strict=True):
        # Where the scaling to the depth cancels a gradient, what is left of it is rounding.
        scale = torch.maximum(plain.abs().max(), 0.05 * expected.detach().clamp(min=1))
        torch.testing.assert_close(ours.double() / scale, plain / scale, rtol=tolerance, atol=tolerance)


# In float32 the lgamma of a count of some hundreds has lost two digits.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 3e-5)])
@given(case=batches_and_masks, seed=st.integers(0, 99))
def test_loss_and_gradients_equal_the_dense_formula(dtype, tolerance, case, seed):
    batch, mask = case
    decoder = decoder_for(batch.n_genes, seed).to(dtype)
    hidden = torch.randn(len(batch), RANK, dtype=dtype).relu().requires_grad_()
    assert_equal_to_dense(hidden, decoder, batch, mask, tolerance)


@given(case=batches_and_masks)
def test_means_and_dispersions_beyond_their_bounds_get_no_gradient(case):
    batch, mask = case
    decoder = decoder_for(batch.n_genes, 0, spread=8.0).double()
    hidden = (3 * torch.randn(len(batch), RANK).double()).requires_grad_()
    assert_equal_to_dense(hidden, decoder, batch, mask, 1e-8)


@given(case=batches_and_masks, seed=st.integers(0, 99))
def test_weighted_genes_equal_the_dense_formula_with_their_weights(case, seed):
    batch, mask = case
    decoder = decoder_for(batch.n_genes, seed).double()
    weight = torch.tensor([0.0, 1.0, 2.5, 10.0], dtype=torch.float64)[torch.randint(4, (batch.n_genes,))]
    hidden = torch.randn(len(batch), RANK, dtype=torch.float64).relu().requires_grad_()
    assert_equal_to_dense(hidden, decoder, batch, mask, 1e-9, weight)


def test_sampled_genes_stand_for_all():
    cells, genes = 40, losses.FEW_GENES + 1
    counts = torch.zeros(cells, genes)
    # Gene 0 in every cell, gene 1 in one cell of twenty, the others in none.
    counts[:, 0], counts[:2, 1] = 3, 1
    batch = cell_batch(counts)
    torch.manual_seed(0)
    drawn = torch.stack([losses.sample_genes(batch) for _ in range(400)])
    assert (drawn[:, 0] == 1).all()
    assert set(drawn[:, 1].tolist()) == {0.0, 2.0}
    assert (drawn > 0).float().mean() < 1.2 * losses.LEAST_PROBABILITY
    torch.testing.assert_close(drawn.mean(0)[1], torch.tensor(1.0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.mean(), torch.tensor(1.0), atol=0.01, rtol=0)


def test_few_genes_are_all_taken():
    assert losses.sample_genes(cell_batch(torch.ones(3, losses.FEW_GENES))) is None


@given(case=batches_and_masks, entries=st.integers(1, 60))
def test_chunks_do_not_change_the_result(case, entries):
    batch, mask = case
    decoder, hidden = decoder_for(batch.n_genes, 0).double(), torch.randn(len(batch), RANK, dtype=torch.float64)
    hidden.requires_grad_()
    whole = count_loss(hidden, decoder, batch, mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(losses.CHUNK_ENTRIES, "cpu", entries)
        chunked = count_loss(hidden, decoder, batch, mask)
    torch.testing.assert_close(chunked, whole)
    for one, other in zip(gradients(chunked, hidden, decoder), gradients(whole, hidden, decoder), strict=True):
        torch.testing.assert_close(one, other)


@given(case=batches_and_masks, extra=st.integers(1, 500))
def test_a_hidden_count_changes_its_target_and_no_prediction(case, extra):
    batch, mask = case
    if mask is None:
        return
    decoder, hidden = decoder_for(batch.n_genes, 0).double(), torch.randn(len(batch), RANK, dtype=torch.float64)
    at = mask.at(batch.cell_of_count, batch.indices)
    changed = replace(batch, values=batch.values + extra * at)
    before, _, hide = prediction(hidden, decoder, batch, mask)
    after, _, _ = prediction(hidden, decoder, changed, mask)
    assert torch.equal(before, after)
    # The whole difference in loss is that of the targets under the same means.
    negative_binomial = torch.distributions.NegativeBinomial(
        decoder.dispersion(), logits=before.log() - decoder.dispersion().log()
    )
    likelihoods = [negative_binomial.log_prob(dense_counts(b).double()) * hide for b in (batch, changed)]
    expected = 2 * (likelihoods[0] - likelihoods[1]).sum() / mask.masked.sum().clamp(min=1)
    difference = count_loss(hidden, decoder, changed, mask) - count_loss(hidden, decoder, batch, mask)
    torch.testing.assert_close(difference, expected, rtol=1e-6, atol=1e-6)


@given(case=batches_and_masks, data=st.data())
def test_the_loss_does_not_depend_on_the_order_of_cells(case, data):
    batch, mask = case
    order = torch.tensor(data.draw(st.permutations(range(len(batch)))))
    decoder, hidden = decoder_for(batch.n_genes, 0).double(), torch.randn(len(batch), RANK, dtype=torch.float64)
    shuffled = count_loss(hidden[order], decoder, batch.select(order), None if mask is None else mask.select(order))
    torch.testing.assert_close(shuffled, count_loss(hidden, decoder, batch, mask))


def example(n_cells=40, n_genes=300):
    """Return cells, a mask, a decoder and the decoder's last hidden layer."""
    torch.manual_seed(0)
    batch = cell_batch(torch.poisson(torch.rand(n_cells, n_genes)))
    mask, decoder = BiLevelMask.draw(n_cells, seed=1), decoder_for(n_genes, 0, 0.1)
    return batch, mask, decoder, torch.randn(n_cells, RANK).relu()


def test_without_a_masked_cell_the_loss_is_zero_and_still_has_a_gradient():
    batch, _, decoder, hidden = example()
    hidden.requires_grad_()
    loss = count_loss(hidden, decoder, batch, BiLevelMask.draw(len(batch), Masking(share=0), seed=0))
    loss.backward()
    assert loss == 0
    assert hidden.grad.eq(0).all()


def test_evaluation_gives_the_same_loss_without_gradients():
    batch, mask, decoder, hidden = example()
    with torch.no_grad():
        evaluated = count_loss(hidden, decoder, batch, mask)
    assert not evaluated.requires_grad
    assert torch.equal(evaluated, count_loss(hidden, decoder, batch, mask).detach())


def test_gradients_scale_with_the_incoming_gradient_and_can_be_repeated():
    batch, mask, decoder, hidden = example()
    hidden.requires_grad_()
    loss = count_loss(hidden, decoder, batch, mask)
    once = torch.autograd.grad(loss, hidden, retain_graph=True)[0]
    thrice = torch.autograd.grad(3 * loss, hidden)[0]
    torch.testing.assert_close(thrice, 3 * once)


def test_under_autocast_only_the_products_are_rounded():
    batch, mask, decoder, hidden = example()
    hidden.requires_grad_()
    plain = count_loss(hidden, decoder, batch, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = count_loss(hidden, decoder, batch, mask)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, plain, rtol=1e-3, atol=0)
    for one, other in zip(gradients(rounded, hidden, decoder), gradients(plain, hidden, decoder), strict=True):
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999
