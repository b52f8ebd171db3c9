"""From counts to clusters on real cells: embed with the model in the box, cluster, compare with PCA.

Usage: python scripts/demo.py [FILE.h5ad] [--label COLUMN] [--out FOLDER]

Without a file it takes the 700 blood cells that come with scanpy. Writes FOLDER/pbmc.h5ad and FOLDER/umap.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

import celloquy as cq

NEIGHBORS = 15
RESOLUTIONS = tuple(round(float(r), 1) for r in np.arange(0.3, 1.6, 0.1))
LABELS = ("cell_type", "bulk_labels", "celltype", "cell_types", "louvain")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="h5ad with raw counts; by default scanpy's 700 PBMC")
    parser.add_argument("--label", help="column of known cell types; found by its usual names if not given")
    parser.add_argument("--out", type=Path, default=Path("demo"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    adata = load(options.file)
    label = options.label or next((name for name in LABELS if name in adata.obs), None)
    print(f"{adata.n_obs:,} cells × {adata.n_vars:,} genes; known cell types: {label or 'none'}")

    cq.embed(adata)
    pca(adata)
    scores = [cluster(adata, "X_celloquy", "celloquy", label), cluster(adata, "X_pca", "pca", label)]

    color = ["celloquy_cluster", *([label] if label else [])]
    mpl.use("Agg")
    figure = cq.plots.umaps(adata, bases={"X_umap_celloquy": "celloquy", "X_umap_pca": "PCA"}, color=color)
    figure.savefig(options.out / "umap.png", dpi=150)
    adata.write_h5ad(options.out / "pbmc.h5ad")
    print(pd.DataFrame(scores).to_string(index=False, float_format="{:.3f}".format))
    print(f"wrote {options.out}/pbmc.h5ad and {options.out}/umap.png")


def load(file: str | None) -> ad.AnnData:
    """Read the user's file, or scanpy's PBMC with their counts recovered from the log-normalised values."""
    if file:
        return ad.read_h5ad(file)
    return cq.recover_counts(sc.datasets.pbmc68k_reduced())


def pca(adata: ad.AnnData) -> None:
    """Add the usual PCA of log-normalised counts of the most variable genes."""
    plain = ad.AnnData(adata.layers.get("counts", adata.X), obs=adata.obs[[]])
    plain = plain.copy()
    sc.pp.normalize_total(plain, target_sum=1e4)
    sc.pp.log1p(plain)
    if plain.n_vars > 2000:
        sc.pp.highly_variable_genes(plain, n_top_genes=2000)
    sc.pp.pca(plain, n_comps=min(50, plain.n_obs - 1, plain.n_vars - 1), random_state=0)
    adata.obsm["X_pca"] = plain.obsm["X_pca"]


def cluster(adata: ad.AnnData, rep: str, name: str, label: str | None) -> dict[str, object]:
    """Cluster at the resolution with the best silhouette, which looks at no label, and score against the labels."""
    sc.pp.neighbors(adata, n_neighbors=NEIGHBORS, use_rep=rep, key_added=name, random_state=0)
    sc.tl.umap(adata, neighbors_key=name, random_state=0)
    adata.obsm[f"X_umap_{name}"] = adata.obsm.pop("X_umap")
    best: tuple[float, float, pd.Series] | None = None
    for resolution in RESOLUTIONS:
        sc.tl.leiden(
            adata, resolution, neighbors_key=name, key_added=f"{name}_cluster", flavor="igraph", n_iterations=-1,
            directed=False, random_state=0,
        )  # fmt: skip
        clusters = adata.obs[f"{name}_cluster"].copy()
        score = silhouette_score(adata.obsm[rep], clusters) if clusters.nunique() > 1 else -1.0
        if best is None or score > best[0]:
            best = score, resolution, clusters
    assert best is not None
    adata.obs[f"{name}_cluster"] = best[2]
    row: dict[str, object] = {"embedding": name, "clusters": best[2].nunique(), "resolution": best[1]}
    if label:
        row["ARI"] = adjusted_rand_score(adata.obs[label], best[2])
        row["NMI"] = normalized_mutual_info_score(adata.obs[label], best[2])
    return row


if __name__ == "__main__":
    main()
