"""Trained peers on a cell type that was never stimulated: results/25-peers.md.

Usage: python benchmarks/responses/peers.py --data FOLDER --peer scgen=PYTHON [--types 4] [--genes 1000]

PYTHON is that of an environment of the peer (scgen or cpa); what it needs is said in NAME_worker.py. Cells, genes and
truth are those of in_context.py: IFN-β stimulated blood, of which the stimulated cells of one type are hidden in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
from in_context import arithmetic, hidden, logs, variable
from scipy import sparse

import celloquy as cq
from celloquy.evaluate import score_responses

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

SCORES = ("pearson", "l2", "mae", "overlap", "discrimination")
NAMES = {"scgen": "scGen", "cpa": "CPA"}


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer", action="append", default=[], help="name=PYTHON, for NAME_worker.py")
    parser.add_argument("--types", type=int, default=4, help="cell types, the largest, that are left out in turn")
    parser.add_argument("--genes", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    peers = dict(one.split("=", 1) for one in options.peer)
    blood = variable(ad.read_h5ad(options.data / "perturb/pbmc_ifnb_labelled.h5ad"), options.genes)
    types = blood.obs["cell_type"].astype(str).value_counts().index[: options.types]
    told: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, list[float]] = {}
    truth, level = [], []
    for name in types:
        own, stimulated = hidden(blood, name)
        train = blood[~(own & stimulated)].copy()
        began = time.perf_counter()
        predictor = cq.ResponsePredictor(
            perturbation_key="condition", control="CTRL", covariate_key="cell_type", progress=False
        ).fit(train)
        change = np.asarray(predictor.predict("STIM", contexts=name).layers["change"], dtype=np.float64)[0]
        seconds.setdefault("ours", []).append(time.perf_counter() - began)
        logged = logs(blood, predictor.profiles_.depth)
        control = logged[own & ~stimulated].mean(0)
        changes = {"no change": np.zeros(blood.n_vars), "ours": change}
        changes["arithmetic of components"] = arithmetic(logged, own, stimulated)
        for peer, python in peers.items():
            began = time.perf_counter()
            cells = ad.AnnData(sparse.csr_matrix(logged[~(own & stimulated)].astype(np.float32)), obs=train.obs)
            cells.layers["counts"], cells.uns["depth"] = train.X, predictor.profiles_.depth
            changes[NAMES[peer]] = trained(peer, python, cells, name) - control
            seconds.setdefault(NAMES[peer], []).append(time.perf_counter() - began)
        for way, one in changes.items():
            told.setdefault(way, []).append(one)
        truth.append(logged[own & stimulated].mean(0) - control)
        level.append(control)
        print(name, {way: round(float(np.corrcoef(one, truth[-1])[0, 1]), 3) for way, one in changes.items()},
              {way: round(times[-1]) for way, times in seconds.items()}, flush=True)  # fmt: skip
    rows = []
    for way, some in told.items():
        scores = score_responses(np.stack(some), np.stack(truth), np.stack(level))
        rows.append([way, *(f"{scores[one].mean():.3f}" for one in SCORES), f"{scores['pearson'].sem():.3f}"])
    body = f"""{report.table(["way", *SCORES, "error of pearson"], rows)}

Means over {len(types)} cell types that were left out in turn, {options.genes:,} variable genes, one seed. {PEERS}"""
    given = " ".join(f"--peer {one}=PYTHON" for one in peers)
    report.write_section(
        "25-peers", "Trained peers", body,
        command=f"python benchmarks/responses/peers.py --data FOLDER {given}",
        folder=Path(__file__).parent / "results",
    )  # fmt: skip


def trained(peer: str, python: str, cells: ad.AnnData, name: str) -> np.ndarray:
    """Return the mean expression that a peer predicts of stimulated cells of a type."""
    for column in cells.obs:
        cells.obs[column] = cells.obs[column].astype(str)
    with TemporaryDirectory() as folder:
        cells.obs_names_make_unique()
        cells.write_h5ad(Path(folder) / "train.h5ad")
        (Path(folder) / "asked.txt").write_text(name)
        worker = Path(__file__).with_name(f"{peer}_worker.py")
        subprocess.run(
            [python, "-W", "ignore", worker, folder], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return np.asarray(np.load(Path(folder) / "predicted.npz")["mean"])


PEERS = """scGen learns 30 epochs of the 100 of its tutorial.

- CPA (`cpa-tools` 0.8.8, by `--types 1 --peer cpa=PYTHON`) was trained for the largest type alone, CD14 Mono, 100
  epochs of 2,000 at most: a correlation of .712, where scGen has .874 and ours .932. What it predicts are means of
  counts, whose logarithm lies above the mean of logarithms; nothing corrects that here.
- STATE (`arc-state` 0.11.1) installs and trains, but its small configuration (`state_sm`, 54.5 million weights) takes
  about 6 seconds of one core for each of its 400,000 default steps: a month for each type. It was not measured.
"""


if __name__ == "__main__":
    main()
