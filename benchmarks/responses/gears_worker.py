"""Train GEARS (Roohani et al. 2024, `cell-gears`) on one split of responses.py and predict what is asked for.

Usage: PYTHON_OF_GEARS gears_worker.py FOLDER [--epochs 10]

It needs packages of its time:
pip install cell-gears torch_geometric "scipy<1.13" "numpy<2" "pandas<2.3" "anndata<0.11" "scanpy<1.11".

FOLDER holds train.h5ad (logarithms of counts; `obs["condition"]` as GEARS names them, `var["gene_name"]`), asked.json
(lists of genes) and gene2go_all.pkl (GO terms of genes, which GEARS would download). predicted.npz is written there:
changes of each condition against the mean of the controls; a gene outside of GEARS's graph gets no change.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path

import anndata as ad
import numpy as np
from gears import GEARS, PertData

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--epochs", type=int, default=10)

if __name__ == "__main__":
    options = parser.parse_args()
    os.chdir(options.folder)
    Path("data").mkdir(exist_ok=True)
    train = ad.read_h5ad("train.h5ad")
    asked = json.loads(Path("asked.json").read_text())
    cells = PertData(".", default_pert_graph=False)
    cells.new_data_process(dataset_name="split", adata=train)
    cells.load(data_path="./split")
    known = [one for one in cells.adata.obs["condition"].unique() if one != "ctrl"]
    kept = sorted(known)[:: max(2, len(known) // 3)]
    split = {"train": ["ctrl", *(one for one in known if one not in kept)], "val": kept, "test": kept}
    Path("split.pkl").write_bytes(pickle.dumps(split))
    cells.prepare_split(split="custom", split_dict_path="split.pkl")
    cells.get_dataloader(batch_size=32, test_batch_size=128)
    model = GEARS(cells, device="cpu")
    model.model_initialize(hidden_size=64)
    model.train(epochs=options.epochs, lr=1e-3)
    control = np.asarray(cells.adata[cells.adata.obs["condition"] == "ctrl"].X.mean(0)).ravel()
    changes = np.zeros((len(asked), train.n_vars))
    for row, genes in enumerate(asked):
        if set(genes) <= set(model.pert_list):
            changes[row] = next(iter(model.predict([genes]).values())) - control
    np.savez("predicted.npz", changes=changes)
