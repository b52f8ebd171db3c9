"""How well changes of genes move source cells toward a target: sums over blocks of cells, as they stream by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from celloquy.tasks.perturbation.changes import GeneChange
from celloquy.tasks.perturbation.sample import SampledCells
from celloquy.tasks.perturbation.shifts import shifted
from celloquy.tasks.perturbation.states import way_between


@dataclass(frozen=True, eq=False, slots=True)
class Moves:
    """How ``c`` changes move the source cells."""

    cosine: NDArray[np.float64]
    """``(c,)``: cosine of the mean shift with the way from source to target; NaN where no cell is altered."""
    step: NDArray[np.float64]
    """``(c,)``: share of the way that the mean source cell is moved along it."""
    confidence: NDArray[np.float64]
    """``(c,)``: probability that the move is toward the target, by the jackknife over blocks of cells."""
    n_cells: NDArray[np.int64]
    """``(c,)``: source cells that are altered."""


def moves_toward(
    cells: SampledCells,
    changes: Sequence[GeneChange],
    vectors: Tensor,
    is_target: Tensor,
    block: NDArray[np.int64],
    *,
    progress: bool,
) -> Moves:
    """Return how changes move the source cells, which alone are read with them.

    Parameters
    ----------
    cells
        The source cells, and then the target cells.
    changes
        Changes, each on its own.
    vectors, is_target, block
        Embedding, state and block of these cells, ``(n, …)``.
    progress
        Show a progress bar.
    """
    n_blocks, width = int(block.max()) + 1, vectors.shape[1]
    own = torch.from_numpy(block)
    sums = torch.zeros(len(changes) * n_blocks, width, dtype=torch.float64)
    times = torch.zeros(len(changes), dtype=torch.int64)
    n_source = int((~is_target).sum())
    for change, cell, before, after in shifted(cells, changes, progress, n_source):
        sums.index_add_(0, change * n_blocks + own.index_select(0, cell), (after - before).double())
        times += torch.bincount(change, minlength=len(changes))
    by_block = sums.unflatten(0, (len(changes), n_blocks))
    whole, way = by_block.sum(1), way_between(vectors, is_target)
    cosine = _cosine(whole, way)
    step = (whole @ way) / n_source / way.square().sum().clamp(min=1e-300)
    # The jackknife: shift and way without one block of cells at a time.
    left_out = []
    for number in range(n_blocks):
        kept = own != number
        if bool((kept & is_target).any()) and bool((kept & ~is_target).any()):
            left_out.append(_cosine(whole - by_block[:, number], way_between(vectors[kept], is_target[kept])))
    altered = times.numpy()
    found = np.where(altered > 0, cosine.numpy(), np.nan)
    return Moves(found, step.numpy(), _sure(found, torch.stack(left_out).numpy()), altered)


def _cosine(shifts: Tensor, way: Tensor) -> Tensor:
    return (shifts @ way) / (shifts.norm(dim=1) * way.norm()).clamp(min=1e-300)


def _sure(cosine: NDArray[np.float64], left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that a cosine is positive, from those without one block each, ``(blocks, c)``."""
    n = len(left_out)
    error = np.sqrt((n - 1) / n * np.square(left_out - left_out.mean(0)).sum(0))
    t = np.nan_to_num(cosine) / np.maximum(error, 1e-9)
    return np.where(np.isfinite(cosine), stats.t.cdf(t, max(1, n - 1)), 0.5)
