"""Weigh readings of a cell's label by how far they can be trusted on cells that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

PRIOR = 0.5
"""Strength of the prior that all readings are calibrated as they are, in cells."""


def calibrate(readings: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the weights ``(r,)`` under which the sum of ``r`` readings' logits is most probable to give the labels.

    Temperature scaling (Guo et al. 2017) of all readings at once. With few cells to tell, the weights stay near 1.

    Parameters
    ----------
    readings
        Logits ``(n, c)`` of cells to which the readings were not fitted.
    labels
        ``(n,)`` int64.
    """
    if not len(labels):
        return torch.ones(len(readings))
    log_weight = torch.zeros(len(readings), dtype=torch.float64, requires_grad=True)
    logits = torch.stack([reading.double() for reading in readings])
    optimizer = torch.optim.LBFGS([log_weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = functional.cross_entropy(torch.einsum("r,rnc->nc", log_weight.exp(), logits), labels)
        found = found + PRIOR / len(labels) * log_weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return log_weight.detach().exp().float()
