"""Find the regions of tissues by one of the peers.

Usage: python niches_peers.py METHOD CELLS.h5ad OUT.npz REGIONS SEEDS   (an environment with pybanksy, cellcharter and
scvi-tools)

METHOD is BANKSY or CellCharter. CELLS holds raw counts, obs["tissue"] and obsm["spatial"]. SEEDS is their number. OUT
takes the region of every cell for every seed, and the seconds of all.
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
    method, file, out, regions, seeds = sys.argv[1:]
    adata = ad.read_h5ad(file)
    began = time.perf_counter()
    found = METHODS[method](adata, int(regions), range(int(seeds)))
    np.savez(out, found=np.asarray(found).astype(str), seconds=time.perf_counter() - began)


def banksy(adata: ad.AnnData, regions: int, seeds: range) -> list[np.ndarray]:
    """As its guide has it for domains: lambda 0.8, 15 neighbours, azimuthal gradient, 20 components; then k-means."""
    from banksy.embed_banksy import generate_banksy_matrix
    from banksy.initialize_banksy import initialize_banksy
    from banksy_utils.umap_pca import pca_umap
    from sklearn.cluster import KMeans

    logged = normalised(adata)
    # Tissues side by side, too far apart to be neighbours.
    places, tissue = np.asarray(logged.obsm["spatial"], dtype=float), logged.obs["tissue"].astype("category").cat.codes
    logged.obs["x"] = places[:, 0] + tissue.to_numpy() * 10 * np.ptp(places[:, 0])
    logged.obs["y"] = places[:, 1]
    logged.obsm["places"] = logged.obs[["x", "y"]].to_numpy()
    graphs = initialize_banksy(
        logged, ("x", "y", "places"), num_neighbours=15, nbr_weight_decay="scaled_gaussian", max_m=1,
        plt_edge_hist=False, plt_nbr_weights=False, plt_theta=False,
    )  # fmt: skip
    graphs, _ = generate_banksy_matrix(logged, graphs, [0.8], max_m=1, verbose=False)
    pca_umap(graphs, pca_dims=[20], plt_remaining_var=False, add_umap=False)
    vectors = graphs["scaled_gaussian"][0.8]["adata"].obsm["reduced_pc_20"]
    return [KMeans(regions, n_init=10, random_state=seed).fit_predict(vectors) for seed in seeds]


def cellcharter(adata: ad.AnnData, regions: int, seeds: range) -> list[np.ndarray]:
    """As its guide has it: scVI by tissue, Delaunay without long links, three layers, a Gaussian mixture."""
    return [mixed(adata, regions, seed) for seed in seeds]


def mixed(adata: ad.AnnData, regions: int, seed: int) -> np.ndarray:
    """One run of CellCharter."""
    import cellcharter as cc
    import scvi
    import squidpy as sq

    scvi.settings.seed = seed
    # It can't read a cell without counts.
    filled = np.asarray(adata.X.sum(axis=1)).ravel() > 0
    regions_of_all, adata = np.full(adata.n_obs, "none", dtype=object), adata[filled].copy()
    adata.obs["tissue"] = adata.obs["tissue"].astype("category")
    several = adata.obs["tissue"].nunique() > 1
    scvi.model.SCVI.setup_anndata(adata, batch_key="tissue" if several else None)
    model = scvi.model.SCVI(adata)
    model.train(early_stopping=True, enable_progress_bar=False, accelerator="cpu")
    adata.obsm["X_scVI"] = model.get_latent_representation().astype(np.float32)
    sq.gr.spatial_neighbors(adata, library_key="tissue" if several else None, coord_type="generic", delaunay=True)
    cc.gr.remove_long_links(adata)
    cc.gr.aggregate_neighbors(adata, n_layers=3, use_rep="X_scVI", sample_key="tissue" if several else None)
    mixture = cc.tl.Cluster(n_clusters=regions, random_state=seed, trainer_params={"accelerator": "cpu"})
    mixture.fit(adata, use_rep="X_cellcharter")
    regions_of_all[filled] = np.asarray(mixture.predict(adata, use_rep="X_cellcharter")).astype(str)
    return regions_of_all


def normalised(adata: ad.AnnData) -> ad.AnnData:
    """Logarithm of counts scaled to their median, of the 2,000 most variable genes."""
    logged = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs.copy(), obsm={"spatial": adata.obsm["spatial"]})
    sc.pp.normalize_total(logged)
    sc.pp.log1p(logged)
    if logged.n_vars > 2000:
        sc.pp.highly_variable_genes(logged, n_top_genes=2000)
        logged = logged[:, logged.var["highly_variable"]].copy()
    return logged


METHODS = {"BANKSY": banksy, "CellCharter": cellcharter}

if __name__ == "__main__":
    main()
