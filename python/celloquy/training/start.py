"""Where a model starts, so that a short training is not spent on what is known without one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from celloquy.models import CellModel
from celloquy.nn.latent import GaussianLatent, MixtureLatent

if TYPE_CHECKING:
    from celloquy.data import CellBatch

LEAST_MEAN = 1e-4
"""Mean count that a gene starts from at least; well within the decoder's bounds."""

FIRST_VARIANCE = 0.1
"""Variance of the latent around a cell's mean that training starts from."""


@torch.no_grad()
def start_at_the_average(model: CellModel, cells: CellBatch) -> None:
    """Let the decoder predict each gene's mean count over the cells that measured it."""
    total = torch.zeros(cells.genes, dtype=torch.float64)
    total.index_add_(0, cells.indices.long(), cells.values.double())
    sizes = torch.bincount(cells.panel, minlength=len(cells.measured)).double()
    mean = total / (sizes @ cells.measured.double()).clamp(min=1)
    model.decoder.log_mean.bias.copy_(mean.clamp(min=LEAST_MEAN).log())


@torch.no_grad()
def start_with_little_noise(model: CellModel) -> None:
    """Let a cell's latent lie close to its mean.

    At the unit variance that it would start from, the noise drowns the cells; the decoder learns to ignore the latent,
    and the units that read it die.
    """
    latent = model.latent
    if isinstance(latent, MixtureLatent):
        head, bias = latent.variance, math.log(math.expm1(FIRST_VARIANCE))
    elif isinstance(latent, GaussianLatent):
        head, bias = latent.log_variance, math.log(FIRST_VARIANCE)
    else:
        return
    head.weight *= 0.1
    head.bias.fill_(bias)
