"""The latent is random in training and never in evaluation, and free bits keep a gradient."""

import pytest
import torch

from celloquy.nn.latent import GaussianLatent, MixtureLatent, NoLatent, free_bits


def latents() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [
        MixtureLatent(16, 6, components=4, hidden=12, bits=1.0),
        GaussianLatent(16, 6, bits=1.0),
        NoLatent(),
    ]


@pytest.mark.parametrize("kind", range(3))
def test_evaluation_draws_no_random_numbers(kind):
    latent = latents()[kind].eval()
    cells, state = torch.randn(9, 16), torch.get_rng_state()
    torch.testing.assert_close(latent(cells).z, latent(cells).z, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", range(2))
def test_training_draws_around_the_mean(kind):
    latent = latents()[kind].train()
    with torch.no_grad():
        output = latent(torch.randn(9, 16))
    assert not torch.equal(output.z, output.mean)
    assert output.kl.ndim == 0
    assert output.kl > 0


def test_evaluation_takes_the_most_probable_component():
    latent = latents()[0].eval()
    cells = torch.randn(30, 16)
    chosen = latent.component(cells).argmax(1)
    for component in chosen.unique():
        label = torch.zeros(4)
        label[component] = 1
        here = cells[chosen == component]
        hidden = latent.hidden(torch.cat([here, label.expand(len(here), -1)], 1)).relu()
        torch.testing.assert_close(latent(here).mean, latent.mean(hidden))


def test_free_bits_make_small_divergences_cheap_and_keep_the_gradient():
    below = torch.tensor(0.5, requires_grad=True)
    cost = free_bits(below, 5.0)
    cost.backward()
    assert 0 < cost < 0.05
    assert below.grad > 0
    torch.testing.assert_close(free_bits(torch.tensor(50.0), 5.0), torch.tensor(45.0))


def test_the_gaussian_divergence_equals_that_of_torch():
    latent = GaussianLatent(16, 6, bits=0.0).train()
    cells = torch.randn(40, 16)
    mean, variance = latent.mean(cells), latent.log_variance(cells).exp()
    posterior, prior = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(latent(cells).kl, torch.nn.functional.softplus(expected))


def test_every_weight_of_the_mixture_gets_a_gradient():
    latent = latents()[0].train()
    output = latent(torch.randn(20, 16))
    (output.z.square().sum() + output.kl).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in latent.parameters())
