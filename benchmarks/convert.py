"""Conversion between Seurat and AnnData beside the ways of zellkonverter, sceasy and anndataR.

Usage: make bench-convert, or python benchmarks/convert.py [--resume] [--runs 5] [--cells 20000] [--routes NAME …]

Every measurement is a process of its own (convert.R), and the tools take turns, so that a change of the machine's mood
meets all of them. What is measured is kept: --resume goes on where a run with the same settings and code stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import report
import scipy.sparse as sp

CHECKOUT = Path(__file__).resolve().parents[1]
# Below the checkout, as the R system sees that and not the user's cache.
FOLDER = CHECKOUT / "build" / "convert"
ROUTES = ("Seurat to AnnData", "AnnData to Seurat", "Seurat to h5ad", "h5ad to Seurat")
TOOLS = ("celloquy", "zellkonverter", "sceasy", "anndataR")
GENES, GENES_A_CELL = 20_000, 2_000
# The reach of the project.
FASTER, EXTRA_COPIES = 6, 1
# A double and the number of its row: what a non-zero takes in a dgCMatrix.
BYTES_A_NONZERO = 12

Run = dict[str, Any]


def main() -> None:
    """Measure, and write the section of RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume", action="store_true", help="go on with what an interrupted run has measured")
    parser.add_argument("--runs", type=int, default=5, help="runs of each tool on each route")
    parser.add_argument("--cells", type=int, default=20_000, help="cells, of 2,000 non-zeros each")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES)
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the section of the report goes")
    options = parser.parse_args()

    totals = make_input(options.cells)
    runs = measure(options, totals)
    report.write_section(
        "60-convert",
        "Between Seurat and AnnData",
        "\n\n".join([setting(options, totals), *(section(runs, route, totals) for route in ROUTES if runs[route])]),
        command="make bench-convert",
        folder=options.out,
    )


def make_input(cells: int) -> tuple[int, float]:
    """Write the cells for Python and for R, if they are not there; return the number and the sum of the non-zeros."""
    for size, count in (("small", 50), ("large", cells)):
        file = FOLDER / size / "cells.h5ad"
        if not file.is_file() or ad.read_h5ad(file, backed="r").n_obs != count:
            say(f"Making {count:,} cells")
            file.parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / "made").unlink(missing_ok=True)
            make_cells(count, np.random.default_rng(0)).write_h5ad(file)
    if not (FOLDER / "made").is_file():
        in_r("make", str(FOLDER))
        (FOLDER / "made").touch()
    counts = ad.read_h5ad(FOLDER / "large" / "cells.h5ad").X
    return counts.nnz, float(counts.sum(dtype=np.float64))


def make_cells(cells: int, rng: np.random.Generator) -> ad.AnnData:
    """Small counts with Zipf-like gene frequencies: every cell has as many genes, drawn without replacement."""
    weight = -np.log(rng.permutation(np.arange(1, GENES + 1)) + 50)
    indices = np.empty((cells, GENES_A_CELL), dtype=np.int32)
    for row in range(cells):
        # The largest of weights with Gumbel noise are a draw without replacement.
        keys = weight + rng.gumbel(size=GENES)
        indices[row] = np.sort(np.argpartition(keys, -GENES_A_CELL)[-GENES_A_CELL:])
    values = rng.geometric(0.45, size=indices.size).astype(np.float32)
    indptr = np.arange(cells + 1, dtype=np.int32) * GENES_A_CELL
    adata = ad.AnnData(sp.csr_matrix((values, indices.ravel(), indptr), shape=(cells, GENES)))
    adata.obs_names = [f"cell-{number}" for number in range(cells)]
    adata.var_names = [f"gene-{number}" for number in range(GENES)]
    return adata


def measure(options: argparse.Namespace, totals: tuple[int, float]) -> dict[str, dict[str, list[Run]]]:
    """Run the tools in turns; returns the runs of each tool on each route."""
    file = FOLDER / "measured.json"
    code = [*CHECKOUT.glob("R/*.R"), *CHECKOUT.glob("python/celloquy/bridge/*.py"), CHECKOUT / "benchmarks/convert.R"]
    digest = report.fingerprint(code)
    settings = {"cells": options.cells, "code": digest}
    kept = json.loads(file.read_text()) if options.resume and file.is_file() else {}
    measured = kept.get("measured", {}) if kept.get("settings") == settings else {}
    library = FOLDER / "library"
    library.mkdir(exist_ok=True)
    run_r("R", "CMD", "INSTALL", "--no-docs", f"--library={library}", str(CHECKOUT))
    for number in range(options.runs):
        for route in options.routes:
            for tool in TOOLS:
                key = f"{route} / {tool} / {number}"
                if key in measured:
                    continue
                measured[key] = in_r(route, tool, str(FOLDER), library=library)
                found = (measured[key]["nonzeros"], measured[key]["sum"])
                if found != totals:
                    raise SystemExit(f"{key}: {found} are not the {totals} of the input")
                say(f"{key}: {measured[key]['seconds']:.2f} s, {measured[key]['peak'] / 1e9:.2f} GB")
                file.write_text(json.dumps({"settings": settings, "measured": measured}, indent=1))
    return {
        route: {
            tool: [run for key, run in measured.items() if key.startswith(f"{route} / {tool} / ")]
            for tool in TOOLS
            if f"{route} / {tool} / 0" in measured
        }
        for route in ROUTES
    }


def in_r(*arguments: str, library: Path | None = None) -> Run:
    """Run convert.R and return what it measured."""
    printed = run_r("Rscript", "--vanilla", "benchmarks/convert.R", *arguments, library=library)
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def run_r(*command: str, library: Path | None = None) -> str:
    """Run a command where R is; returns what it printed."""
    place = [f"R_LIBS={library}"] if library else []
    done = subprocess.run(
        ["scripts/r", "env", *place, f"OMP_NUM_THREADS={report.cores()}", *command],
        cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def setting(options: argparse.Namespace, totals: tuple[int, float]) -> str:
    """Say what was measured, and how."""
    versions = run_r(
        "Rscript", "-e",
        "for (p in c('Seurat', 'SeuratObject', 'Matrix', 'reticulate', 'rhdf5')) cat(p, format(packageVersion(p)), '')",
    ).strip()  # fmt: skip
    nonzeros, size = totals[0] / 1e6, totals[0] * BYTES_A_NONZERO / 1e9
    return f"""- **Cells**: {options.cells:,} synthetic cells × {GENES:,} genes, {GENES_A_CELL:,} non-zeros a cell with
  Zipf-like gene frequencies: {nonzeros:.0f} M non-zeros, {size:.2f} GB as a dgCMatrix. In R an Assay5 of counts, in
  Python float32 CSR, as h5ad uncompressed.
- **Runs**: every run a process of its own that converts 50 cells, then all cells three times, of which the
  median counts; the tools in turns. Medians of {options.runs}; the range in brackets. Memory is the peak of the
  process above what it held with the input loaded, also in copies of the dgCMatrix: one is the result.
- **The others**: their packages can't be had from Debian, so `benchmarks/convert.R` takes the steps that each takes on
  the matrix, in its own order and through the same libraries, and leaves out what they do beside. zellkonverter starts
  from, and ends at, a SingleCellExperiment; sceasy always compresses what it writes.
- **Checked** in every run: the number of non-zeros and their sum.
- **Versions**: {versions}, anndata {version("anndata")}."""


def section(runs: dict[str, dict[str, list[Run]]], route: str, totals: tuple[int, float]) -> str:
    """One table: how long and with how much memory each tool takes one way."""
    ours = median(runs[route]["celloquy"], "seconds")
    copy = totals[0] * BYTES_A_NONZERO
    rows = []
    for tool, measured in runs[route].items():
        seconds, peak = median(measured, "seconds"), median(measured, "peak")
        every = [run["seconds"] for run in measured]
        time = f"{seconds:.2f} s ({min(every):.2f}–{max(every):.2f})"
        cpu = f"{median(measured, 'cpu'):.2f} s"
        rows.append([tool, time, f"{seconds / ours:.1f}", cpu, f"{peak / 1e9:.2f} GB", f"{peak / copy:.1f}"])
    faster = min(median(measured, "seconds") for tool, measured in runs[route].items() if tool != "celloquy") / ours
    # A file is no copy in memory; what is made there is.
    extra = max(median(runs[route]["celloquy"], "peak") / copy - (route != "Seurat to h5ad"), 0)
    verdict = (
        f"At least {faster:.1f} times as fast as each, {extra:.1f} copies beyond the result (reach: {FASTER} times, "
        f"at most {EXTRA_COPIES}): {'reached' if faster >= FASTER and extra <= EXTRA_COPIES else 'not reached'}."
    )
    header = ["", "time", "times celloquy's", "processor time", "peak memory", "copies"]
    return f"**{route}**\n\n{report.table(header, rows)}\n\n{verdict}"


def median(runs: list[Run], field: str) -> float:
    """The median of a figure over runs."""
    return statistics.median(run[field] for run in runs)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
