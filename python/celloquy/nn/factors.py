"""Gaussian factors: what the genes that were measured say of a cell, exactly, however many were not.

A cell's log-normalised expression is ``x = mean + loadings · z + noise`` with ``z ~ N(0, I)`` and noise of each gene's
own variance (factor analysis; Bishop 2006, Pattern Recognition and Machine Learning, 12.2). Given the genes that were
measured, the factors' distribution is Gaussian and known in closed form: a gene that was not measured is left out of
the likelihood, so a small panel widens the posterior but does not move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from celloquy.data.batch import CellBatch

DEPTH = 1e4
"""Counts to which every cell is scaled before the logarithm."""


def logged(batch: CellBatch) -> Tensor:
    """Return ``log1p`` of the counts, each cell scaled to 10,000, ``(z,)``."""
    scale = DEPTH / batch.library_size().clamp(min=torch.finfo(torch.float32).tiny)
    return (batch.values * scale[batch.cell_of_count]).log1p()


def posterior_map(loadings: Tensor, noise: Tensor, measured: Tensor) -> Tensor:
    """Return the matrix ``(g, k)`` that takes centred expression to the posterior mean of the factors.

    With ``Ψ`` the noise of the measured genes, it is ``Ψ⁻¹ L (Lᵀ Ψ⁻¹ L + I)⁻¹``; rows of other genes are 0.

    Parameters
    ----------
    loadings
        ``(g, k)``.
    noise
        ``(g,)``, variance.
    measured
        ``(g,)`` bool.
    """
    # In double precision: the products of thousands of genes are close to singular.
    seen = loadings.double() * measured[:, None]
    weighted = seen / noise.double()[:, None]
    precision = seen.T @ weighted + torch.eye(seen.shape[1], dtype=torch.float64, device=seen.device)
    return torch.linalg.solve(precision, weighted.T).T.to(loadings.dtype)


@dataclass(frozen=True, slots=True)
class LearnedFactors:
    """Factors over ``g`` genes, as :func:`refine` returns them."""

    loadings: Tensor
    """``(g, k)``."""
    noise: Tensor
    """``(g,)``, variance."""
    scale: Tensor
    """``(k,)``: the factors times this are the embedding."""


PRIOR_CELLS = 50
"""Cells of the user's that weigh as much as the corpus in how much the cells vary along its axes."""
ROUNDS = 10
"""Rounds of expectation and maximisation, after which that no longer changes."""
OWN_FACTORS = 20
"""Factors that are learned of the user's cells alone, at most."""
LEAST_WEIGHT = 0.1
"""Noise, as a share of the median gene's, below which a gene weighs no more."""
LEAST_SCALE = 0.01
"""Size of a factor, as a share of the largest, below which it is left out."""
POWER = 0.25
"""Exponent by which variances of the corpus's axes are evened out: 0 leaves them, 1 makes them all alike."""


def refine(loadings: Tensor, noise: Tensor, centred: Tensor) -> LearnedFactors:
    """Refine factors by some cells: an empirical Bayes estimate of the factors' prior from the cells themselves.

    Along the axes that the factors span, the covariance of the cells is estimated by expectation-maximisation under an
    inverse Wishart prior at the factors' own; an axis along which these cells do not differ is thereby shrunk away.
    What the cells vary in beyond these axes, and beyond noise, becomes factors of its own: principal components above
    the edge of the noise's spectrum, shrunk as is optimal for their singular values (Gavish & Donoho 2017, IEEE Trans.
    Inf. Theory 63). Genes are weighted by the fourth root of their noise, half way between equal weights and whitening.

    Parameters
    ----------
    loadings
        ``(g, k)``, of the genes that these cells measured; rows of 0 for genes that the factors do not know.
    noise
        ``(g,)``, variance; 0 for such genes.
    centred
        ``(n, g)``, log-normalised expression less its mean; at least 2 cells.

    Returns
    -------
    At most ``k + 20`` factors.
    """
    own = centred.square().mean(0)
    noise = torch.where(noise > 0, torch.minimum(noise, own), own).clamp(min=1e-3)
    weight = (noise / noise.median()).clamp(min=LEAST_WEIGHT) ** -0.25
    n, g = centred.shape
    cells = centred * weight
    _, strength, axes = torch.linalg.svd((loadings * weight[:, None]).T, full_matrices=False)
    kept = strength > 1e-3 * strength.max().clamp(min=1e-12)
    strength, axes = strength[kept], axes[kept]

    along = cells @ axes.T
    rest = cells - along @ axes
    spread = float(rest.square().sum()) / ((n - 1) * g)
    # The prior has the corpus's proportions, and the total variance of these cells.
    beyond_noise = max(float(along.square().sum()) / n - spread * len(axes), 1e-3)
    prior = torch.diag(strength**2 * (beyond_noise / float(strength.square().sum().clamp(min=1e-12))))
    unit = torch.eye(len(axes), dtype=cells.dtype, device=cells.device)
    moment, covariance = along.T @ along / n, prior
    for _ in range(ROUNDS):
        gain = covariance @ torch.linalg.inv(covariance + spread * unit)
        expected = gain @ moment @ gain.T + covariance - gain @ covariance
        covariance = (PRIOR_CELLS * prior + n * expected) / (PRIOR_CELLS + n)
    variance, turn = torch.linalg.eigh((covariance + covariance.T) / 2)
    variance = variance.clamp(min=1e-8)
    parts = [(axes.T @ turn, variance, variance ** ((1 - POWER) / 2))]

    singular, directions = top_axes(rest, min(OWN_FACTORS, n - 1, g))
    beta, level = n / g, (spread * g) ** 0.5
    y = singular / max(level, 1e-12)
    above = y > 1 + beta**0.5
    if bool(above.any()):
        y, directions = y[above], directions[above]
        share = ((y**2 - beta - 1).square() - 4 * beta).clamp(min=0).sqrt() / y**2
        own_variance = spread * share / (1 - share).clamp(min=1e-6)
        parts.append((directions.T, own_variance, own_variance.sqrt()))
    vectors, variances, scales = (torch.cat([part[i] for part in parts], -1) for i in range(3))
    # The largest first, as in a PCA; factors in which these cells do not differ are left out.
    order = scales.argsort(descending=True, stable=True)
    order = order[scales[order] > LEAST_SCALE * scales.max()]
    vectors, variances, scales = vectors[:, order], variances[order], scales[order]
    return LearnedFactors(vectors * variances.sqrt() / weight[:, None], spread / weight**2, scales)


def top_axes(matrix: Tensor, number: int, *, rounds: int = 4, spare: int = 15) -> tuple[Tensor, Tensor]:
    """Return the largest singular values ``(number,)`` and right singular vectors ``(number, g)`` of a matrix.

    By randomised subspace iteration (Halko et al. 2011, SIAM Review 53) from fixed random vectors.
    """
    generator = torch.Generator().manual_seed(0)
    width = min(number + spare, *matrix.shape)
    start = torch.randn(matrix.shape[1], width, generator=generator)
    basis = start.to(matrix)
    for _ in range(rounds):
        basis, _ = torch.linalg.qr(matrix.T @ (matrix @ basis))
    _, singular, turned = torch.linalg.svd(matrix @ basis, full_matrices=False)
    return singular[:number], (basis @ turned.T)[:, :number].T


def principal_components(values: Tensor, number: int) -> Tensor:
    """Return the matrix ``(d, number)`` that takes centred values ``(n, d)`` to their principal components.

    The largest component comes first; those without variance are left out. Of each the largest weight is positive.
    """
    variance, axes = torch.linalg.eigh(values.double().T @ values.double())
    variance, axes = variance.flip(0)[:number], axes.flip(1)[:, :number]
    axes = axes[:, variance > 1e-9 * variance.max().clamp(min=1e-12)]
    return (axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()).to(values.dtype)
