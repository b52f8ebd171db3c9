"""The maximum mean discrepancy: how differently the cells of several batches lie in an embedding.

Gretton et al. 2012, A kernel two-sample test, with a mixture of kernels as in Li et al. 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALES = (0.25, 1.0, 4.0)
"""Widths of the kernels, in units of the mean squared distance of two cells."""


def maximum_mean_discrepancy(cells: Tensor, batch: Tensor) -> Tensor:
    """Return the squared discrepancy between a batch and all others, averaged over the batches, a scalar.

    It is 0 if the batches lie alike, and at most about 2. Cells of no batch, code -1, are left out.

    Parameters
    ----------
    cells
        Embedding of the cells, ``(n, width)``.
    batch
        Batch of each cell, ``(n,)`` int64.
    """
    known = batch >= 0
    cells, codes = cells[known].float(), batch[known].unique(return_inverse=True)[1]
    if not len(cells) or int(codes.max()) == 0:
        return cells.sum() * 0
    distance = torch.cdist(cells, cells).square()
    scale = distance.detach().mean().clamp(min=1e-12)
    kernel = torch.stack([(-distance / (width * scale)).exp() for width in SCALES]).mean(0)
    # (n, batches): the weights of the difference between the mean of a batch and that of all other cells.
    member = torch.nn.functional.one_hot(codes).to(kernel)
    weights = member / member.sum(0) - (1 - member) / (1 - member).sum(0)
    return (weights * (kernel @ weights)).sum(0).mean()
