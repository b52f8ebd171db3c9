"""Learn factors from many studies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from celloquy.data import CellBatch
from celloquy.data.variable_genes import variable_genes
from celloquy.models.factors.adapted import dense
from celloquy.nn.factors import top_axes

VARIABLE_GENES = 1000
"""Variable genes of each study that enter the factors."""
CELLS_A_STUDY = 1500
"""Cells of a study, at most, so that a large one does not drown the others."""
LEAST_NOISE = 1e-4


def fitted_weights(studies: Sequence[CellBatch], width: int) -> dict[str, Tensor]:
    """Return loadings, noise and scale of the studies' principal axes; see :meth:`celloquy.FactorModel.fit`.

    Each study is centred on its own mean, so what differs between studies alone is not learned. A gene that a study did
    not measure adds nothing there; its noise is that of the studies that measured it.
    """
    n_genes = studies[0].n_genes
    chosen = np.zeros(n_genes, dtype=bool)
    for study in studies:
        chosen[variable_genes(study, VARIABLE_GENES)] = True
    genes = torch.from_numpy(np.flatnonzero(chosen))
    blocks, cover = [], torch.zeros(len(genes))
    means, times = torch.zeros(len(genes)), torch.zeros(len(genes))
    for study in studies:
        block = dense(_some(study), genes)
        measured = study.measured.all(0)[genes]
        mean = block.mean(0)
        blocks.append((block - mean) * measured)
        cover += len(block) * measured
        means += mean * measured
        times += measured
    centred = torch.cat(blocks)
    singular, axes = top_axes(centred, width)
    # Fewer cells than factors: the rest are factors of no variance.
    missing = width - len(singular)
    singular = torch.cat([singular, singular.new_zeros(missing)])
    axes = torch.cat([axes, axes.new_zeros(missing, axes.shape[1])])
    variance = singular**2 / len(centred)
    left = (centred.square().sum(0) - axes.square().T @ singular**2) / cover.clamp(min=1)
    weights = {
        "loadings": torch.zeros(n_genes, width),
        "noise": torch.zeros(n_genes),
        "mean": torch.zeros(n_genes),
        "scale": variance.sqrt(),
        "axes": torch.zeros(n_genes, 0),
        "rotation": torch.eye(width),
    }
    weights["loadings"][genes] = axes.T * variance.sqrt()
    weights["noise"][genes] = left.clamp(min=LEAST_NOISE)
    weights["mean"][genes] = means / times.clamp(min=1)
    return weights


def _some(study: CellBatch) -> CellBatch:
    """Return at most so many cells, evenly spread over the study."""
    full = torch.nonzero(study.indptr.diff() > 0)[:, 0]
    step = max(1, -(-len(full) // CELLS_A_STUDY))
    return study.select(full[::step])
