"""Train scGen (Lotfollahi et al. 2019, `scgen`) without one treated cell type and predict it, for peers.py.

Usage: PYTHON_OF_SCGEN scgen_worker.py FOLDER [--epochs 30]

It needs packages of its time (Python 3.11):
pip install torch==2.0.1 scgen==2.1.0 scvi-tools==0.20.3 "torchmetrics<0.12" "anndata<0.10" "scanpy<1.10"
"numpy<1.24" "pandas<2" "scipy<1.11" "jax<0.4.15" "jaxlib<0.4.15" "setuptools<70" requests; then, since scgen asks for
what 0.20 has taken out, pip install --no-deps scvi-tools==0.19.0 pytorch-lightning==1.8.6.

FOLDER holds train.h5ad: logarithms of counts, `obs["condition"]`, CTRL or STIM, and `obs["cell_type"]`; and asked.txt,
the type. It runs as its tutorial does (batches of 32, early stopping after 25 epochs), with at most 30 epochs of 100.
predicted.npz is written there: the mean of the predicted cells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
import scgen
import scvi

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--epochs", type=int, default=30)

if __name__ == "__main__":
    options = parser.parse_args()
    scvi.settings.seed = 0
    train = ad.read_h5ad(options.folder / "train.h5ad")
    scgen.SCGEN.setup_anndata(train, batch_key="condition", labels_key="cell_type")
    model = scgen.SCGEN(train)
    model.train(max_epochs=options.epochs, batch_size=32, early_stopping=True, early_stopping_patience=25)
    told, _ = model.predict(
        ctrl_key="CTRL", stim_key="STIM", celltype_to_predict=(options.folder / "asked.txt").read_text()
    )
    np.savez(options.folder / "predicted.npz", mean=np.asarray(told.X, dtype=np.float64).mean(0))
