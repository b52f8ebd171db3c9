"""Niches against annotated regions of tissues: results/niches.md.

Usage: python benchmarks/quality/niches.py [--data FOLDER] [--peers PYTHON] [--add FILE …] [--seeds 5] [--report]

Every method gets the same cells, raw counts, positions and the number of annotated regions. Peers run by the Python of
an environment with pybanksy, cellcharter and scvi-tools. --add measures on further tissues: h5ad files with raw counts,
obsm["spatial"], obs["tissue"] and obs["region"], of which "undetermined" is found with the others but not scored; each
tissue is then looked at alone, and scores are averaged. What is measured is kept in the cache folder, not repeated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import peers
import scanpy as sc
from scipy import sparse
from scipy.spatial import KDTree
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import celloquy as cq

sys.path.insert(0, str(peers.HERE.parent))
import report

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CACHE = peers.CACHE / "niches"
OURS = "celloquy"
PEERS = ("BANKSY", "CellCharter")


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with spatial/")
    parser.add_argument("--peers", type=Path, help="Python of an environment with the peers")
    parser.add_argument("--add", type=Path, nargs="*", default=[], help="further annotated tissues")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if not options.report:
        warnings.filterwarnings("ignore")
        sets = reported(options.data) | {file.stem: alone(ad.read_h5ad(file)) for file in options.add}
        for method in (*METHODS, *(PEERS if options.peers else ())):
            for name, tissues in sets.items():
                measure(name, tissues, method, options.seeds, options.peers)
                print(name, method, file=sys.stderr, flush=True)
    write()


def reported(data: Path) -> dict[str, list[ad.AnnData]]:
    """The tissues that nothing was chosen on: lists of objects whose regions are found in one go."""
    cortex, bulb = (ad.read_h5ad(data / f"spatial/{name}.h5ad") for name in ("starmap_mpfc", "mob_st"))
    cortex.obs["region"], cortex.obs["tissue"] = cortex.obs["layer"].astype(str), cortex.obs["slice"].astype(str)
    bulb.obs["region"] = bulb.obs["cell_type"].astype(object).fillna("undetermined").astype(str)
    bulb.obs["tissue"] = "bulb"
    return {
        "STARmap cortex, 3 slices together": [cortex],
        "STARmap cortex, each slice alone": alone(cortex),
        "olfactory bulb, ST": [bulb],
    }


def alone(adata: ad.AnnData) -> list[ad.AnnData]:
    """Each tissue of an object as an object of its own."""
    return [adata[adata.obs["tissue"] == tissue].copy() for tissue in adata.obs["tissue"].unique()]


def measure(name: str, tissues: list[ad.AnnData], method: str, seeds: int, python: Path | None) -> None:
    """Find the regions with every seed, and keep the scores, unless that has been done."""
    out = CACHE / f"{name}-{method}.csv".replace(" ", "_").replace("/", "_")
    if out.exists():
        return
    runs = []
    for number, adata in enumerate(tissues):
        known = adata.obs["region"].to_numpy(dtype=str)
        scored = known != "undetermined"
        regions = len(set(known[scored]))
        began = time.perf_counter()
        make = METHODS.get(method)
        vectors = None if make is None else make(adata)
        if vectors is None:
            labels, each = peer(adata, method, regions, seeds, python)
        for seed in range(seeds):
            if vectors is None:
                found, seconds = labels[seed], each
            else:
                found = KMeans(regions, n_init=10, random_state=seed).fit_predict(vectors)
                seconds = time.perf_counter() - began
                began = time.perf_counter()
            pair = known[scored], found[scored]
            scores = {"ARI": adjusted_rand_score(*pair), "NMI": normalized_mutual_info_score(*pair)}
            runs.append({"set": name, "method": method, "tissue": number, "seed": seed, "seconds": seconds} | scores)
    pd.DataFrame(runs).to_csv(out, index=False)


def peer(adata: ad.AnnData, method: str, regions: int, seeds: int, python: Path | None) -> tuple[np.ndarray, float]:
    """The regions that a peer finds with each seed, and its seconds a seed, by a process of its own on one thread."""
    file, out = CACHE / "cells.partial.h5ad", CACHE / "found.partial.npz"
    plain = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs[["tissue"]].astype(str), var=adata.var[[]])
    plain.obsm["spatial"] = np.asarray(adata.obsm["spatial"], dtype=float)
    plain.write_h5ad(file)
    subprocess.run(
        [str(python), str(peers.HERE / "niches_peers.py"), method, str(file), str(out), str(regions), str(seeds)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True,
    )  # fmt: skip
    with np.load(out) as found:
        return found["found"], float(found["seconds"]) / seeds


def ours(adata: ad.AnnData, **changes: object) -> np.ndarray:
    """celloquy at its defaults; the number of niches does not change the embedding."""
    result = cq.niches(adata, tissue_key="tissue", n_niches=1, progress=False, device="cpu", copy=True, **changes)
    return result.obsm["X_niche"]


def cells_alone(adata: ad.AnnData) -> np.ndarray:
    """The embedding of the cell, without its neighbours."""
    return cq.embed(adata, progress=False, device="cpu", copy=True).obsm["X_celloquy"]


def components(adata: ad.AnnData) -> np.ndarray:
    """20 principal components of logarithms of counts scaled to their median, of the 2,000 most variable genes."""
    logged = ad.AnnData(adata.X.astype(np.float32))
    sc.pp.normalize_total(logged)
    sc.pp.log1p(logged)
    if logged.n_vars > 2000:
        sc.pp.highly_variable_genes(logged, n_top_genes=2000)
        logged = logged[:, logged.var["highly_variable"]].copy()
    return sc.pp.pca(logged.X, n_comps=20)


def mean_components(adata: ad.AnnData) -> np.ndarray:
    """Components averaged over the cell and its eight nearest."""
    return over_neighbours(adata, 8) @ components(adata)


def composition(adata: ad.AnnData, n_neighbors: int = 20) -> np.ndarray:
    """Shares of 16 clusters of the components among the cell and its nearest."""
    clusters = KMeans(16, n_init=10, random_state=0).fit_predict(components(adata))
    return over_neighbours(adata, n_neighbors) @ np.eye(16)[clusters]


def over_neighbours(adata: ad.AnnData, number: int) -> sparse.csr_matrix:
    """The matrix that averages over a cell and its nearest in the tissue."""
    rows, columns = [], []
    for tissue in adata.obs["tissue"].unique():
        cells = np.flatnonzero(adata.obs["tissue"] == tissue)
        places = np.asarray(adata.obsm["spatial"], dtype=float)[cells]
        nearest = KDTree(places).query(places, k=number + 1)[1]
        rows.append(np.repeat(cells, number + 1))
        columns.append(cells[nearest.ravel()])
    row, column = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_matrix((np.full(len(row), 1 / (number + 1)), (row, column)), shape=(adata.n_obs,) * 2)


METHODS: dict[str, Callable[[ad.AnnData], np.ndarray]] = {
    OURS: ours,
    "PCA over 8 neighbours": mean_components,
    "composition over 20 neighbours": composition,
    "PCA of the cell alone": components,
    "celloquy, the cell alone": cells_alone,
    f"{OURS}, composition": lambda adata: ours(adata, composition=0.5),
    f"{OURS}, tissues not centred": lambda adata: ours(adata, center_tissues=False),
    f"{OURS}, 8 neighbours": lambda adata: ours(adata, n_neighbors=8),
}


def write() -> None:
    """Write the table of all that was measured."""
    runs = pd.concat([pd.read_csv(file) for file in sorted(CACHE.glob("*.csv"))])
    # A set of several tissues is scored as the mean over them, seed by seed.
    by_seed = runs.groupby(["set", "method", "seed"])[["ARI", "NMI", "seconds"]].mean().reset_index()
    parts = []
    for name in dict.fromkeys(by_seed["set"]):
        here = by_seed[by_seed["set"] == name]
        rows = []
        for method in sorted(here["method"].unique(), key=lambda one: -here[here["method"] == one]["ARI"].median()):
            own = here[here["method"] == method]
            figures = [
                f"{own[one].median():.3f} ({own[one].min():.3f} to {own[one].max():.3f})" for one in ("ARI", "NMI")
            ]
            rows.append([method, *figures, f"{own['seconds'].max():.0f}", len(own)])
        parts.append(f"**{name}**\n\n{report.table(['', 'ARI', 'NMI', 'seconds', 'seeds'], rows)}")
    report.write_section(
        "niches",
        "Niches",
        "\n\n".join([NOTE, *parts]),
        command="python benchmarks/quality/niches.py --data FOLDER --peers PYTHON --add FILES",
        folder=peers.HERE / "results",
    )


NOTE = """Regions that people have annotated, found without labels; every method was given their number. Median over the
seeds, and their range; the best first. Seeds are those of k-means with 10 starts, for CellCharter of scVI and its
mixture, too; seconds are rough: the machine was shared, and seeds share what does not hang on them. CellCharter was
measured with one seed on one set.

What celloquy does was chosen on four sections of HER2+ breast tumours (Andersson et al. 2021: A1, B1, C1, D1) and on
tissues made up of dissociated cells, before any of these tables was seen; the tables of osmFISH (Codeluppi et al. 2018,
33 genes) and of the other four sections (E1, F1, G2, H1) are of tissues that are not in the data folder. Composition
beside the embedding was tried after that, because it wins on cortex: at a weight of 0.5 it raised the ARI on the
made-up tissues from 0.489 to 0.551 and left that of the four sections (0.286 to 0.281; one seed), but helped here on
single slices of cortex alone, so it is off: that decision saw these tables.

celloquy is not first on cortex: composition wins there, and on the 33 genes of osmFISH averaged components are far
ahead, because the embedding of a cell says little of so small a panel; BANKSY is ahead on osmFISH and, by a
hundredth, on the three slices together, and behind elsewhere. On the olfactory bulb every average over
neighbours loses to the spot alone, and on the four breast sections the NMI of averaged components is higher.
Centring tissues made little difference on the
slices; on the four sections for the choice, found in one go, it lost (ARI 0.13 against 0.17), on made-up tissues with
an effect of the slice it won.

Ours were measured when the cells' own components had a fixed weight in the embedding; by the present one the ARI of
celloquy is 0.717 on the three slices together, 0.682 on each alone, and 0.483 on the bulb (five seeds each)."""

if __name__ == "__main__":
    main()
