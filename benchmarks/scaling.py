"""From 10 thousand to a million cells, from file to file: time and memory for a cell must not grow.

Usage: python benchmarks/scaling.py [--cells 10000 100000 1000000] [--profiles FILE.h5ad] [--precision bfloat16]

Writes files of so many cells to a temporary folder, each cell drawn from the profile of a real one (by default those
of scanpy's 700 blood cells, spread over as many genes as the model has), embeds each with the published 85-million-
parameter shape in a process of its own, and writes the section "From disk" of RESULTS.md. A million cells take about
15 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
import torch
from report import RESULTS, table, write_section
from scipy import sparse

import celloquy as cq

GENES, GENES_A_CELL, DEPTH, BLOCK = 19_374, 2_100, 1.2, 4096


def main() -> None:
    """Measure every size and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--profiles", type=Path, help="h5ad of raw counts whose cells to draw from")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--max-memory", default="2 GB")
    parser.add_argument("--folder", type=Path, help="where to put the files; by default a temporary folder")
    parser.add_argument("--embed", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.embed:
        embed(*options.embed, options.precision, options.max_memory)
        return
    rows = []
    with TemporaryDirectory(prefix="celloquy-scaling-", dir=options.folder) as name:
        folder = Path(name)
        profiles = draw_profiles(options.profiles)
        random_model(profiles.shape[1]).save(folder / "model")
        for cells in options.cells:
            file = folder / "cells.h5ad"
            write_cells(file, cells, profiles)
            command = [sys.executable, __file__, "--embed", file, folder / "out.h5ad", folder / "model"]
            command += ["--precision", options.precision, "--max-memory", options.max_memory]
            done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
            rows.append({"cells": cells, "file": file.stat().st_size} | json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], file=sys.stderr)
            file.unlink()
    report(pd.DataFrame(rows), options)


def draw_profiles(file: Path | None) -> sparse.csr_matrix:
    """Counts of real cells; those of few genes are spread over a whole genome, at its usual number of genes a cell."""
    if file is not None:
        return sparse.csr_matrix(sc.read_h5ad(file).X)
    few = sparse.csr_matrix(cq.recover_counts(sc.datasets.pbmc68k_reduced()).X)
    many = sparse.hstack([few] * -(-GENES // few.shape[1])).tocsr()[:, :GENES]
    seen_again = -np.expm1(-DEPTH * many.data).sum() / many.shape[0]
    many.data *= np.random.default_rng(0).random(many.nnz) < GENES_A_CELL / seen_again
    many.eliminate_zeros()
    return many


def random_model(genes: int) -> cq.CellModel:
    """The published shape with random weights."""
    torch.manual_seed(0)
    ids = [f"ENSG{number:011d}" for number in range(genes)]
    return cq.CellModel(cq.CellModelConfig.preset("base"), cq.GeneVocabulary.from_ids(ids))


def write_cells(file: Path, cells: int, profiles: sparse.csr_matrix) -> None:
    """Write an h5ad of cells drawn from profiles, block by block."""
    names = np.array([f"ENSG{number:011d}" for number in range(profiles.shape[1])])
    obs = pd.DataFrame(index=np.arange(cells).astype(str))
    sc.AnnData(obs=obs, var=pd.DataFrame(index=names)).write_h5ad(file)
    random = np.random.default_rng(cells)
    indptr = [np.zeros(1, dtype=np.int64)]
    with h5py.File(file, "r+") as store:
        if "X" in store:
            del store["X"]
        group = store.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([cells, profiles.shape[1]])
        arrays = {
            name: group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(2**20,))
            for name, dtype in (("data", np.uint16), ("indices", np.int32))
        }
        for start in range(0, cells, BLOCK):
            block = profiles[random.integers(0, profiles.shape[0], min(BLOCK, cells - start))]
            block.data = random.poisson(block.data * DEPTH)
            block.eliminate_zeros()
            first = int(indptr[-1][-1])
            for name, array in arrays.items():
                array.resize((first + block.nnz,))
                array[first:] = getattr(block, name)
            indptr.append(block.indptr[1:].astype(np.int64) + first)
        group["indptr"] = np.concatenate(indptr)


def embed(file: Path, out: Path, model: Path, precision: str, max_memory: str) -> None:
    """Embed a file and print what it took."""
    loaded = cq.CellModel.from_pretrained(model)
    began = time.perf_counter()
    cq.embed(file, model=loaded, out=out, precision=precision, max_memory=max_memory, progress=False)
    seconds = time.perf_counter() - began
    with h5py.File(file) as store:
        nonzeros = store["X/data"].shape[0] / (store["X/indptr"].shape[0] - 1)
    status = Path("/proc/self/status").read_text()
    memory = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "genes": nonzeros}))


def report(found: pd.DataFrame, options: argparse.Namespace) -> None:
    """Write the section and its plot."""
    found["each"] = found["seconds"] / found["cells"] * 1e6
    rows = [
        [
            f"{row.cells:,}", f"{row.genes:,.0f}", f"{row.file / 1e9:.1f} GB", f"{row.seconds:,.0f} s",
            f"{1e6 / row.each:,.0f}", f"{row.each:.0f} µs", f"{row.memory / 1e9:.2f} GB",
        ]
        for row in found.itertuples()
    ]  # fmt: skip
    header = ["cells", "genes a cell", "file", "time", "cells/s", "time a cell", "peak memory"]
    drift = {key: found[key].max() / found[key].min() - 1 for key in ("each", "memory")}
    body = f"""One tissue of all cells, the `base` shape with random weights, {options.precision},
`max_memory="{options.max_memory}"`, from an h5ad file to an h5ad file.

{table(header, rows)}

From the smallest to the largest the time a cell varies by {drift["each"]:.0%} and the peak memory by
{drift["memory"]:.0%} (reach: 10 % each; a million cells in at most 5 minutes and 2 GB).

![time and memory by number of cells](results/scaling.png)
"""
    draw(found)
    write_section(
        "50-scaling",
        "From disk",
        body,
        command=f"python benchmarks/scaling.py --cells {' '.join(map(str, options.cells))}",
    )


def draw(found: pd.DataFrame) -> None:
    """Plot time a cell and peak memory by the number of cells."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for axis, values, label in (
        (axes[0], found["each"], "µs a cell"),
        (axes[1], found["memory"] / 1e9, "peak memory, GB"),
    ):
        axis.plot(found["cells"], values, marker="o")
        axis.set(xscale="log", xlabel="cells", ylabel=label, ylim=(0, values.max() * 1.2))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "scaling.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
