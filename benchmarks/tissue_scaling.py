"""Niches and context of large tissues: time and memory.

Usage: python benchmarks/tissue_scaling.py --data FOLDER [--cells 1000 10000 100000]

Slices of mouse cortex (STARmap) are laid side by side until a tissue has so many cells; the counts of each copy are
thinned anew. Each size runs in a process of its own. Writes the section "Niches and context of large tissues".
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
from report import table, write_section
from scipy import sparse

import celloquy as cq

SEED = 0
ASKED = 1000
"""Cells whose context is asked for by distance."""


def main() -> None:
    """Measure every size and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(tissue(options.data, options.one))))
        return
    rows = []
    for cells in options.cells:
        command = [sys.executable, __file__, "--data", str(options.data), "--one", str(cells)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(found, file=sys.stderr)
        rows.append([f"{found['cells']:,}", *(f"{found[one]:.1f}" for one in TIMES), f"{found['memory']:.2f}"])
    genes = found["genes"]
    body = f"""Seconds, and GiB of the process at its largest ({genes} genes). Niches at their defaults, adapting to the
cells and choosing the size of neighbourhoods included, and about ten seconds in which umap is compiled for scanpy's
graph, once a process; `context` of all cells by label, and of {ASKED:,} cells by label and distance, in one tissue, by
a model of the default shape with random weights.

{table(["cells", *TIMES, "memory"], rows)}"""
    write_section(
        "33-tissue-scaling", "Niches and context of large tissues", body,
        command="python benchmarks/tissue_scaling.py --data FOLDER",
    )  # fmt: skip


TIMES = ("niches", "context by label", "context by distance")


def tissue(data: Path, cells: int) -> ad.AnnData:
    """One tissue of so many cells."""
    random = np.random.default_rng(SEED)
    slices = ad.read_h5ad(data / "spatial" / "starmap_mpfc.h5ad")
    one = slices[slices.obs["slice"] == slices.obs["slice"].iloc[0]]
    width = np.ptp(one.obsm["spatial"], axis=0) * 1.02
    copies = -(-cells // one.n_obs)
    side = int(np.ceil(np.sqrt(copies)))
    shift = np.repeat([[copy % side, copy // side] for copy in range(copies)], one.n_obs, axis=0) * width
    counts = sparse.vstack([sparse.csr_matrix(one.X, dtype=np.float32)] * copies, format="csr")[:cells]
    counts.data = random.binomial(counts.data.astype(np.int64), 0.9).astype(np.float32)
    counts.eliminate_zeros()
    adata = ad.AnnData(counts, var=one.var[[]])
    adata.obs["cell_type"] = np.tile(one.obs["cell_type"].astype(str).to_numpy(), copies)[:cells]
    adata.obsm["spatial"] = (np.tile(one.obsm["spatial"], (copies, 1)) + shift)[:cells]
    return adata


def measure(adata: ad.AnnData) -> dict[str, float]:
    """Seconds of each call, and the memory of the process."""
    vocabulary = cq.GeneVocabulary.from_names(adata.var_names)
    model = cq.CellModel(cq.CellModelConfig(), vocabulary).eval()
    calls = {
        "niches": lambda: cq.niches(adata, progress=False, device="cpu"),
        "context by label": lambda: cq.context(adata, labels="cell_type", model=model, progress=False, device="cpu"),
        "context by distance": lambda: cq.context(
            adata, cells=np.arange(adata.n_obs) < ASKED, labels="cell_type", model=model, spatial_key="spatial",
            progress=False, device="cpu",
        ),
    }  # fmt: skip
    found: dict[str, float] = {"cells": adata.n_obs, "genes": adata.n_vars}
    for name, call in calls.items():
        began = time.perf_counter()
        call()
        found[name] = time.perf_counter() - began
    return found | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


if __name__ == "__main__":
    main()
