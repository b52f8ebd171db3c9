"""The objective fills masked counts in from visible ones, and the divergence weighs in slowly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import cell_batch
from celloquy.genes import GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.nn.losses import count_loss
from celloquy.nn.masking import BiLevelMask
from celloquy.training.masked_counts import MaskedCells, MaskedCounts
from strategies import cell_batches, masks

CONFIG = CellModelConfig(
    width=16, heads=2, feedforward=16, latent_width=4, latent_hidden=8, components=3, decoder_width=8, decoder_rank=8
)


def model_for(n_genes, **changes):
    torch.manual_seed(0)
    ids = [f"ENSG{number:011d}" for number in range(n_genes)]
    vocabulary = GeneVocabulary.from_ids(ids)
    return CellModel(CONFIG.replace(covariates=(("batch", 2),), **changes), vocabulary)


@pytest.mark.parametrize("latent", ["mixture", "gaussian", "none"])
@given(
    case=cell_batches(min_cells=1).flatmap(lambda batch: st.tuples(st.just(batch), masks(len(batch)))),
    extra=st.integers(1, 99),
)
def test_no_masked_count_reaches_its_own_prediction(latent, case, extra):
    batch, mask = case
    model = model_for(batch.n_genes, latent=latent).eval()
    changed = replace(batch, values=batch.values + extra * mask.at(batch.cell_of_count, batch.indices))
    before, after = (model.encode(mask.hide(one)) for one in (batch, changed))
    assert torch.equal(before, after)
    hidden = model.decoder(model.latent(before).z, {"batch": batch.batch})
    objective = MaskedCounts(model).eval()
    for one in (batch, changed):
        figures = objective(one, mask)
        assert torch.equal(figures["loss"], count_loss(hidden, model.decoder, one, mask))


@given(case=cell_batches(min_cells=1).flatmap(lambda batch: st.tuples(st.just(batch), masks(len(batch)))))
def test_every_parameter_that_is_read_gets_a_finite_gradient(case):
    batch, mask = case
    model = model_for(batch.n_genes, positions=False)
    MaskedCounts(model)(batch, mask)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_divergence_weighs_in_over_the_first_half_of_the_training():
    batch, mask = example_batch(), BiLevelMask.draw(40, seed=0)
    objective = MaskedCounts(model_for(batch.n_genes, kl_weight=2.0, latent="gaussian"))
    weights = []
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        objective.progress = progress
        with torch.no_grad():
            figures = objective(batch, mask)
        weights.append(float((figures["loss"] - figures["reconstruction"]) / figures["divergence"]))
    assert weights == pytest.approx([0, 1, 2, 2, 2], abs=1e-3)


def test_batch_discrepancy_weighs_in_over_the_first_half_of_the_training():
    batch = example_batch()
    objective = MaskedCounts(model_for(batch.n_genes, kl_weight=0.0, latent="gaussian"), batch_mixing=1e5)
    weights = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        objective.progress = progress
        with torch.no_grad():
            figures = objective(batch, BiLevelMask.draw(40, seed=0))
        weights.append(float((figures["loss"] - figures["reconstruction"]) / figures["discrepancy"]))
    assert weights == pytest.approx([0, 5e4, 1e5, 1e5], rel=1e-2)


def test_bfloat16_gives_nearly_the_same_loss():
    batch, mask = example_batch(), BiLevelMask.draw(40, seed=0)
    model = model_for(batch.n_genes).eval()
    with torch.no_grad():
        exact = MaskedCounts(model, "float32").eval()(batch, mask)["loss"]
        rounded = MaskedCounts(model, "bfloat16").eval()(batch, mask)["loss"]
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=0)


@given(batch=cell_batches(min_cells=1), share=st.sampled_from([0.0, 0.1, 0.5]), size=st.integers(1, 9))
def test_cells_held_out_are_never_trained_on(batch, share, size):
    # The position of each cell is its number.
    batch = replace(batch, position=torch.arange(len(batch))[:, None].float().expand(-1, 2))
    data = MaskedCells(batch, model_for(batch.n_genes), batch_size=size, held_out=share, seed=3)
    kept = cells_of(data.validation())
    assert len(kept) == data.held_out == round(share * len(batch))
    for epoch in range(3):
        used = cells_of(parts(data.epoch(epoch)))
        assert sorted(used + kept) == list(range(len(batch)))
    assert kept == cells_of(data.validation())


def cells_of(batches):
    return [int(cell) for batch, _ in batches for cell in batch.position[:, 0]]


def test_masks_differ_between_epochs_and_stay_for_validation():
    batch = example_batch()
    data = MaskedCells(batch, model_for(batch.n_genes), batch_size=100, held_out=0.5, seed=0)
    assert not torch.equal(*(mask_keys(parts(data.epoch(epoch))) for epoch in (0, 1)))
    assert torch.equal(*(mask_keys(parts(data.epoch(1))) for _ in range(2)))
    assert torch.equal(*(mask_keys(data.validation()) for _ in range(2)))


def test_processes_share_the_parts_of_every_step():
    batch = example_batch()
    data = MaskedCells(batch, model_for(batch.n_genes), batch_size=12, held_out=0.1, seed=0, parts=3)
    whole = list(data.epoch(0))
    shared = [list(data.epoch(0, rank, 2)) for rank in range(2)]
    assert len(whole) > 2
    assert all(len(step.parts[0][0]) <= 4 for step in whole)
    for step, first, second in zip(whole, *shared, strict=True):
        assert step.n_cells == first.n_cells == second.n_cells == sum(len(one) for one, _ in step.parts)
        for of_all, own in ((step.parts[0::2], first), (step.parts[1::2], second)):
            for (_, mask), (_, same) in zip(of_all, own.parts, strict=True):
                assert torch.equal(mask.key, same.key)
        assert [*step.noise[0::2], *step.noise[1::2]] == [*first.noise, *second.noise]
    noise = [seed for step in whole for seed in step.noise]
    assert len(set(noise)) == len(noise)
    kept = [mask_keys(data.validation(rank, 2)).tolist() for rank in range(2)]
    assert sorted([*kept[0], *kept[1]]) == sorted(mask_keys(data.validation()).tolist())


def parts(steps):
    return [inputs for step in steps for inputs in step.parts]


def mask_keys(batches):
    return torch.cat([torch.empty(0, dtype=torch.int32), *(mask.key for _, mask in batches)])


def example_batch(n_cells=40, n_genes=12):
    """Make cells of tissues of 20 cells and of two batches."""
    counts = np.random.default_rng(0).poisson(1.0, (n_cells, n_genes))
    return cell_batch(counts, tissue=torch.arange(n_cells) // 20, batch=torch.arange(n_cells) % 2)
