"""Embeddings without training: the model in the box beside PCA, on studies that it never met: results/zero_shot.md.

Usage: python benchmarks/quality/zero_shot.py --data FOLDER [--seeds 5] [--sets SET …] [--report]

FOLDER holds the h5ad files named below, which are left out of the model's corpus and of every choice made for it but
one (results/own_axes.md), with every file of the same study. Of each set 100, 300 and 1,000 cells are drawn, of types
with at least five cells in the draw, and all cells are taken. Every method sees the same cells:

- PCA of 20 and of 50 components, of log-normalised counts of the 2,000 most variable genes (scanpy);
- posterior projection: the posterior mean of a probabilistic PCA of 50 components of five human studies, the linear
  floor (its human genes alone; mouse sets through one-to-one orthologs);
- scVI (scvi-tools, defaults, 2,000 most variable genes), trained on the cells;
- from scratch: `cq.embed(adata, model="scratch")`;
- untrained: the model in the box with random loadings of the same size, the share of the posterior's form alone;
- zero-shot: `cq.embed(adata, adapt=False)`, and adapted: `cq.embed(adata)`, the default;
- genes-mini: `cq.embed(adata, model="genes-mini")`, the gene model in the box, which reads every cell alone;
  genes-mini, summary: the summary of all genes alone, from which its token starts (`pooling="summary"`).

Scored are the macro F1 of nearest neighbours (five folds), ARI and NMI of Leiden clusters at the resolution with the
best silhouette. Then labels are carried from a set's full panel to the same cells with a share of their genes or of
their counts (15 nearest neighbours, macro F1). Time and memory are those of one process that reads PBMC 3k and embeds
it. A run that is in the cache folder is not repeated; what trains runs with `--trained` seeds of each size alone.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import anndata as ad
import igraph
import numpy as np
import pandas as pd
import peers
import scanpy as sc
import torch
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score, silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, kneighbors_graph

import celloquy as cq
from celloquy.models.factors import FactorModel, FactorModelConfig

sys.path.insert(0, str(peers.HERE.parent))
sys.path.insert(0, str(peers.HERE.parents[1] / "scripts"))
import report

SETS = {
    "PBMC 3k": "scrna/pbmc3k",
    "breast tumours": "scrna/breast_wu",
    "3 lines, CEL-seq2": "scrna/mix_celseq2",
    "3 lines, Drop-seq": "scrna/mix_dropseq",
    "kidney, mouse": "scrna/kidney_tabula_muris",
    "cortex, mouse, STARmap": "spatial/starmap_mpfc",
    "olfactory bulb, mouse, ST": "spatial/mob_st",
    "pancreas, human": "cross_species/pancreas_baron_human",
    "pancreas, mouse": "cross_species/pancreas_baron_mouse",
}
FLOOR = ("pbmc_sorted_mudan", "pbmc_frozen_donor_a", "nsclc_zilionis", "lymph_node_ref", "lung_delorey")
METHODS = (
    "PCA 20", "PCA 50", "scVI", "posterior projection", "from scratch", "untrained", "zero-shot", "adapted",
    "genes-mini", "genes-mini, summary",
)  # fmt: skip
TRAINED = ("scVI", "from scratch")
SIZES = (100, 300, 1000, None)
RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
SHARES = {"genes": (1.0, 0.5, 0.2, 0.1), "counts": (0.5, 0.2, 0.1)}
LEAST_OF_A_TYPE = 5
FOLDER = peers.CACHE / "zero_shot"


def main() -> None:
    """Measure what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trained", type=int, default=2, help="seeds of what trains on the cells")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--cost", metavar="METHOD", help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.cost:
        print(json.dumps(cost(options.cost, options.data)))
        return
    if not options.report:
        measure(options)
    write(options)


def measure(options: argparse.Namespace) -> None:
    """Write one file a set, size, seed and method, one a set with the cuts, and one a method with its cost."""
    warnings.filterwarnings("ignore")
    for name in options.sets:
        study = read(options.data, name)
        for method in options.methods:
            if method.startswith("genes-mini"):
                # No cell depends on the others, so each is embedded once for all draws.
                study.obsm[method] = embedded(study, gene_model(method), adapt=None)
        for size in SIZES:
            if size is not None and size >= study.n_obs:
                continue
            for seed, method in product(range(options.seeds if size else 1), options.methods):
                if method in TRAINED and seed >= options.trained:
                    continue
                file = FOLDER / f"{stem(name)}-{size}-{seed}-{method}.json"
                if not file.exists():
                    cells = few(study, size or study.n_obs, seed)
                    scores = score(method, cells, options.data)
                    file.write_text(json.dumps(scores))
                    print(name, size, seed, method, scores, flush=True)
        file = FOLDER / f"{stem(name)}-cut.json"
        if not file.exists():
            file.write_text(json.dumps(carried(study, options.data)))
            print(name, file.read_text(), flush=True)
    for method in options.methods:
        file = FOLDER / f"cost-{method}.json"
        if not file.exists():
            # The environment of the peer is made before its time is taken.
            peers.environment()
            command = [sys.executable, __file__, "--data", str(options.data), "--cost", method]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            file.write_text(done.stdout.splitlines()[-1])
            print(method, file.read_text(), flush=True)


def stem(name: str) -> str:
    """Return the start of the names of a set's files."""
    return SETS[name].replace("/", "-")


def cost(method: str, data: Path) -> dict[str, float]:
    """Return the seconds and the most memory, in GB, of embedding all cells of PBMC 3k in this process."""
    cells = read(data, "PBMC 3k")
    began = time.perf_counter()
    if method.startswith("genes-mini"):
        embedded(cells, gene_model(method), adapt=None)
    else:
        embedder(method, data)(cells)
    seconds = time.perf_counter() - began
    # A peer runs in a process of its own.
    whose = resource.RUSAGE_CHILDREN if method == "scVI" else resource.RUSAGE_SELF
    return {"seconds": seconds, "memory": resource.getrusage(whose).ru_maxrss / 2**20}


def read(data: Path, name: str) -> ad.AnnData:
    """Return the cells of a set that have a label."""
    study = ad.read_h5ad(data / f"{SETS[name]}.h5ad")
    return study[study.obs["cell_type"].notna().to_numpy()].copy()


def few(study: ad.AnnData, size: int, seed: int) -> ad.AnnData:
    """Draw cells, and keep those of types with at least five."""
    chosen = study[np.sort(np.random.default_rng(seed).permutation(study.n_obs)[:size])].copy()
    sizes = chosen.obs["cell_type"].value_counts()
    return chosen[chosen.obs["cell_type"].isin(sizes.index[sizes >= LEAST_OF_A_TYPE])].copy()


def score(method: str, cells: ad.AnnData, data: Path) -> dict[str, float]:
    """Embed and score."""
    return scores_of(embedder(method, data)(cells), cells.obs["cell_type"].astype(str).to_numpy())


def scores_of(embedding: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Return the macro F1 of neighbours, five folds, and ARI and NMI of clusters."""
    neighbours = KNeighborsClassifier(min(15, max(3, len(label) // 20)))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(neighbours, embedding, label, cv=folds)
    clusters = clustered(embedding)
    return {
        "F1": float(f1_score(label, found, average="macro")),
        "ARI": float(adjusted_rand_score(label, clusters)),
        "NMI": float(normalized_mutual_info_score(label, clusters)),
    }


def clustered(embedding: np.ndarray) -> np.ndarray:
    """Return the Leiden clusters of the neighbour graph at the resolution with the best silhouette."""
    near = kneighbors_graph(embedding, min(15, len(embedding) - 1)).tocoo()
    graph = igraph.Graph(len(embedding), list(zip(near.row.tolist(), near.col.tolist(), strict=True))).simplify()
    igraph.set_random_number_generator(random.Random(0))
    best: tuple[float, np.ndarray] = (-2.0, np.zeros(len(embedding), dtype=int))
    for resolution in RESOLUTIONS:
        found = np.array(graph.community_leiden("modularity", resolution=resolution, n_iterations=-1).membership)
        if 1 < len(set(found)) < len(found):
            best = max(best, (float(silhouette_score(embedding, found)), found), key=lambda pair: pair[0])
    return best[1]


def carried(study: ad.AnnData, data: Path) -> dict[str, dict[str, float]]:
    """Carry labels from all genes and counts to the same cells with fewer of either."""
    label = study.obs["cell_type"].astype(str).to_numpy()
    random_ = np.random.default_rng(0)
    order = random_.permutation(study.n_vars)
    cuts = {
        f"{share:g} genes": study[:, np.sort(order[: int(share * study.n_vars)])].copy() for share in SHARES["genes"]
    }
    for share in SHARES["counts"]:
        counts = sparse.csr_matrix(study.X, dtype=np.float32, copy=True)
        counts.data = random_.binomial(counts.data.astype(int), share).astype(np.float32)
        counts.eliminate_zeros()
        cuts[f"{share:g} counts"] = ad.AnnData(counts, obs=study.obs, var=study.var)
    scores: dict[str, dict[str, float]] = {}
    for method in ("PCA 50", "posterior projection", "zero-shot"):
        embed = embedder(method, data)
        reference = None if method == "PCA 50" else embed(study)
        for cut, query in cuts.items():
            # PCA has no axes of its own for another panel: it is fitted to the genes that both have, on all counts.
            try:
                here, there = both_by_pca(study, query) if reference is None else (reference, embed(query))
            except cq.errors.CelloquyError:
                continue
            found = KNeighborsClassifier(15).fit(here, label).predict(there)
            scores.setdefault(method, {})[cut] = float(f1_score(label, found, average="macro"))
    return scores


def embedder(method: str, data: Path) -> Callable[[ad.AnnData], np.ndarray]:
    """Return the function that embeds cells by a method."""
    if method.startswith("PCA"):
        return lambda cells: own_pca(cells, int(method.split()[1]))
    if method == "scVI":
        return by_scvi
    if method.startswith("genes-mini"):
        return lambda cells: np.asarray(cells.obsm[method])
    if method == "posterior projection":
        return lambda cells: embedded(cells, floor(data), adapt=False)
    if method == "untrained":
        return lambda cells: embedded(cells, untrained(), adapt=False)
    if method == "from scratch":
        return lambda cells: embedded(cells, "scratch", adapt=None)
    return lambda cells: embedded(cells, "cells-mini", adapt=method == "adapted")


def by_scvi(cells: ad.AnnData) -> np.ndarray:
    """Embed by scVI, in the environment of the peers."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "cells.h5ad", Path(folder) / "embedding.npz"
        obs = pd.DataFrame({"batch": "one"}, index=cells.obs_names)
        plain = ad.AnnData(sparse.csr_matrix(cells.X, dtype=np.float32), obs=obs, var=cells.var[[]])
        plain.write_h5ad(file)
        peers.run("integration_peers.py", "scVI", file, out, 0)
        return np.asarray(np.load(out)["embedding"])


@cache
def untrained() -> FactorModel:
    """Return the model in the box with random loadings of the same size, and no other knowledge of factors."""
    model = FactorModel.from_pretrained("cells-mini")
    with torch.no_grad():
        random_ = torch.randn(model.loadings.shape, generator=torch.Generator().manual_seed(0))
        model.loadings.copy_(random_ * model.loadings.square().mean(1, keepdim=True).sqrt())
    return model


def gene_model(method: str) -> cq.GeneModel:
    """Return the gene model in the box, with the embedding that a method names."""
    model = cq.GeneModel.from_pretrained("genes-mini")
    model.config = model.config.replace(pooling="summary" if method.endswith("summary") else "cls")
    return model


def embedded(cells: ad.AnnData, model: cq.Model | str, *, adapt: bool | None) -> np.ndarray:
    """Embed by a model."""
    here = cells.copy()
    cq.embed(here, model=model, adapt=adapt, progress=False)
    return np.asarray(here.obsm["X_celloquy"])


@cache
def floor(data: Path) -> FactorModel:
    """Probabilistic PCA of five human studies, its noise alike for all genes."""
    from make_models import read_studies

    vocabulary, studies = read_studies(data, [f"scrna/{name}" for name in FLOOR])
    model = FactorModel.fit(studies, vocabulary, FactorModelConfig(width=50))
    with torch.no_grad():
        known = model.noise > 0
        model.noise[known] = model.noise[known].mean()
    return model


def own_pca(cells: ad.AnnData, components: int) -> np.ndarray:
    """PCA of log-normalised counts of the most variable genes."""
    plain = logged(cells)
    if plain.n_vars > 2000:
        sc.pp.highly_variable_genes(plain, n_top_genes=2000)
        plain = plain[:, plain.var["highly_variable"]].copy()
    sc.pp.pca(plain, n_comps=min(components, plain.n_obs - 1, plain.n_vars - 1), random_state=0)
    return np.asarray(plain.obsm["X_pca"])


def both_by_pca(study: ad.AnnData, query: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """PCA of the study's cells over the genes of the query, and the query on its axes, each centred on its own mean."""
    here, there = logged(study[:, query.var_names].copy()), logged(query)
    if here.n_vars > 2000:
        sc.pp.highly_variable_genes(here, n_top_genes=2000)
        chosen = here.var["highly_variable"].to_numpy()
        here, there = here[:, chosen].copy(), there[:, chosen].copy()
    sc.pp.pca(here, n_comps=min(50, here.n_obs - 1, here.n_vars - 1), random_state=0)
    values = there.X.toarray()
    return np.asarray(here.obsm["X_pca"]), (values - values.mean(0)) @ here.varm["PCs"]


def logged(cells: ad.AnnData) -> ad.AnnData:
    """Return log-normalised counts."""
    plain = ad.AnnData(sparse.csr_matrix(cells.X, dtype=np.float32), obs=cells.obs[[]], var=cells.var[[]])
    sc.pp.normalize_total(plain, target_sum=1e4)
    sc.pp.log1p(plain)
    return plain


def write(options: argparse.Namespace) -> None:
    """Write the tables of the methods that were measured."""
    methods = options.methods
    rows = [
        {"set": name, "cells": size or "all", "method": method, **json.loads(file.read_text())}
        for name, size, method in product(options.sets, SIZES, methods)
        for file in FOLDER.glob(f"{stem(name)}-{size}-*-{method}.json")
    ]
    found = pd.DataFrame(rows).groupby(["set", "cells", "method"], sort=False).mean().reset_index()
    trained = [method for method in methods if method in TRAINED]
    trained_draws = f"; of {' and '.join(trained)}, {options.trained}" if trained else ""
    body = [f"Means over {options.seeds} draws of each size{trained_draws}."]
    for size in [one or "all" for one in SIZES]:
        part = found[found["cells"] == size]
        means = part.groupby("method")[["F1", "ARI", "NMI"]].mean().reindex(methods)
        lines = [[m, *(f"{means.loc[m, c]:.3f}" for c in ("F1", "ARI", "NMI"))] for m in methods]
        heading = f"**{'All' if size == 'all' else f'{size:,}'} cells**, mean over {part['set'].nunique()} sets"
        body.append(f"{heading}\n\n" + report.table(["", "macro F1", "ARI", "NMI"], lines))
    for metric in ("F1", "ARI"):
        wide = found.pivot_table(metric, ["set", "cells"], "method", sort=False).reindex(columns=methods)
        lines = [
            [f"{name}, {size}", *(f"{value:.3f}" for value in row)]
            for (name, size), row in zip(wide.index, wide.values, strict=True)
        ]
        body.append(
            f"**{'Macro F1' if metric == 'F1' else metric} of each set**\n\n" + report.table(["", *methods], lines)
        )
    cuts: dict[str, dict[str, list[float]]] = {}
    for name in options.sets:
        file = FOLDER / f"{stem(name)}-cut.json"
        if file.exists() and name != "cortex, mouse, STARmap":
            for method, scores in json.loads(file.read_text()).items():
                for cut, value in scores.items():
                    cuts.setdefault(method, {}).setdefault(cut, []).append(value)
    names = list(next(iter(cuts.values())))
    lines = [[method, *(f"{np.mean(values[cut]):.3f}" for cut in names)] for method, values in cuts.items()]
    body.append(
        "**The same cells with a share of their genes or counts**: labels of the full panel, macro F1, mean over the "
        "sets of more than 1,000 genes\n\n" + report.table(["", *names], lines)
    )
    costs = {method: json.loads((FOLDER / f"cost-{method}.json").read_text()) for method in methods}
    lines = [[method, f"{one['seconds']:.1f} s", f"{one['memory']:.2f} GB"] for method, one in costs.items()]
    body.append(
        "**Time and memory**, PBMC 3k, the posterior projection with its fit, memory with that of reading the cells\n\n"
        + report.table(["", "time", "memory"], lines)
    )
    target = peers.HERE / "results" / "zero_shot.md"
    command = (
        f"python benchmarks/quality/zero_shot.py --data FOLDER --seeds {options.seeds} --trained {options.trained}"
    )
    report.write_section(
        "zero_shot",
        "Embedding without training",
        "\n\n".join(body),
        command=command,
        folder=target.parent,
    )


if __name__ == "__main__":
    main()
