"""Spatial imputation against Tangram, gimVI, SpaGE and kNN.

Usage: python benchmarks/quality/imputation.py [--seeds 5] [--datasets …] [--methods …] [--ablations]

The genes that panel and reference share are split into as many parts as there are seeds; each seed hides one part, so
that every gene is imputed once. Writes results/imputation.md and its plot.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import anndata as ad
import expression
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import celloquy as cq
from celloquy.evaluate.spatial import shared_genes

sys.path.insert(0, str(expression.HERE.parent))
import report

DATASETS: dict[str, dict[str, Any]] = {
    "lymph node Visium": {"spatial": "lymph_node_visium", "reference": "lymph_node_ref", "tissue_key": None},
    "STARmap mPFC": {"spatial": "starmap_mpfc", "reference": "interneuron_zeisel", "tissue_key": "slice"},
}
PEERS = ("kNN", "SpaGE", "Tangram", "gimVI")
FIGURES = {"pearson": True, "cosine": True, "pearson_counts": True, "cosine_counts": True}

ABLATIONS: dict[str, dict[str, Any]] = {
    "mixture latent": {"latent": "mixture"},
    "no latent": {"latent": "none"},
    "no attention": {"attention": "none"},
    "no positions": {},
    "positions in the encoder": {"positions": True},
    "no masks": {"mask_cells": 0.0},
}
ABLATION_SEEDS = 2
ABLATIONS_SHOW = (
    "With two seeds: positions help a little where only the result is averaged over neighbours, and halve the "
    "correlation where the encoder reads them, too. The other parts differ by less than the seeds do; the cosine "
    "hardly moves at all."
)


def main() -> None:
    """Measure what is missing, then write the table and the plot."""
    options = expression.options(__doc__, list(DATASETS))
    if options.seeds < 2:
        raise SystemExit("--seeds must be at least 2: with one, all genes of the panel would be hidden.")
    runs = expression.Runs("imputation", options.threads, keep=options.keep)
    pairs = {dataset: read(dataset, options.data, options.seeds) for dataset in options.datasets}
    # Seed by seed, so that an interrupted benchmark has as many of every data set.
    for seed, dataset in product(range(options.seeds), pairs):
        spatial, reference, hidden = pairs[dataset]
        tissue_key = DATASETS[dataset]["tissue_key"]
        task = cq.evaluate.hold_out_genes(spatial, reference, hidden[seed])
        for method in options.methods or (expression.OURS, *PEERS):
            key = {"data": dataset, "method": method, "seed": seed}
            if method == expression.OURS:
                runs.once(key, lambda t=task, s=seed, k=tissue_key: ours(t, s, k))
            else:
                runs.once(key, lambda m=method, t=task, s=seed: peer(runs, m, t, s))
        if options.ablations and dataset == options.datasets[0] and seed < ABLATION_SEEDS:
            for name in ABLATIONS:
                key = {"data": f"{dataset}, ablations", "method": f"{expression.OURS}, {name}", "seed": seed}
                runs.once(key, lambda n=name, t=task, s=seed, k=tissue_key: ours(t, s, k, n))
    write(runs)


def read(dataset: str, folder: Path, seeds: int) -> tuple[ad.AnnData, ad.AnnData, list[list[str]]]:
    """A panel, its reference, and the genes that each seed hides."""
    spatial = ad.read_h5ad(folder / "spatial" / f"{DATASETS[dataset]['spatial']}.h5ad")
    reference = ad.read_h5ad(folder / "scrna" / f"{DATASETS[dataset]['reference']}.h5ad")
    spatial.X, reference.X = spatial.X.astype(np.float32), reference.X.astype(np.float32)
    shared = np.array(shared_genes(spatial.var_names, reference.var_names))
    part = np.random.default_rng(0).permutation(len(shared)) % seeds
    return spatial, reference, [shared[part == seed].tolist() for seed in range(seeds)]


def ours(
    task: cq.evaluate.HeldOutGenes, seed: int, tissue_key: str | None, ablation: str | None = None
) -> dict[str, float]:
    """Our figures, and the rank correlation of predicted reliability with what came out."""
    config = cq.CellModelConfig(**({"positions": False} | ABLATIONS[ablation])) if ablation else "mini"
    began = time.perf_counter()
    result = cq.impute(
        task.spatial, reference=task.reference, genes=task.genes, tissue_key=tissue_key, config=config, seed=seed,
        spatial_key=None if ablation == "no positions" else "spatial", progress=False, copy=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    figures = task.score(cq.get(result, "celloquy_imputed"))
    reliability = result.uns[cq.keys.PROVENANCE][cq.keys.IMPUTED]["reliability"]
    predicted = pd.Series(reliability["predicted"], index=reliability["gene"])[figures.index]
    return averages(figures) | {
        "seconds": seconds, "reliability": float(spearmanr(predicted, figures["pearson"]).statistic)
    }  # fmt: skip


def peer(runs: expression.Runs, method: str, task: cq.evaluate.HeldOutGenes, seed: int) -> dict[str, float]:
    """A peer's figures."""
    names = shared_genes(task.spatial.var_names, task.reference.var_names)
    partner = dict(zip(cq.identify_genes(task.reference.var_names).ids, task.reference.var_names, strict=True))
    partner |= {name: name for name in task.reference.var_names}

    def of_reference(genes: list[str]) -> Any:
        ids = cq.identify_genes(genes).ids
        columns = [gene if gene in partner else partner[one] for gene, one in zip(genes, ids, strict=True)]
        return task.reference[:, [partner[column] for column in columns]].X

    arrays = expression.as_arrays("spatial", task.spatial[:, names].X)
    arrays |= expression.as_arrays("reference", of_reference(names))
    arrays |= expression.as_arrays("wanted", of_reference(task.genes))
    values, seconds = runs.peer(method, arrays, seed)
    imputed = pd.DataFrame(values, index=task.spatial.obs_names, columns=task.genes)
    return averages(task.score(imputed)) | {"seconds": seconds}


def averages(figures: pd.DataFrame) -> dict[str, float]:
    """Means over genes."""
    return {name: float(value) for name, value in figures.mean().items()} | {"genes": float(len(figures))}


def in_words(run: pd.Series) -> str:
    """The figures of one run."""
    return ", ".join(f"{name} {run[name]:.3f}" for name in FIGURES)


def write(runs: expression.Runs) -> None:
    """Write the table and the plot of all that was measured."""
    frame = runs.frame()
    parts = []
    for dataset in [*DATASETS, *(f"{name}, ablations" for name in DATASETS)]:
        chosen, ablated = frame[frame["data"] == dataset], dataset not in DATASETS
        if ablated and len(chosen):
            whole = frame[(frame["data"] == dataset.removesuffix(", ablations")) & (frame["method"] == expression.OURS)]
            chosen = pd.concat([whole[whole["seed"].isin(chosen["seed"])], chosen])
        if not len(chosen):
            continue
        # Seeds hide different genes, so only those that every method has been measured on compare. A method that was
        # measured on one seed alone, where others were on more, would leave nothing else of these.
        seeds = chosen.groupby("method")["seed"].nunique()
        once = chosen[chosen["method"].isin(seeds.index[(seeds == 1) & (seeds.max() > 2)])]
        wanted = {expression.OURS, *PEERS} - set(once["method"]) if not ablated else ()
        chosen = chosen.drop(once.index)
        complete = chosen.groupby("seed")["method"].nunique() == chosen["method"].nunique()
        chosen = chosen[chosen["seed"].map(complete)]
        if not len(chosen):
            continue
        text = f"### {dataset}\n\n{expression.table(chosen, FIGURES, wanted)}"
        for _, run in once.iterrows():
            same = chosen[(chosen["seed"] == run["seed"]) & (chosen["method"] == expression.OURS)]
            text += f"\n\n{run['method']}, seed {run['seed']} alone: {in_words(run)}"
            text += f"; {expression.OURS} there: {in_words(same.iloc[0])}." if len(same) else "."
        ours_only = chosen[chosen["method"] == expression.OURS]
        if ablated:
            text += f"\n\n{ABLATIONS_SHOW}"
        elif len(ours_only):
            text += (
                f"\n\n{int(ours_only['genes'].sum())} genes, each hidden once. Predicted reliability against the "
                f"correlation that came out: mean Spearman {ours_only['reliability'].mean():.2f}."
            )
        parts.append(text)
    expression.plot(
        frame[frame["data"].isin(DATASETS)], {"pearson": True, "cosine": True}, expression.RESULTS / "imputation.png"
    )
    note = (
        "Pearson correlation and cosine per hidden gene over all cells, averaged over genes; `pearson` and `cosine` of "
        "log-normalised expression, `counts`: of counts at each cell's depth. Each seed hides another fifth of the "
        "genes that panel and reference share, and only seeds that all methods have been measured on count; mean ± "
        "standard deviation over seeds. Peers on one or two threads, ours on two, at times beside other work: seconds "
        "are rough."
    )
    report.write_section(
        "imputation",
        "Spatial imputation",
        "\n\n".join([note, *parts, "![Pearson and cosine](results/imputation.png)"]),
        command="python benchmarks/quality/imputation.py --ablations",
        folder=expression.RESULTS,
    )


if __name__ == "__main__":
    main()
