"""The decoder: from the latent of a cell to its expected counts, a negative binomial for every gene.

Wen et al. 2024, CellPLM, section 3.3; the weights of the released ``NBMLPDecoder`` fit one to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from celloquy.nn.dropout import Dropout

MEAN_BOUNDS = (1e-5, 1e6)
"""Range of an expected count before it is scaled to the depth of a cell."""

DISPERSION_BOUNDS = (1e-4, 1e4)
"""Range of the dispersion; the variance of a count is ``mean + mean² / dispersion``."""


class CountDecoder(nn.Module):
    """Expected counts of all genes from the latent of a cell and its covariates, such as the batch.

    Shapes: ``n`` cells, ``g`` genes.

    Parameters
    ----------
    n_genes
        Number of genes of the vocabulary.
    latent_width
        Width of the latent.
    width
        Width of the hidden layers.
    layers
        Number of hidden layers.
    rank
        Width of the last hidden layer, from which every gene is decoded.
    covariates
        Names of the covariates that the decoder reads, with their numbers of levels, e.g. ``(("batch", 3),)``.
    dropout
        Share of a hidden vector dropped in training.
    norm_groups
        Number of groups of the group norms; must divide ``width``.
    """

    def __init__(
        self,
        n_genes: int,
        latent_width: int,
        width: int,
        layers: int,
        *,
        rank: int = 128,
        covariates: Sequence[tuple[str, int]] = (),
        dropout: float = 0.0,
        norm_groups: int = 4,
    ) -> None:
        super().__init__()
        widths = [latent_width] + [width] * layers
        self.layers = nn.ModuleList(
            _HiddenLayer(before, after, covariates, dropout, norm_groups) for before, after in pairwise(widths)
        )
        self.hidden = nn.Linear(widths[-1], rank)
        self.log_mean = nn.Linear(rank, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))

    def forward(self, latent: Tensor, covariates: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the last hidden layer, ``(n, rank)``, from which :meth:`mean` decodes any gene.

        Parameters
        ----------
        latent
            Latent of the cells, ``(n, latent_width)``.
        covariates
            Codes ``(n,)`` int64 by name. A code of -1, or a missing name, stands for the average of the known levels.
        """
        cells = latent
        for layer in self.layers:
            cells = layer(cells, covariates or {})
        hidden: Tensor = self.hidden(cells).relu()
        return hidden

    def mean(self, hidden: Tensor, genes: slice | Tensor | None = None) -> Tensor:
        """Return expected counts ``(n, g)``, not yet scaled to the depth of a cell.

        Parameters
        ----------
        hidden
            Last hidden layer, ``(n, rank)``, from :meth:`forward`.
        genes
            Places of the genes in the vocabulary; all genes by default.
        """
        chosen = slice(None) if genes is None else genes
        weight, bias = self.log_mean.weight[chosen], self.log_mean.bias[chosen]
        return nn.functional.linear(hidden, weight, bias).to(self.log_dispersion).exp().clamp(*MEAN_BOUNDS)

    def dispersion(self, genes: slice | Tensor | None = None) -> Tensor:
        """Return the dispersion of each gene, ``(g,)``."""
        chosen = slice(None) if genes is None else genes
        return self.log_dispersion[chosen].exp().clamp(*DISPERSION_BOUNDS)


class _HiddenLayer(nn.Module):
    """One hidden layer, to which each covariate adds a shift."""

    def __init__(
        self, before: int, after: int, covariates: Sequence[tuple[str, int]], dropout: float, norm_groups: int
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        self.activation = nn.PReLU()
        self.dropout = Dropout(dropout)
        self.norm = nn.GroupNorm(norm_groups, after)
        self.covariates = nn.ModuleDict({name: _Shift(levels, after, norm_groups) for name, levels in covariates})

    def forward(self, cells: Tensor, covariates: Mapping[str, Tensor]) -> Tensor:
        hidden: Tensor = self.norm(self.dropout(self.activation(self.linear(cells))))
        for name, shift in self.covariates.items():
            hidden = hidden + shift(covariates.get(name))
        return hidden


class _Shift(nn.Module):
    """The shift that one covariate adds to a hidden layer."""

    def __init__(self, levels: int, width: int, norm_groups: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, width)
        self.activation = nn.PReLU()
        self.norm = nn.GroupNorm(norm_groups, width)

    def forward(self, codes: Tensor | None) -> Tensor:
        """Return the shift of every cell, ``(n, width)``, or ``(1, width)`` for all cells if there are no codes."""
        if codes is None:
            return self._activate(self.embedding.weight.mean(0, keepdim=True))
        # A minibatch has few of possibly thousands of levels, so each is computed once.
        levels, place = codes.unique(return_inverse=True)
        vectors = self.embedding(levels.clamp(min=0))
        if levels[:1].lt(0).any():
            vectors = torch.where(levels[:, None] < 0, self.embedding.weight.mean(0), vectors)
        return self._activate(vectors)[place]

    def _activate(self, vectors: Tensor) -> Tensor:
        shift: Tensor = self.norm(self.activation(vectors))
        return shift
