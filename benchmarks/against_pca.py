"""The smallest model against PCA on the user's own labelled files: what the defaults of "mini" were chosen by.

Usage: python benchmarks/against_pca.py FILE.h5ad ... [--label cell_type] [--cells 700] [--genes 1000] [--seeds 2]

Of every file it draws some cells and their most variable genes, trains a model for each seed and clusters as
scripts/demo.py does. Prints ARI and NMI at the resolution that the silhouette chooses, and their means over all
resolutions. The demo's own cells must not be among the files: the README's figure is reported on them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import celloquy as cq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import demo


def main() -> None:
    """Print a row for every file, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--label", default="cell_type")
    parser.add_argument("--cells", type=int, default=700)
    parser.add_argument("--genes", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for file in options.files:
        adata = draw(ad.read_h5ad(file), options.cells, options.genes)
        demo.pca(adata)
        rows.append({"file": file.stem, "embedding": "pca"} | score(adata, "X_pca", options.label))
        for seed in range(options.seeds):
            cq.embed(adata, model=cq.pretrain(adata, seed=seed, progress=False), progress=False)
            rows.append({"file": file.stem, "embedding": "celloquy"} | score(adata, "X_celloquy", options.label))
        print(file.stem, adata.shape, file=sys.stderr)
    table = pd.DataFrame(rows).groupby(["file", "embedding"]).mean().unstack()
    print(table.to_string(float_format="{:.3f}".format))
    print(table.mean().unstack().to_string(float_format="{:.3f}".format))


def draw(adata: ad.AnnData, cells: int, genes: int) -> ad.AnnData:
    """Some cells with their most variable genes, raw counts."""
    rows = np.sort(np.random.default_rng(0).permutation(adata.n_obs)[:cells])
    adata = adata[rows].copy()
    plain = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs[[]], var=adata.var[[]])
    sc.pp.filter_genes(plain, min_cells=3)
    sc.pp.normalize_total(plain, target_sum=1e4)
    sc.pp.log1p(plain)
    sc.pp.highly_variable_genes(plain, n_top_genes=genes)
    adata = adata[:, plain.var_names[plain.var.highly_variable]]
    return adata[np.asarray(adata.X.sum(axis=1)).ravel() > 0].copy()


def score(adata: ad.AnnData, rep: str, label: str) -> dict[str, float]:
    """ARI and NMI at the chosen resolution and as means over all."""
    chosen = demo.cluster(adata, rep, "tried", label)
    known, every = adata.obs[label], []
    for resolution in demo.RESOLUTIONS:
        sc.tl.leiden(
            adata, resolution, neighbors_key="tried", flavor="igraph", n_iterations=-1, directed=False, random_state=0
        )
        found = adata.obs["leiden"]
        every.append((adjusted_rand_score(known, found), normalized_mutual_info_score(known, found)))
    ari, nmi = np.mean(every, axis=0)
    return {"ARI": chosen["ARI"], "NMI": chosen["NMI"], "ARI, mean": ari, "NMI, mean": nmi}


if __name__ == "__main__":
    main()
