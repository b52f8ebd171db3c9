"""The initialisation of a cell model, so that a short training is not spent on what is known without one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from celloquy.nn.components import gene_components
from celloquy.nn.latent import GaussianLatent, MixtureLatent, NoLatent

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.nn.decoder import CountDecoder
    from celloquy.nn.expression import ExpressionEmbedder

LEAST_MEAN = 1e-4
"""Mean count that a gene starts from at least; well within the decoder's bounds."""

COMPONENTS = 32
"""Principal components that the gene vectors start from, at most."""

FIRST_VARIANCE = 0.1
"""Variance of the latent around a cell's mean that training starts from."""


@torch.no_grad()
def set_mean_counts(decoder: CountDecoder, cells: CellBatch) -> None:
    """Let the decoder predict each gene's mean count over the cells that measured it."""
    total = torch.zeros(cells.n_genes, dtype=torch.float64)
    total.index_add_(0, cells.indices.long(), cells.values.double())
    sizes = torch.bincount(cells.panel, minlength=len(cells.measured)).double()
    mean = total / (sizes @ cells.measured.double()).clamp(min=1)
    decoder.log_mean.bias.copy_(mean.clamp(min=LEAST_MEAN).log())


@torch.no_grad()
def set_gene_components(embedder: ExpressionEmbedder, cells: CellBatch, seed: int) -> None:
    """Let the first dimensions of the gene vectors be the principal components of log-normalised counts.

    What the cells differ in most then reaches the encoder from the first step, where random vectors must first find
    it; with few cells these rather learn the cells by heart.

    Parameters
    ----------
    embedder
        The embedder, whose gene vectors are set.
    cells
        Cells that the model is trained on.
    seed
        Seed of the draw of cells, if there are many, and of the randomised decomposition.
    """
    found = gene_components(cells, min(COMPONENTS, embedder.gene.shape[1]), seed)
    embedder.gene[:, : found.shape[1]] = found


@torch.no_grad()
def shrink_latent_variance(latent: MixtureLatent | GaussianLatent | NoLatent) -> None:
    """Let a cell's latent lie close to its mean.

    At the unit variance that it would start from, the noise drowns the cells; the decoder learns to ignore the latent,
    and the units that read it die.
    """
    if isinstance(latent, MixtureLatent):
        head, bias = latent.variance, math.log(math.expm1(FIRST_VARIANCE))
    elif isinstance(latent, GaussianLatent):
        head, bias = latent.log_variance, math.log(FIRST_VARIANCE)
    else:
        return
    head.weight *= 0.1
    head.bias.fill_(bias)
