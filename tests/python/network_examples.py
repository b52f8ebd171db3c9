"""Cells of a planted network: factors that vary, and genes that follow one of them up or down."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

FACTORS = ["GATA1", "SPI1", "PAX5", "TBX21", "SOX2", "FOXA2"]
TARGETS = [
    "HBB", "HBA1", "GYPA", "LYZ", "CST3", "CD14", "MS4A1", "CD79A", "CD19", "IFNG", "GZMB", "PRF1",
    "PODXL", "LIN28A", "DPPA4", "ALB", "TTR", "AFP", "ACTB", "GAPDH", "MALAT1", "VIM",
]  # fmt: skip
REPRESSED = {"CD14", "CD19", "PRF1", "DPPA4", "AFP"}


def network() -> dict[tuple[str, str], int]:
    """Edges with their signs: each factor has three targets, the last four genes have no factor."""
    pairs = [(FACTORS[number // 3], gene) for number, gene in enumerate(TARGETS[:18])]
    return {pair: -1 if pair[1] in REPRESSED else 1 for pair in pairs}


def cells(n=300, seed=0, names=None) -> ad.AnnData:
    """Make counts of the network; half of the cells are of type A, half of type B, which has no network."""
    random = np.random.default_rng(seed)
    genes = [*FACTORS, *TARGETS]
    state = random.normal(size=(n, len(genes)))
    for (factor, gene), sign in network().items():
        state[:, genes.index(gene)] = sign * 1.5 * state[:, genes.index(factor)] + 0.5 * random.normal(size=n)
    noise = np.arange(n) % 2 == 1
    if names is not None:
        state[noise] = random.normal(size=(noise.sum(), len(genes)))
    counts = random.poisson(np.exp(state * 0.6 + 2))
    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), var=pd.DataFrame(index=genes))
    adata.obs_names = [f"cell {number}" for number in range(n)]
    adata.obs["type"] = np.where(noise, "B", "A")
    return adata
