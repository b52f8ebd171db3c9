"""Annotate the cells of another species by CAME, in an environment of its own.

Usage: python came_peer.py JOBS.json   (in an environment with torch, dgl==1.1.3, scanpy[leiden] and came==0.1.13)

JOBS is a list of [REFERENCE.h5ad, QUERY.h5ad, SPECIES, OUT.npz, SEED]: raw counts and symbols, obs["label"] in the
reference alone, SPECIES that of the reference. OUT takes label, confidence and seconds. It runs as its tutorial of
genes that are not one-to-one does, with its own table of homologues, on the whole graph, and takes the checkpoint
whose labels agree best with clusters of the query. The environment variable EPOCHS sets the number of epochs, 350 by
default; CAME recommends 200 to 400.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import anndata as ad
import came
import numpy as np
import pandas as pd
import torch

warnings.filterwarnings("ignore")

EPOCHS = int(os.environ.get("EPOCHS", "350"))


def main() -> None:
    """Do the jobs that are not done."""
    for reference, query, species, out, seed in json.loads(Path(sys.argv[1]).read_text()):
        if Path(out).exists():
            continue
        began = time.perf_counter()
        found = annotate(ad.read_h5ad(reference), ad.read_h5ad(query), species, int(seed))
        np.savez(out, **found, seconds=time.perf_counter() - began)


def annotate(reference: ad.AnnData, query: ad.AnnData, species: str, seed: int) -> dict[str, np.ndarray]:
    """Return the label and the probability of every cell of the query."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- what CAME draws from
    torch.manual_seed(seed)
    every, single = homologues("gene_matches_human2mouse.csv"), homologues("gene_matches_1v1_human2mouse.csv")
    if species == "mouse":
        every, single = every.iloc[:, ::-1], single.iloc[:, ::-1]
    inputs, _ = came.pipeline.preprocess_unaligned(
        [reference, query], key_class="label", node_source="deg,hvg", ntop_deg=50
    )
    with tempfile.TemporaryDirectory() as folder:
        done = came.pipeline.main_for_unaligned(
            **inputs, df_varmap=every, df_varmap_1v1=single, dataset_names=("reference", "query"), key_class1="label",
            do_normalize=True, keep_non1v1_feats=True, n_epochs=EPOCHS, resdir=folder, n_pass=100,
            params_model={"residual": False}, plot_results=False, save_hidden_list=False, save_dpair=False,
        )  # fmt: skip
    probability = done["df_probs"].iloc[-query.n_obs :]
    return {"label": probability.columns[probability.to_numpy().argmax(1)].to_numpy(dtype=str),
            "confidence": probability.max(axis=1).to_numpy()}  # fmt: skip


def homologues(name: str) -> pd.DataFrame:
    """A table of homologues that CAME brings: symbols of human and mouse."""
    with zipfile.ZipFile(Path(came.__file__).parent / "sample_data.zip") as packed:
        path = next(one for one in packed.namelist() if one.endswith(name))
        return pd.read_csv(packed.open(path)).iloc[:, :2]


if __name__ == "__main__":
    main()
