"""A small model with random weights, and cells that it can embed."""

import signal

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import celloquy as cq
from celloquy.training import keeper, snapshots

GENES = 30
IDS = np.array([f"ENSG{i:011d}" for i in range(1, GENES + 1)])


def small_model(**changes) -> cq.CellModel:
    """Make a model with random weights, spread so that cells differ."""
    torch.manual_seed(0)
    config = cq.CellModelConfig(
        **{"width": 16, "feedforward": 32, "latent": "gaussian", "latent_width": 8, "decoder_width": 16} | changes
    )
    model = cq.CellModel(config, cq.GeneVocabulary.from_ids(IDS.tolist()))
    with torch.no_grad():
        model.embedder.gene.mul_(100)
    return model


def cells(n: int = 20, seed: int = 0, tissues: int = 3) -> ad.AnnData:
    """Make cells of several tissues with positions; the first cell has no counts."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, 2, size=(n, GENES))).astype(np.float32)
    counts[0] = 0
    adata = ad.AnnData(sparse.csr_matrix(counts))
    adata.var_names = IDS
    adata.obs["sample"] = pd.Categorical([f"s{code}" for code in rng.integers(0, tissues, n)])
    adata.obsm["spatial"] = rng.random((n, 2)) * 1000
    return adata


def embed_slowly(path, out, model):
    """Embed a file in many small steps, for tests that interrupt a process."""
    torch.set_num_threads(1)
    cq.embed(path, model=model, out=out, tissue_key="sample", batch_size=4, precision="float32", progress=False)


def pretrain_until_killed(path, out, seconds, options):
    """Pretrain with a snapshot after every step, and be killed after so much time of the processor; 0: never."""
    torch.set_num_threads(1)
    snapshots.SAVE_EVERY = keeper.SAVE_EVERY = 0.0
    # Nothing handles this signal, so it ends the process at once, between any two instructions.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    cq.pretrain(path, out=out, resume=True, progress=False, **options)
