"""Readings are weighed by how far they can be trusted on cells that they have not seen."""

import torch
from torch.nn import functional

from celloquy.tasks.annotation.calibration import calibrate


def readings(n: int = 600) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A reading that is right but five times too sure, and one that knows nothing and is sure."""
    generator = torch.Generator().manual_seed(0)
    honest = 1.5 * torch.randn(n, 3, generator=generator)
    labels = torch.distributions.Categorical(logits=honest).probs.multinomial(1, generator=generator)[:, 0]
    return 5 * honest, 3 * torch.randn(n, 3, generator=generator), labels


def test_a_reading_that_is_too_sure_is_taken_back_and_noise_is_dropped():
    right, noise, labels = readings()
    weight = calibrate([right, noise], labels)
    assert 0.15 < weight[0] < 0.28
    assert weight[1] < 0.06
    before = functional.cross_entropy(right + noise, labels)
    assert functional.cross_entropy(weight[0] * right + weight[1] * noise, labels) < 0.5 * before


def test_without_cells_the_readings_stay_as_they_are_and_with_few_they_stay_near():
    right, noise, labels = readings()
    assert torch.equal(calibrate([right[:0], noise[:0]], labels[:0]), torch.ones(2))
    few, many = calibrate([right[:4], noise[:4]], labels[:4]), calibrate([right, noise], labels)
    assert (few.log().abs() < many.log().abs()).all()
