"""Cells as tokens: control cells read in the company of perturbed cells of other types: results/20-in-context.md.

Usage: python benchmarks/responses/in_context.py --data FOLDER [--types 4] [--genes 1000]

A cell model learns the cells of IFN-β stimulated blood, each condition a tissue, without the stimulated cells of one
type. Then the controls of that type are read twice: among other controls, and among stimulated cells of other types;
what the model fills in differs by what the company says. The change is the difference of the two, beside the blend of
`cq.ResponsePredictor` and the vector arithmetic of scGen (Lotfollahi et al. 2019) in principal components.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq
from celloquy.evaluate import score_responses

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

COMPONENTS = 50


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--types", type=int, default=4, help="cell types, the largest, that are left out in turn")
    parser.add_argument("--genes", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    blood = variable(ad.read_h5ad(options.data / "perturb/pbmc_ifnb_labelled.h5ad"), options.genes)
    types = blood.obs["cell_type"].astype(str).value_counts().index[: options.types]
    told: dict[str, list[np.ndarray]] = {}
    truth, level = [], []
    for name in types:
        changes, true, control = predicted(blood, name)
        for way, change in changes.items():
            told.setdefault(way, []).append(change)
        truth.append(true)
        level.append(control)
        print(name, {way: round(float(np.corrcoef(one, true)[0, 1]), 3) for way, one in changes.items()}, flush=True)
    rows = []
    for way, changes in told.items():
        scores = score_responses(np.stack(changes), np.stack(truth), np.stack(level)).mean()
        rows.append([way, *(f"{scores[one]:.3f}" for one in ("pearson", "l2", "mae", "overlap", "discrimination"))])
    body = f"""{report.table(["way", "pearson", "l2", "mae", "overlap", "discrimination"], rows)}

Means over {len(types)} cell types that were left out in turn, {options.genes:,} variable genes, one seed."""
    report.write_section(
        "20-in-context", "Cells as tokens: perturbed company", body,
        command="python benchmarks/responses/in_context.py --data FOLDER", folder=Path(__file__).parent / "results",
    )  # fmt: skip


def variable(blood: ad.AnnData, genes: int) -> ad.AnnData:
    """Return the cells with their most variable genes alone."""
    spread = logs(blood, np.median(np.asarray(blood.X.sum(1)))).var(0)
    blood = blood[:, np.sort(np.argsort(-spread)[:genes])].copy()
    return blood[np.asarray(blood.X.sum(1)).ravel() > 0].copy()


def hidden(blood: ad.AnnData, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which cells are of a type, and which are stimulated; those that are both are hidden."""
    own = (blood.obs["cell_type"].astype(str) == name).to_numpy()
    return own, (blood.obs["condition"].astype(str) == "STIM").to_numpy()


def predicted(blood: ad.AnnData, name: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the changes that each way tells of a cell type, the true one, and the level of its controls."""
    own, stimulated = hidden(blood, name)
    train = blood[~(own & stimulated)].copy()
    predictor = cq.ResponsePredictor(
        perturbation_key="condition", control="CTRL", covariate_key="cell_type", progress=False
    )  # fmt: skip
    depth = predictor.fit(train).profiles_.depth
    changes = {"no change": np.zeros(blood.n_vars)}
    told = predictor.predict("STIM", contexts=name)
    changes["ours"] = np.asarray(told.layers["change"], dtype=np.float64)[0]
    logged = logs(blood, depth)
    changes["arithmetic of components"] = arithmetic(logged, own, stimulated)
    changes["perturbed company"] = company(train, blood[own & ~stimulated], depth)
    control = logged[own & ~stimulated].mean(0)
    return changes, logged[own & stimulated].mean(0) - control, control


def logs(adata: ad.AnnData, depth: float) -> np.ndarray:
    """Return logarithms of counts at one depth."""
    counts = np.asarray(adata.X.todense(), dtype=np.float64)
    return np.log1p(counts * depth / counts.sum(1, keepdims=True).clip(1))


def arithmetic(logged: np.ndarray, own: np.ndarray, stimulated: np.ndarray) -> np.ndarray:
    """Return the mean difference of the other types in principal components, turned back into genes."""
    train = ~(own & stimulated)
    mean = logged[train].mean(0)
    _, _, axes = np.linalg.svd(logged[train] - mean, full_matrices=False)
    axes = axes[:COMPONENTS]
    others = ~own
    step = (logged[others & stimulated].mean(0) - logged[others & ~stimulated].mean(0)) @ axes.T
    return np.asarray(step @ axes)


def company(train: ad.AnnData, controls: ad.AnnData, depth: float) -> np.ndarray:
    """Return the difference of what a model fills in of controls among perturbed cells and among controls."""
    denoiser = cq.Denoiser(tissue_key="condition", n_neighbors=1, progress=False).fit(train)
    means = []
    others = train[train.obs["cell_type"].astype(str) != str(controls.obs["cell_type"].iloc[0])]
    for condition in ("STIM", "CTRL"):
        around = others[others.obs["condition"].astype(str) == condition]
        moved = controls.copy()
        moved.obs["condition"] = condition
        moved.obs_names = [f"moved {one}" for one in moved.obs_names]
        both = ad.concat([around, moved])
        both.obs["condition"] = pd.Categorical(both.obs["condition"].astype(str))
        denoiser.predict(both)
        filled = np.asarray(both.layers[cq.keys.DENOISED], dtype=np.float64)[around.n_obs :]
        means.append(np.log1p(filled * depth / filled.sum(1, keepdims=True).clip(1e-9)).mean(0))
    return means[0] - means[1]


if __name__ == "__main__":
    main()
