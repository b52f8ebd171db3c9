"""Train CPA (Lotfollahi et al. 2023, `cpa-tools`) without one treated cell type and predict it, for peers.py.

Usage: PYTHON_OF_CPA cpa_worker.py FOLDER [--epochs 100]

It needs packages of its time (Python 3.10), for which pip finds no solution, and uv one:
uv pip install torch==2.0.1 scvi-tools==0.20.3 anndata==0.9.2 scanpy==1.9.8 numpy==1.23.5 scipy==1.11.4 "pandas<2.1"
jax==0.4.20 jaxlib==0.4.20 rdkit-pypi adjustText seaborn requests "setuptools<71" "ray[tune]==2.9.3" "pyarrow<15"
lightning==2.2.5; uv pip install --no-deps cpa-tools==0.8.8.

FOLDER holds train.h5ad: the layer "counts", `obs["condition"]`, CTRL or STIM, `obs["cell_type"]` and `uns["depth"]`;
and asked.txt, the type. It runs with the parameters of its tutorial on these cells, with at most 100 epochs of 2,000.
predicted.npz is written there: the mean logarithm, at that depth, of what is predicted of the controls.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import cpa
import numpy as np

MODEL = {
    "n_latent": 64, "recon_loss": "nb", "doser_type": "linear", "n_hidden_encoder": 128, "n_layers_encoder": 2,
    "n_hidden_decoder": 512, "n_layers_decoder": 2, "use_batch_norm_encoder": True, "use_layer_norm_encoder": False,
    "use_batch_norm_decoder": False, "use_layer_norm_decoder": True, "dropout_rate_encoder": 0.0,
    "dropout_rate_decoder": 0.1, "variational": False, "seed": 6977,
}  # fmt: skip
TRAINING = {
    "n_epochs_kl_warmup": None, "n_epochs_pretrain_ae": 30, "n_epochs_adv_warmup": 50, "n_epochs_mixup_warmup": 0,
    "mixup_alpha": 0.0, "adv_steps": None, "n_hidden_adv": 64, "n_layers_adv": 3, "use_batch_norm_adv": True,
    "use_layer_norm_adv": False, "dropout_rate_adv": 0.3, "reg_adv": 20.0, "pen_adv": 5.0, "lr": 3e-4, "wd": 4e-7,
    "adv_lr": 3e-4, "adv_wd": 4e-7, "adv_loss": "cce", "doser_lr": 3e-4, "doser_wd": 4e-7, "do_clip_grad": True,
    "gradient_clip_value": 1.0, "step_size_lr": 10,
}  # fmt: skip

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--epochs", type=int, default=100)

if __name__ == "__main__":
    options = parser.parse_args()
    train = ad.read_h5ad(options.folder / "train.h5ad")
    depth = float(train.uns["depth"])
    name = (options.folder / "asked.txt").read_text()
    train.X = train.layers["counts"].copy()
    train.obs["split"] = np.where(np.random.default_rng(0).random(train.n_obs) < 0.9, "train", "valid")
    # What is asked for: controls of the type, said to be stimulated.
    moved = train[(train.obs["cell_type"] == name) & (train.obs["condition"] == "CTRL")].copy()
    moved.obs["condition"], moved.obs["split"] = "STIM", "ood"
    cells = ad.concat([train, moved], index_unique="-")
    cells.obs["dose"] = "1.0"
    cpa.CPA.setup_anndata(
        cells, perturbation_key="condition", control_group="CTRL", dosage_key="dose",
        categorical_covariate_keys=["cell_type"], is_count_data=True, max_comb_len=1,
    )  # fmt: skip
    model = cpa.CPA(adata=cells, split_key="split", train_split="train", valid_split="valid", test_split="ood", **MODEL)
    model.train(
        max_epochs=options.epochs, use_gpu=False, batch_size=512, plan_kwargs=TRAINING, early_stopping_patience=5,
        check_val_every_n_epoch=5, save_path=str(options.folder / "model"),
    )  # fmt: skip
    own = cells[cells.obs["split"] == "ood"].copy()
    model.predict(own, batch_size=512)
    told = np.asarray(own.obsm["CPA_pred"], dtype=np.float64)
    mean = np.log1p(told * depth / told.sum(1, keepdims=True)).mean(0)
    np.savez(options.folder / "predicted.npz", mean=mean)
