"""Denoising against scVI, MAGIC, a DCA-like autoencoder and kNN smoothing.

Usage: python benchmarks/quality/denoising.py [--seeds 5] [--datasets …] [--methods …] [--ablations]

From every cell a tenth of the non-zero counts is removed; every method gets the same corrupted counts and is asked
for the counts of all genes at the depth of each cell. Writes results/denoising.md and its plot.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from typing import Any

import anndata as ad
import expression
import numpy as np
import scanpy as sc

import celloquy as cq

sys.path.insert(0, str(expression.HERE.parent))
import report

DATASETS = {"PBMC 3k": "pbmc3k", "PBMC, IFN-β": "pbmc_ifnb", "breast tumours": "breast_wu"}
PEERS = ("gene means", "scVI", "MAGIC", "DCA-like", "kNN smoothing")
FIGURES = {"rmse": False, "mae": False, "rmse_normalised": False, "mae_normalised": False, "pearson": True}
GENES = 2000

ABLATIONS: dict[str, dict[str, Any]] = {
    "mixture latent": {"latent": "mixture"},
    "no latent": {"latent": "none"},
    "no attention": {"attention": "none"},
    "no masks": {"mask_cells": 0.0},
    "1 cell per context": {},
    "64 cells per context": {},
}
ABLATIONS_SHOW = (
    "With one seed: masks are what the denoising rests on, without them the RMSE is three in a hundred higher. No "
    "other part moves it by one in a hundred, and how many cells are read together does not matter."
)
CONTEXT = {"1 cell per context": 1, "64 cells per context": 64}


def main() -> None:
    """Measure what is missing, then write the table and the plot."""
    options = expression.options(__doc__, list(DATASETS))
    runs = expression.Runs("denoising", options.threads, keep=options.keep)
    adatas = {dataset: read(options.data / "scrna" / f"{DATASETS[dataset]}.h5ad") for dataset in options.datasets}
    # Seed by seed, so that an interrupted benchmark has as many of every data set.
    for seed, dataset in product(range(options.seeds), adatas):
        task = cq.evaluate.hold_out_counts(adatas[dataset], 0.1, seed)
        for method in options.methods or (expression.OURS, *PEERS):
            key = {"data": dataset, "method": method, "seed": seed}
            if method == expression.OURS:
                runs.once(key, lambda task=task, seed=seed: ours(task, seed))
            else:
                runs.once(key, lambda m=method, task=task, seed=seed: peer(runs, m, task, seed))
        if options.ablations and dataset == options.datasets[0] and seed < 2:
            for name in ABLATIONS:
                key = {"data": f"{dataset}, ablations", "method": f"{expression.OURS}, {name}", "seed": seed}
                runs.once(key, lambda n=name, task=task, seed=seed: ours(task, seed, n))
    write(runs)


def read(file: Any) -> ad.AnnData:
    """The most variable genes, raw counts: what all methods are given."""
    adata = ad.read_h5ad(file)
    plain = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs[[]], var=adata.var[[]])
    sc.pp.filter_genes(plain, min_cells=5)
    logged = plain.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=GENES)
    chosen = plain[:, logged.var["highly_variable"].to_numpy()]
    return chosen[np.asarray(chosen.X.sum(axis=1)).ravel() > 0].copy()


def ours(task: cq.evaluate.HeldOutCounts, seed: int, ablation: str | None = None) -> dict[str, float]:
    """Our figures, at the defaults or with one part of the model switched off."""
    config = cq.CellModelConfig(**ABLATIONS[ablation]) if ablation else "mini"
    adata = task.adata.copy()
    if ablation in CONTEXT:
        adata.obs["context"] = (np.random.default_rng(seed).permutation(adata.n_obs) // CONTEXT[ablation]).astype(str)
    began = time.perf_counter()
    cq.denoise(
        adata, config=config, tissue_key="context" if ablation in CONTEXT else None, seed=seed, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return task.score(adata.layers["celloquy_denoised"]) | {"seconds": seconds}


def peer(runs: expression.Runs, method: str, task: cq.evaluate.HeldOutCounts, seed: int) -> dict[str, float]:
    """A peer's figures."""
    values, seconds = runs.peer(method, expression.as_arrays("counts", task.adata.X), seed)
    return task.score(values) | {"seconds": seconds}


def write(runs: expression.Runs) -> None:
    """Write the table and the plot of all that was measured."""
    frame = runs.frame()
    parts = []
    for dataset in [*DATASETS, *(f"{name}, ablations" for name in DATASETS)]:
        chosen = frame[frame["data"] == dataset]
        wanted = () if dataset.endswith("ablations") else (expression.OURS, *PEERS)
        if dataset.endswith("ablations") and len(chosen):
            whole = frame[(frame["data"] == dataset.removesuffix(", ablations")) & (frame["method"] == expression.OURS)]
            chosen = expression.pd.concat([whole[whole["seed"].isin(chosen["seed"])], chosen])
        if len(chosen):
            shown = "" if wanted else f"\n\n{ABLATIONS_SHOW}"
            parts.append(f"### {dataset}\n\n{expression.table(chosen, FIGURES, wanted)}{shown}")
    expression.plot(
        frame[frame["data"].isin(DATASETS)], {"rmse": False, "mae": False}, expression.RESULTS / "denoising.png"
    )
    note = (
        f"The {GENES:,} most variable genes; 10 % of each cell's non-zero counts removed, low ones more often; "
        "`rmse`, `mae` and `pearson` of log1p of the removed counts, predicted at the cell's depth; `normalised`: "
        "after scaling every cell to 10,000 counts. Mean ± standard deviation over seeds, each a removal and a "
        "training of its own; peers on one or two threads, ours on two, at times beside other work: seconds are rough."
    )
    report.write_section(
        "denoising",
        "Denoising",
        "\n\n".join([note, *parts, "![RMSE and MAE](results/denoising.png)"]),
        command="python benchmarks/quality/denoising.py --ablations",
        folder=expression.RESULTS,
    )


if __name__ == "__main__":
    main()
