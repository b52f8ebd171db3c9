"""Refine a factor model by the user's own cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from celloquy.data import CellBatch
from celloquy.data.reader import BLOCK
from celloquy.data.variable_genes import variable_genes
from celloquy.nn.factors import logged, posterior_map, principal_components, refine, top_axes

if TYPE_CHECKING:
    from celloquy.data import CellReader

LEAST_CELLS = 20
"""Cells below which nothing is learned from them."""
MOST_CELLS = 5000
"""Cells from which is learned, at most."""
OWN_AXES = 20
"""Principal axes of the user's cells that are kept as they are, at most, so that what a PCA shows is not lost."""
CELLS_AT_EQUAL_SIZE = 300
"""Number of cells at which these axes are as large, all together, as the factors. Axes of few cells are uncertain, and
the corpus knows better; those of many are sure. So their size grows with the square root of the number of cells. On
held-out studies neighbours are then nowhere, in the mean of three draws, more than .01 of macro F1 worse than those of
a PCA; with a fixed size (.8, 1.5 or 3 times that of the factors) they were."""
COMPONENTS = 20
"""Principal components of factors and axes that are the embedding, at most. All of them find neighbours as well, but
clusters on held-out studies less well: distances in so many dimensions say less (of 15, 20, 30, 50 and all)."""
OWN_GENES = 2000
"""Variable genes of the user's cells that are read beside those of the model."""


def refined_weights(loadings: Tensor, noise: Tensor, cells: CellReader, components: int) -> dict[str, Tensor] | None:
    """Return the weights of the model that some cells refine, or None if too few of them have counts.

    The embedding has so many components, at most.

    The same cells give the same weights in whatever order they come.
    """
    batch = chosen_cells(cells, MOST_CELLS)
    if len(batch) < LEAST_CELLS:
        return None
    known = (noise > 0) & cells.measured
    own = torch.from_numpy(variable_genes(batch, OWN_GENES))
    read = known.clone()
    read[own] = True
    genes = torch.nonzero(read)[:, 0]
    centred = dense(batch, genes)
    mean = centred.mean(0)
    centred -= mean
    learned = refine(torch.where(known[:, None], loadings, 0.0)[genes], torch.where(known, noise, 0.0)[genes], centred)
    weights = {
        "loadings": torch.zeros(len(noise), len(learned.scale)),
        "noise": torch.zeros(len(noise)),
        "mean": torch.zeros(len(noise)),
        "scale": learned.scale,
    }
    weights["mean"][genes] = mean
    weights["loadings"][genes], weights["noise"][genes] = learned.loadings, learned.noise
    everything = torch.ones(len(genes), dtype=torch.bool)
    factors = centred @ (posterior_map(learned.loadings, learned.noise, everything) * learned.scale)
    strength, axes = top_axes(centred[:, torch.searchsorted(genes, own)], min(OWN_AXES, len(own), len(batch) - 1))
    strength, axes = strength[strength > 0], axes[strength > 0]
    size = (len(batch) / CELLS_AT_EQUAL_SIZE) ** 0.5
    weights["axes"] = torch.zeros(len(noise), len(axes))
    weights["axes"][own] = axes.T * (size * factors.norm() / strength.norm())
    weights["rotation"] = principal_components(torch.cat([factors, centred @ weights["axes"][genes]], 1), components)
    return weights


def chosen_cells(cells: CellReader, most: int) -> CellBatch:
    """Return at most so many cells that have counts, chosen and ordered by a hash of their counts.

    So the order in which the cells lie in the object does not matter, and no random number is drawn.
    """
    kept: list[CellBatch] = []
    hashes: list[np.ndarray] = []
    for start in range(0, len(cells), BLOCK):
        block = cells.read(start, min(start + BLOCK, len(cells)))
        block = block.select(torch.nonzero(block.indptr.diff() > 0)[:, 0])
        values = np.concatenate([*hashes, _hash(block)])
        together = CellBatch.concatenate([*kept, block])
        order = np.argsort(values, kind="stable")[:most]
        kept, hashes = [together.select(torch.from_numpy(order))], [values[order]]
    whole = kept[0]
    return CellBatch(
        whole.indptr, whole.indices, whole.values, whole.tissue, whole.position, torch.full_like(whole.batch, -1),
        torch.zeros_like(whole.panel), cells.measured[None],
    )  # fmt: skip


def dense(batch: CellBatch, genes: Tensor) -> Tensor:
    """Return the log-normalised expression of some genes, ``(n, genes)``."""
    column = torch.full((batch.n_genes,), -1)
    column[genes] = torch.arange(len(genes))
    places = column[batch.indices.long()]
    kept = places >= 0
    values = torch.zeros(len(batch), len(genes))
    values[batch.cell_of_count[kept], places[kept]] = logged(batch)[kept]
    return values


def _hash(batch: CellBatch) -> np.ndarray:
    """``(n,)`` uint64: a hash of each cell's genes and counts."""
    if not len(batch):
        return np.zeros(0, dtype=np.uint64)
    with np.errstate(over="ignore"):
        gene = batch.indices.numpy().astype(np.uint64) + np.uint64(1)
        count = batch.values.numpy().view(np.uint32).astype(np.uint64)
        mixed = gene * np.uint64(0x9E3779B97F4A7C15) ^ count * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        return np.add.reduceat(mixed ^ (mixed >> np.uint64(32)), batch.indptr[:-1].numpy())
