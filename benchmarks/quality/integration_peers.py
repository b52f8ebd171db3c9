"""Integrate the cells of a file by one of the peers, or score an embedding with scib-metrics.

Usage: python integration_peers.py METHOD CELLS.h5ad OUT.npz SEED   (in the environment that peers.py makes)

METHOD is PCA, Harmony, scVI or score. CELLS holds raw counts, obs["batch"] and, to be scored, obs["label"] and
obsm["X"]. OUT takes the embedding and the seconds, or the scores.
"""

from __future__ import annotations

import sys
import time
import warnings

import anndata as ad
import numpy as np
import scanpy as sc

warnings.filterwarnings("ignore")


def main() -> None:
    """Read, compute, write."""
    method, file, out, seed = sys.argv[1:]
    adata = ad.read_h5ad(file)
    if method == "score":
        np.savez(out, **score(adata))
        return
    began = time.perf_counter()
    embedding = METHODS[method](adata, int(seed))
    np.savez(out, embedding=np.asarray(embedding, dtype=np.float32), seconds=time.perf_counter() - began)


def variable(adata: ad.AnnData) -> ad.AnnData:
    """log1p of counts per 10,000 of the 2,000 most variable genes, chosen in every batch."""
    logged = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs.copy(), var=adata.var[[]].copy())
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=min(2000, logged.n_vars), batch_key="batch")
    return logged[:, logged.var.highly_variable].copy()


def pca(adata: ad.AnnData, seed: int) -> np.ndarray:
    logged = variable(adata)
    sc.pp.scale(logged, max_value=10)
    sc.tl.pca(logged, n_comps=50, random_state=seed)
    return logged.obsm["X_pca"]


def harmony(adata: ad.AnnData, seed: int) -> np.ndarray:
    import harmonypy

    found = np.asarray(harmonypy.run_harmony(pca(adata, seed), adata.obs, "batch", random_state=seed).Z_corr)
    return found if found.shape[0] == adata.n_obs else found.T


def scvi(adata: ad.AnnData, seed: int) -> np.ndarray:
    import scvi as peer

    peer.settings.seed = seed
    chosen = adata[:, variable(adata).var_names].copy()
    chosen.X = chosen.X.astype(np.float32)
    peer.model.SCVI.setup_anndata(chosen, batch_key="batch")
    model = peer.model.SCVI(chosen)
    model.train(accelerator="cpu", enable_progress_bar=False, logger=False)
    return model.get_latent_representation()


def score(adata: ad.AnnData) -> dict[str, float]:
    """The metrics of scib-metrics' benchmark, those that fit a single embedding, and their means."""
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    bench = Benchmarker(
        adata, batch_key="batch", label_key="label", embedding_obsm_keys=["X"],
        bio_conservation_metrics=BioConservation(), batch_correction_metrics=BatchCorrection(pcr_comparison=False),
        progress_bar=False,
    )  # fmt: skip
    bench.benchmark()
    row = bench.get_results(min_max_scale=False).loc["X"]
    batch, biology = float(row["Batch correction"]), float(row["Bio conservation"])
    return {"batch": batch, "biology": biology, "total": (batch + biology) / 2}


METHODS = {"PCA": pca, "Harmony": harmony, "scVI": scvi}

if __name__ == "__main__":
    main()
