"""Two states of cells: the way from one to the other, and whether they differ at all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PERMUTATIONS = 999
"""Permutations of the states' names, so that the least p is .001."""
BLOCKS = 10
"""Parts of the cells that are left out in turn, to tell how sure a mean is."""


def blocks_of(n_cells: int, seed: int) -> NDArray[np.int64]:
    """Return the block of each cell, ``(n,)``, drawn at random and of like size."""
    return np.random.default_rng(seed).permutation(n_cells) % min(BLOCKS, n_cells)


def way_between(vectors: Tensor, is_target: Tensor) -> Tensor:
    """Return the vector from the mean of the source to that of the target, ``(width,)`` float64."""
    return vectors[is_target].double().mean(0) - vectors[~is_target].double().mean(0)


def states_differ(vectors: Tensor, is_target: Tensor, seed: int) -> float:
    """Return p of a permutation test: how often states drawn at random are as far apart as these.

    The distance between two means is Euclidean, of embeddings whose dimensions are scaled to unit variance, so that
    no single one decides.

    Parameters
    ----------
    vectors
        ``(n, width)``: embeddings of the cells of both states.
    is_target
        ``(n,)`` bool.
    seed
        Seed of the permutations.
    """
    values = vectors.double()
    values = (values - values.mean(0)) / values.std(0).clamp(min=1e-12)
    random = np.random.default_rng(seed)
    names = is_target.numpy()
    drawn = np.stack([names, *(random.permutation(names) for _ in range(PERMUTATIONS))]).astype(np.float64)
    weights = drawn / drawn.sum(1, keepdims=True) - (1 - drawn) / (1 - drawn).sum(1, keepdims=True)
    apart = (torch.from_numpy(weights) @ values).norm(dim=1)
    # Rounding decides nothing between equal partitions.
    return float((apart >= apart[0] * (1 - 1e-9)).double().mean())
