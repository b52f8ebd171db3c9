"""Perturbed cells with planted effects: programmes of genes that known features of perturbations set off."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import celloquy as cq

SYMBOLS = [
    "STAT1", "IRF1", "JAK2", "IFNGR1", "IFNGR2", "MYC", "SPI1", "ETV7", "SMAD4", "CD86", "BRD4", "CAV1", "NFKBIA",
    "ATF2", "CUL3", "TNFRSF14", "GATA1", "KLF1", "CEBPA", "FOXO4",
]  # fmt: skip
"""Perturbed genes; they are measured, too."""
READ = [*SYMBOLS, "ACTB", "GAPDH", "B2M", "CD3E", "CD19", "LYZ", "NKG7", "HBB", "HBA1", "PPBP"]
"""Measured genes."""
FEATURES = pd.DataFrame(
    np.random.default_rng(1).normal(size=(len(SYMBOLS), 2)), index=SYMBOLS, columns=["first", "second"]
)
"""What is known of perturbations; it tells what they do."""
PROGRAMMES = np.random.default_rng(2).normal(size=(2, len(READ))) * 0.35
BASE = np.random.default_rng(3).gamma(2, 3, size=len(READ))


def effect(name: str) -> np.ndarray:
    """Change of the logarithm of the mean of each gene; of a combination the sum of its parts."""
    return sum(FEATURES.loc[part].to_numpy() @ PROGRAMMES for part in name.split("+") if part != "control")


def perturbed_cells(
    names=SYMBOLS, *, cells: int = 40, controls: int = 200, contexts=("",), size: float = 1.0, seed: int = 0
) -> ad.AnnData:
    """Make cells of perturbations and controls; contexts differ in the level of genes and not in fold changes."""
    random = np.random.default_rng(seed)
    blocks, obs = [], []
    for place, context in enumerate(contexts):
        level = BASE * np.random.default_rng(10 + place).gamma(4, 0.25, size=len(READ))
        for name in ["control", *names]:
            number = controls if name == "control" else cells
            mean = level * np.exp(size * effect(name))
            blocks.append(random.poisson(mean, size=(number, len(READ))))
            obs += [(name, context)] * number
    counts = sparse.csr_matrix(np.concatenate(blocks).astype(np.float32))
    frame = pd.DataFrame(obs, columns=["gene", "line"], index=[f"cell{i}" for i in range(len(obs))])
    return ad.AnnData(counts, obs=frame, var=pd.DataFrame(index=READ))


def predictor(**options) -> cq.ResponsePredictor:
    """Make a predictor that reads the features alone."""
    usual = {"perturbation_key": "gene", "described": FEATURES, "priors": ["signalling"], "progress": False}
    return cq.ResponsePredictor(**usual | options)
