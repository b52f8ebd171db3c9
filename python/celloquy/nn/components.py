"""Principal components of genes, from which their vectors can start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import linalg, sparse
from torch import Tensor

if TYPE_CHECKING:
    from celloquy.data.batch import CellBatch

CELLS_FOR_COMPONENTS = 5000
"""Cells from which components are computed, at most."""


def gene_components(cells: CellBatch, number: int, seed: int) -> Tensor:
    """Return the principal components of log-normalised counts, ``(genes, k)`` float32, at most ``number``.

    Each component is divided by the root of its standard deviation, half way from principal components to whitened
    ones.

    Parameters
    ----------
    cells
        The cells.
    number
        Number of components, at most.
    seed
        Seed of the draw of cells, if there are many, and of the randomised decomposition.
    """
    rows = np.arange(len(cells))
    if len(rows) > CELLS_FOR_COMPONENTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, CELLS_FOR_COMPONENTS, replace=False))
    counts = cells.select(torch.from_numpy(rows)).to_csr()
    depth = np.asarray(counts.sum(1), dtype=np.float32).ravel().clip(min=1)
    logged = sparse.csr_matrix(sparse.diags(np.median(depth) / depth) @ counts, dtype=np.float32).log1p()
    strength, axes = _principal_components(logged, min(number, *logged.shape), seed)
    deviation = (strength / math.sqrt(len(rows))).clip(min=1e-3)
    return torch.from_numpy((axes / np.sqrt(deviation)).astype(np.float32))


def _principal_components(matrix: sparse.csr_matrix, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values ``(k,)`` and axes ``(genes, k)`` of a matrix less the means of its columns.

    Halko et al. 2011, algorithm 4.4; the columns are centred by arithmetic, so that the matrix stays sparse, and made
    independent between the iterations by an LU decomposition, in a tenth of the time that ``torch.pca_lowrank`` takes
    with its QR decompositions.
    """
    columns, mean = sparse.csr_matrix(matrix.T), np.asarray(matrix.mean(0), dtype=np.float32)
    # A few components more than are kept make the first ones exact.
    spare = min(number + 16, *matrix.shape)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], spare), dtype=np.float32)
    cells = matrix @ start - mean @ start
    for _ in range(4):
        cells = linalg.lu(cells, permute_l=True)[0]
        genes = linalg.lu(columns @ cells - mean.T * cells.sum(0), permute_l=True)[0]
        cells = matrix @ genes - mean @ genes
    basis = linalg.qr(cells, mode="economic")[0]
    _, strength, axes = linalg.svd((columns @ basis - mean.T * basis.sum(0)).T, full_matrices=False)
    return strength[:number], axes[:number].T
