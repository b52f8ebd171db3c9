"""Whole calls on small data: seconds and processor time, from the call to its result.

Usage: python benchmarks/calls.py --data FOLDER [--runs 5] [--calls NAME …] [--beside 0 1] [--resume]

Every run is a process of its own; only the call is timed, the imports before it are not. Calls go round in turns. With
--beside 1 each is timed again beside another process that keeps one core busy, as on a laptop in use. What is measured
is kept: --resume goes on with what earlier runs of the same code have measured. Writes the section "Whole calls".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from peer_bench import CACHE
from report import fingerprint, table, write_section
from scipy import sparse

import celloquy as cq

KEPT = CACHE / "calls.json"
BUSY = "while True: pass"
QUIET = {"progress": False, "device": "cpu"}


def main() -> None:
    """Time every call, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--calls", nargs="+", default=list(CALLS))
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1], help="numbers of busy processes beside")
    parser.add_argument("--resume", action="store_true", help="go on with what earlier runs have measured")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(timed(CALLS[options.one](options.data / "scrna"))))
        return
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(KEPT.read_text()) if options.resume and KEPT.is_file() else {}
    code = fingerprint(Path(cq.__file__).parent.glob("**/*.py"))
    rows = kept.get("rows", []) if kept.get("code") == code else []
    for number, name, beside in product(range(options.runs), options.calls, options.beside):
        if sum(row["call"] == name and row["beside"] == beside for row in rows) > number:
            continue
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(beside)]
        try:
            command = [sys.executable, __file__, "--data", str(options.data), "--one", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            for one in busy:
                one.kill()
                one.wait()
        rows.append({"call": name, "beside": beside, **json.loads(done.stdout.splitlines()[-1])})
        KEPT.write_text(json.dumps({"code": code, "rows": rows}))
        print(rows[-1], file=sys.stderr, flush=True)
    report(pd.DataFrame(rows))


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Seconds and processor seconds of a call."""
    warnings.filterwarnings("ignore")
    cq.embed(cells_of(64, 32, 2), model="cells-mini", adapt=False, **QUIET)  # imports, before the clock starts
    began, worked = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - began, "processor": time.process_time() - worked}


def cells_of(cells: int, genes: int, types: int) -> ad.AnnData:
    """Cells of some types, each with genes of its own, and two batches."""
    random = np.random.default_rng(0)
    ids = sorted(cq.genes.transcription_factors("human"))[:genes]
    means = random.gamma(0.5, 2, size=(types, genes))
    kind = random.integers(0, types, cells)
    adata = ad.AnnData(sparse.csr_matrix(random.poisson(means[kind]).astype(np.float32)))
    adata.var_names = ids
    adata.obs["cell_type"] = pd.Categorical([f"type {one}" for one in kind])
    adata.obs["batch"] = pd.Categorical([f"batch {one % 2}" for one in range(cells)])
    return adata


def split(adata: ad.AnnData, cells: int) -> tuple[ad.AnnData, ad.AnnData]:
    """So many cells by lot, and the others."""
    order = np.random.default_rng(0).permutation(adata.n_obs)
    return adata[np.sort(order[:cells])].copy(), adata[np.sort(order[cells:])].copy()


def pretrain(folder: Path) -> Callable[[], object]:
    adata = ad.read_h5ad(folder / "pbmc3k.h5ad")
    return lambda: cq.pretrain(adata, config="mini", **QUIET)


def annotate(folder: Path) -> Callable[[], object]:
    query, reference = split(ad.read_h5ad(folder / "pbmc3k.h5ad"), 1000)
    return lambda: cq.annotate(query, reference=reference, label_key="cell_type", **QUIET)


def annotate_panel(_: Path) -> Callable[[], object]:
    query, reference = split(cells_of(7000, 33, 31), 3500)
    return lambda: cq.annotate(query, reference=reference, label_key="cell_type", **QUIET)


def denoise(folder: Path) -> Callable[[], object]:
    adata = ad.read_h5ad(folder / "pbmc3k.h5ad")
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=2000)
    few = adata[:, logged.var["highly_variable"].to_numpy()].copy()
    return lambda: cq.denoise(few, config="mini", **QUIET)


def impute(folder: Path) -> Callable[[], object]:
    spatial = ad.read_h5ad(folder.parent / "spatial" / "starmap_mpfc.h5ad")
    reference = ad.read_h5ad(folder / "interneuron_zeisel.h5ad")
    hidden = spatial.var_names.intersection(reference.var_names)[::5]
    panel = spatial[:, ~spatial.var_names.isin(hidden)].copy()
    return lambda: cq.impute(panel, reference=reference, genes=list(hidden), tissue_key="slice", **QUIET)


def integrate(folder: Path) -> Callable[[], object]:
    adata = ad.read_h5ad(folder / "pbmc_ifnb.h5ad")
    return lambda: cq.integrate(adata, batch_key="condition", **QUIET)


def integrate_few(_: Path) -> Callable[[], object]:
    adata = cells_of(600, 1400, 6)
    return lambda: cq.integrate(adata, batch_key="batch", **QUIET)


CALLS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "pretrain `mini` on PBMC 3k": pretrain,
    "annotate 1,000 cells of PBMC 3k by the others": annotate,
    "annotate 3,500 cells × 33 genes by 3,500 of 31 types": annotate_panel,
    "denoise PBMC 3k, 2,000 genes": denoise,
    "impute STARmap cortex": impute,
    "integrate PBMC with and without IFN-β": integrate,
    "integrate 600 cells": integrate_few,
}


def report(rows: pd.DataFrame) -> None:
    """Write medians and ranges."""

    def shown(values: pd.Series) -> str:
        return f"{values.median():.1f} [{values.min():.1f}–{values.max():.1f}]" if len(values) else "–"

    lines = []
    for name, own in rows.groupby("call", sort=False):
        quiet, beside = (own[own["beside"] == one] for one in (0, 1))
        slower = beside["seconds"].median() / quiet["seconds"].median()
        lines.append(
            [name, f"{len(quiet)}, {len(beside)}", shown(quiet["seconds"]), shown(quiet["processor"]),
             shown(beside["seconds"]), f"{slower:.1f}×" if np.isfinite(slower) else "–"]
        )  # fmt: skip
    body = f"""Medians of runs in turns, range in brackets; every run is a process of its own, without imports.

{table(["call", "runs, beside", "seconds", "processor seconds", "beside a busy process", "slower"], lines)}"""
    write_section("26-calls", "Whole calls", body, command="python benchmarks/calls.py --data FOLDER")


if __name__ == "__main__":
    main()
