"""From an encoded cell to its latent: a Gaussian mixture, a single Gaussian, or the encoding itself.

The mixture is that of Dilokthanakul et al. 2016, GMVAE, as in Wen et al. 2024, CellPLM, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class LatentOutput:
    """The latent of ``n`` cells."""

    z: Tensor
    """``(n, latent)``: a draw in training, the mean in evaluation."""
    mean: Tensor
    """``(n, latent)``."""
    kl: Tensor
    """Scalar: divergence of the cells from the prior, in nats a cell, less the free bits."""


def free_bits(divergence: Tensor, bits: float) -> Tensor:
    """Return a divergence that costs little below a number of nats and never loses its gradient.

    ``max(bits, divergence)`` has no gradient below ``bits``; this is its smooth form, ``softplus(divergence - bits)``.
    """
    return functional.softplus(divergence - bits)


class MixtureLatent(nn.Module):
    """Latent with a Gaussian mixture as prior; each component is a kind of cell that the model finds by itself.

    ``q(y|h)`` is the component of a cell, ``q(z|h, y)`` its place, ``p(z|y)`` the Gaussian of the component.

    Shapes: ``n`` cells, ``c`` components.

    Parameters
    ----------
    width
        Width of an encoded cell.
    latent_width
        Width of the latent.
    components
        Number of Gaussians in the mixture.
    hidden
        Width of the hidden layer of ``q(z|h, y)``.
    bits
        Nats of divergence that cost little, see :func:`free_bits`; at most ``log(components)`` for ``q(y|h)``.
    """

    def __init__(self, width: int, latent_width: int, *, components: int, hidden: int, bits: float) -> None:
        super().__init__()
        self.components, self.bits = components, bits
        self.component = nn.Linear(width, components)
        self.hidden = nn.Linear(width + components, hidden)
        self.mean = nn.Linear(hidden, latent_width)
        self.variance = nn.Linear(hidden, latent_width)
        self.prior_mean = nn.Linear(components, latent_width)
        self.prior_variance = nn.Linear(components, latent_width)

    def forward(self, cells: Tensor) -> LatentOutput:
        """Return the latent of encoded cells ``(n, width)``."""
        logits = self.component(cells).float()
        if not self.training:
            # The most probable component and no noise: the same cell has the same latent every time.
            mean = self._place(cells, functional.one_hot(logits.argmax(1), self.components).to(cells))[0]
            return LatentOutput(mean, mean, mean.new_zeros(()))
        component = functional.gumbel_softmax(logits, tau=1.0)
        mean, variance = self._place(cells, component)
        z = mean + variance.sqrt() * torch.randn_like(mean)
        prior_mean = self.prior_mean(component).float()
        prior_variance = functional.softplus(self.prior_variance(component).float()) + 1e-8
        place_divergence = _gaussian_divergence(mean, variance, prior_mean, prior_variance)
        # KL of q(y|h) from the uniform distribution over the components.
        log_share = logits.log_softmax(1)
        component_divergence = (log_share.exp() * log_share).sum(1).mean() + math.log(self.components)
        kl = free_bits(place_divergence, self.bits)
        kl = kl + free_bits(component_divergence, min(self.bits, math.log(self.components)))
        return LatentOutput(z, mean, kl)

    def _place(self, cells: Tensor, component: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of ``q(z|h, y)``, both ``(n, latent)``, in float32."""
        hidden = self.hidden(torch.cat([cells, component.to(cells)], 1)).relu()
        return self.mean(hidden).float(), functional.softplus(self.variance(hidden).float()) + 1e-8


class GaussianLatent(nn.Module):
    """Latent with a standard normal prior.

    Parameters
    ----------
    width
        Width of an encoded cell.
    latent_width
        Width of the latent.
    bits
        Nats of divergence that cost little, see :func:`free_bits`.
    """

    def __init__(self, width: int, latent_width: int, *, bits: float) -> None:
        super().__init__()
        self.bits = bits
        self.mean = nn.Linear(width, latent_width)
        self.log_variance = nn.Linear(width, latent_width)

    def forward(self, cells: Tensor) -> LatentOutput:
        """Return the latent of encoded cells ``(n, width)``."""
        mean = self.mean(cells).float()
        if not self.training:
            return LatentOutput(mean, mean, mean.new_zeros(()))
        variance = self.log_variance(cells).float().clamp(-5, 5).exp()
        z = mean + variance.sqrt() * torch.randn_like(mean)
        prior = torch.zeros_like(mean)
        kl = free_bits(_gaussian_divergence(mean, variance, prior, torch.ones_like(mean)), self.bits)
        return LatentOutput(z, mean, kl)


class NoLatent(nn.Module):
    """The encoded cell itself, for the published ablation."""

    def forward(self, cells: Tensor) -> LatentOutput:
        """Return encoded cells ``(n, width)`` as they are."""
        cells = cells.float()
        return LatentOutput(cells, cells, cells.new_zeros(()))


def _gaussian_divergence(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """Return the mean over cells of KL(N(mean, variance) || N(prior_mean, prior_variance)), diagonal, in nats."""
    ratio = variance / prior_variance
    distance = (mean - prior_mean).square() / prior_variance
    return 0.5 * (ratio + distance - 1 - ratio.log()).sum(1).mean()
