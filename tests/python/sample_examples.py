"""Samples whose class is in the composition of their cells, and a small factor model that embeds them."""

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import celloquy as cq
from examples import GENES, IDS

RATES = np.random.default_rng(5).gamma(0.4, 4, size=(3, GENES))
"""Mean counts of three types of cells."""


def small_factors(width: int = 6) -> cq.FactorModel:
    """Make a factor model with random loadings."""
    torch.manual_seed(1)
    model = cq.FactorModel(cq.FactorModelConfig(width=width), cq.GeneVocabulary.from_ids(IDS.tolist()))
    with torch.no_grad():
        model.loadings.copy_(torch.randn(GENES, width))
    return model


def cohort(
    samples: int = 10, *, size: int = 30, difference: float = 0.8, seed: int = 0, pairs: bool = False, start: int = 0
) -> ad.AnnData:
    """Make samples of two classes, which differ in the share of the first type of cells; that share is a number, too.

    With ``pairs`` each donor has a sample of each class.
    """
    rng = np.random.default_rng(seed)
    blocks, obs = [], []
    for number in range(samples):
        well = number % 2 == 0
        share = 0.5 + (difference / 2 if well else -difference / 2) + rng.normal(0, 0.03)
        kind = rng.choice(3, size, p=[share, (1 - share) / 2, (1 - share) / 2])
        blocks.append(rng.poisson(RATES[kind]))
        name, donor = f"p{number + start:02d}", f"d{number // 2 if pairs else number}"
        obs += [(name, donor, "well" if well else "ill", share, f"type{one}") for one in kind]
    columns = ["patient", "donor", "state", "share", "cell_type"]
    frame = pd.DataFrame(obs, columns=columns, index=[f"cell{start}_{one}" for one in range(len(obs))])
    counts = sparse.csr_matrix(np.concatenate(blocks).astype(np.float32))
    return ad.AnnData(counts, obs=frame, var=pd.DataFrame(index=IDS))


def predictor(**options) -> cq.SamplePredictor:
    """Make a predictor that embeds by the small factor model."""
    usual = {"sample_key": "patient", "target": "state", "model": small_factors(), "progress": False}
    return cq.SamplePredictor(**usual | {"precision": "float32"} | options)
