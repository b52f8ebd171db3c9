"""Novelty score: how far a cell is from every known label."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Novelty(nn.Module):
    """Two signs that a cell is of no known label, in units of how they vary among known cells, added.

    A known cell has a high logit, and its logits lie near those of the cells of its label; the first is that of Vaze et
    al. 2022 (Open-set recognition), the second that of prototypes. Neither looks at probabilities, which are high for
    any cell that is less unlike one label than the others. Both are measured against the cells of the label that is
    most likely: some labels are told by larger logits than others, and a distance counts by their length.

    Shapes: ``n`` cells, ``c`` labels.

    Parameters
    ----------
    classes
        Number of labels.
    prior
        Weight, in cells, of what is usual of all labels in what is usual of one.
    """

    def __init__(self, classes: int, *, prior: float = 5.0) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("centre", torch.zeros(classes, classes))
        self.register_buffer("location", torch.zeros(classes, 2))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("threshold", torch.zeros(()))
        self.centre: Tensor
        """``(c, c)``, mean logits of the cells of each label."""
        self.location: Tensor
        """``(c, 2)``, median of each sign among known cells of a label, drawn to that of all where they are few."""
        self.scale: Tensor
        """``(2,)``, and its spread among all."""
        self.threshold: Tensor
        """Sum of the signs above which a cell is unknown."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the novelty ``(n,)`` of logits ``(n, c)``, from 0 to 1 and one half at the threshold."""
        return (self._sum(logits) - self.threshold).sigmoid()

    @torch.no_grad()
    def set_centres(self, logits: Tensor, codes: Tensor) -> None:
        """Take the centres from cells of known labels, ``(n, c)`` and ``(n,)`` int64."""
        sizes = torch.bincount(codes, minlength=len(self.centre)).clamp(min=1)
        self.centre.copy_(torch.zeros_like(self.centre).index_add_(0, codes, logits) / sizes[:, None])

    @torch.no_grad()
    def fit(self, logits: Tensor, share: float) -> None:
        """Take location, scale and threshold from known cells that the logits were not fitted to.

        Parameters
        ----------
        logits
            ``(n, c)``; without any, location and scale stay as they are and no cell is unknown.
        share
            Share of these cells that may lie above the threshold.
        """
        if not len(logits):
            self.threshold.fill_(torch.inf)
            return
        signs, likely = self._signs(logits), logits.argmax(1)
        of_all = signs.median(0).values
        for label in range(len(self.location)):
            of_label = signs[likely == label]
            median = of_label.median(0).values if len(of_label) else of_all
            self.location[label] = (len(of_label) * median + self.prior * of_all) / (len(of_label) + self.prior)
        # 1.4826 median deviations are a standard deviation where cells are normal.
        self.scale.copy_((1.4826 * (signs - of_all).abs().median(0).values).clamp(min=1e-3))
        self.threshold.copy_(self._sum(logits).quantile(1 - share))

    def _signs(self, logits: Tensor) -> Tensor:
        """How low the highest logit is, and how far the nearest centre: ``(n, 2)``."""
        length = self.centre.norm(dim=1).clamp(min=1e-6)
        return torch.stack([-logits.max(1).values, (torch.cdist(logits, self.centre) / length).min(1).values], 1)

    def _sum(self, logits: Tensor) -> Tensor:
        return ((self._signs(logits) - self.location[logits.argmax(1)]) / self.scale).sum(1)
