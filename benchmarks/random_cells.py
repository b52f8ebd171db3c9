"""Random cells with the counts of real ones: Zipf-like gene frequencies, a few kinds of cell, Poisson counts."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from celloquy.genes.tables import gene_table

KINDS, BLOCK = 8, 500


def random_cells(cells: int, genes: int, genes_a_cell: float, seed: int) -> ad.AnnData:
    """Return cells of eight kinds, ``obs["kind"]``, in four samples, ``obs["sample"]``, over human Ensembl ids.

    Parameters
    ----------
    cells, genes
        How many.
    genes_a_cell
        How many genes of a cell have a count, on average.
    seed
        The same seed gives the same cells.
    """
    random = np.random.default_rng(seed)
    frequency = random.permutation((np.arange(genes) + 30.0) ** -1.1)
    profile = frequency * random.lognormal(0, 1, size=(KINDS, genes))
    profile /= profile.sum(1, keepdims=True)
    depth = depth_for(profile, genes_a_cell)
    kind = random.integers(KINDS, size=cells)
    size = depth[kind] * random.lognormal(-0.06, 0.35, size=cells)
    blocks = []
    for start in range(0, cells, BLOCK):
        rows = slice(start, start + BLOCK)
        blocks.append(sparse.csr_matrix(random.poisson(profile[kind[rows]] * size[rows, None]).astype(np.float32)))
    known = gene_table("human")
    past = known.retired | known.replaced
    ids = [known.id_of(number) for number in known.symbol_of if number not in past][:genes]
    obs = pd.DataFrame({"sample": pd.Categorical(random.choice(list("abcd"), size=cells))}, map(str, range(cells)))
    obs["kind"] = pd.Categorical([f"kind {number}" for number in kind])
    return ad.AnnData(sparse.vstack(blocks, format="csr"), obs=obs, var=pd.DataFrame(index=ids))


def depth_for(profile: Any, genes_a_cell: float) -> Any:
    """Counts a cell, ``(kinds,)``, at which so many genes of each profile are expected to be seen."""
    low, high = np.full(len(profile), 1.0), np.full(len(profile), 1e7)
    for _ in range(60):
        middle = np.sqrt(low * high)
        few = -np.expm1(-profile * middle[:, None]).sum(1) < genes_a_cell
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return high
