"""Annotate the cells of one file with the labels of another, by the peers at their documented defaults.

Usage: python annotation_peers.py JOBS.json   (in the environment that peers.py makes)

JOBS is a list of [PEER, TRAIN.h5ad, TEST.h5ad, OUT.npz, SEED]. Both files hold raw counts over the same genes, TRAIN
obs["label"]. OUT takes label, confidence and seconds. Jobs share a process, for imports take longer than most of them.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc

warnings.filterwarnings("ignore")


def main() -> None:
    """Do the jobs that are not done."""
    for peer, train_file, test_file, out, seed in json.loads(Path(sys.argv[1]).read_text()):
        if Path(out).exists():
            continue
        train, test = ad.read_h5ad(train_file), ad.read_h5ad(test_file)
        began = time.perf_counter()
        label, confidence = PEERS[peer](train, test, int(seed))
        seconds = time.perf_counter() - began
        found = {"label": np.asarray(label, dtype=str), "confidence": np.asarray(confidence, dtype=float)}
        with tempfile.NamedTemporaryFile(suffix=".npz", dir=Path(out).parent, delete=False) as fresh:
            np.savez(fresh, **found, seconds=seconds)
        Path(fresh.name).rename(out)


def log_counts(adata: ad.AnnData) -> ad.AnnData:
    """log1p of counts per 10,000."""
    logged = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs.copy(), var=adata.var[[]].copy())
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    return logged


def components(train: ad.AnnData, test: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Scanpy's usual way to 50 principal components; genes, scale and axes from the training cells."""
    a, b = log_counts(train), log_counts(test)
    sc.pp.highly_variable_genes(a, n_top_genes=min(2000, a.n_vars))
    genes = a.var_names[a.var.highly_variable]
    a, b = a[:, genes].copy(), b[:, genes].copy()
    sc.pp.scale(a, max_value=10)
    x = np.clip((b.X.toarray() - a.var["mean"].to_numpy()) / a.var["std"].to_numpy(), -10, 10)
    sc.tl.pca(a, n_comps=min(50, a.n_obs - 1, a.n_vars - 1))
    return a.obsm["X_pca"], x @ a.varm["PCs"]


def classify(model, train: np.ndarray, test: np.ndarray, label) -> tuple[np.ndarray, np.ndarray]:
    """Fit and predict with a scikit-learn classifier."""
    model.fit(train, np.asarray(label, dtype=str))
    probability = model.predict_proba(test)
    return model.classes_[probability.argmax(1)], probability.max(1)


def logistic_pca(train, test, seed):
    from sklearn.linear_model import LogisticRegression

    return classify(LogisticRegression(max_iter=1000), *components(train, test), train.obs["label"])


def logistic_counts(train, test, seed):
    from sklearn.linear_model import LogisticRegression

    a, b = log_counts(train), log_counts(test)
    return classify(LogisticRegression(max_iter=1000), a.X, b.X, train.obs["label"])


def knn_pca(train, test, seed):
    from sklearn.neighbors import KNeighborsClassifier

    return classify(KNeighborsClassifier(), *components(train, test), train.obs["label"])


def celltypist(train, test, seed):
    import celltypist as peer

    a, b = log_counts(train), log_counts(test)
    model = peer.train(a, labels="label", n_jobs=1)
    found = peer.annotate(b, model=model)
    labels = found.predicted_labels["predicted_labels"].astype(str).to_numpy()
    return labels, found.probability_matrix.max(axis=1).to_numpy()


def scanvi(train, test, seed):
    """Reference and query together, the query unlabelled and a batch of its own."""
    import scvi

    scvi.settings.seed = seed
    joined = ad.concat({"reference": train, "query": test}, label="source", index_unique="-")
    joined.obs["known"] = [*train.obs["label"].astype(str), *["Unknown"] * test.n_obs]
    genes = log_counts(joined)
    sc.pp.highly_variable_genes(genes, n_top_genes=min(2000, genes.n_vars), batch_key="source")
    joined = joined[:, genes.var.highly_variable].copy()
    joined.X = joined.X.astype(np.float32)
    scvi.model.SCVI.setup_anndata(joined, batch_key="source", labels_key="known")
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    base = scvi.model.SCVI(joined)
    base.train(**quiet)
    model = scvi.model.SCANVI.from_scvi_model(base, unlabeled_category="Unknown")
    # scvi-tools trains on nine in ten cells of either; its batch normalisation can't take a last minibatch of one.
    trained = math.ceil(0.9 * train.n_obs) + math.ceil(0.9 * test.n_obs)
    model.train(batch_size=127 if trained % 128 == 1 else 128, **quiet)
    query = joined[joined.obs["source"] == "query"].copy()
    probability = model.predict(query, soft=True)
    return probability.columns[probability.to_numpy().argmax(1)], probability.max(axis=1).to_numpy()


PEERS = {
    "CellTypist": celltypist,
    "logistic regression, log counts": logistic_counts,
    "logistic regression, PCA": logistic_pca,
    "kNN, PCA": knn_pca,
    "scANVI": scanvi,
}

if __name__ == "__main__":
    main()
