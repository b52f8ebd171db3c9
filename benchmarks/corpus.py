"""Pretraining on a corpus that is larger than the memory, beside the same cells in memory; the order beside scdataset.

Usage: python benchmarks/corpus.py [--cells 1000000] [--files 50] [--train 60000] [--rounds 3]

Writes synthetic cells in so many h5ad files to a temporary folder, trains ``mini`` on the first cells of an epoch, in
turns from disk (in a random order of the files) and from memory (a tenth of the files), each in a process of its own,
and writes the section "A corpus on disk" of RESULTS.md. A million cells take 3 GB of disk. If scdataset is installed,
it reads the same blocks in pools of the same size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
import pandas as pd
import torch
from random_cells import random_cells
from report import table, write_section
from scipy import sparse

import celloquy as cq
from celloquy.data import CellColumns
from celloquy.runtime.memory import memory_budget
from celloquy.training.corpus import POOL_CELLS, Corpus, CorpusOptions, open_corpus
from celloquy.training.inputs import list_inputs
from celloquy.training.masked_counts import MaskedCounts
from celloquy.training.pools import BLOCK_CELLS, load_ahead

GENES, GENES_A_CELL = 10_000, 500.0


def main() -> None:
    """Measure in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--train", type=int, default=60_000, help="cells that a run trains on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="1 GB", help="max_memory from disk, less than what the cells take")
    parser.add_argument("--folder", type=Path, help="where to put the files; by default a temporary folder")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(RUNS[options.run[0]](Path(options.run[1]), options)))
        return
    with TemporaryDirectory(prefix="celloquy-corpus-", dir=options.folder) as name:
        folder = Path(name)
        write_files(folder, options.cells, options.files)
        # What is known of the files lies beside them, not in the user's own cache folder.
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
        found: dict[str, list[dict[str, float]]] = {one: [] for one in RUNS}
        for _ in range(options.rounds):
            for one in RUNS:
                command = [sys.executable, __file__, "--run", one, str(folder), "--train", str(options.train)]
                command += ["--memory", options.memory]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
                found[one].append(json.loads(done.stdout.splitlines()[-1]))
                print(one, found[one][-1], file=sys.stderr)
    report(found, options)


def write_files(folder: Path, cells: int, files: int) -> None:
    """Write the files; their cells are drawn from one block of cells, thinned anew."""
    each = cells // files
    profiles = random_cells(5000, GENES, GENES_A_CELL * 1.3, seed=0)
    for number in range(files):
        random = np.random.default_rng(number)
        counts = sparse.csr_matrix(profiles.X[random.integers(0, profiles.n_obs, each)])
        counts.data = random.binomial(counts.data.astype(np.int64), 0.7).astype(np.uint16)
        counts.eliminate_zeros()
        obs = pd.DataFrame(index=[f"{number}-{cell}" for cell in range(each)])
        adata = ad.AnnData(counts, obs=obs, var=profiles.var)
        adata.write_h5ad(folder / f"cells{number:03d}.h5ad")


def files_of(folder: Path) -> list[Path]:
    """Return the files in a random order."""
    files = sorted(folder.glob("*.h5ad"))
    return [files[place] for place in np.random.default_rng(os.getpid()).permutation(len(files))]


def train(files: list[Path], options: argparse.Namespace, memory: str) -> dict[str, float]:
    """Train on the first cells of an epoch, from the first minibatch on."""
    forward, state = MaskedCounts.forward, {"cells": 0, "began": 0.0}

    def counted(self: MaskedCounts, batch: cq.CellBatch, mask: object) -> object:
        if not state["began"]:
            state["began"] = time.perf_counter()
        if state["cells"] >= options.train:
            raise KeyboardInterrupt
        state["cells"] += len(batch)
        return forward(self, batch, mask)

    MaskedCounts.forward = counted
    began = time.perf_counter()
    with suppress(KeyboardInterrupt):
        cq.pretrain(files, epochs=1, max_memory=memory, progress=False)
    return {
        "rate": state["cells"] / (time.perf_counter() - state["began"]),
        "before": state["began"] - began,
        "memory": peak_memory(),
    }


def from_disk(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train on all files, which do not fit the memory."""
    return train(files_of(folder), options, options.memory)


def from_memory(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train on a tenth of the files, which fit it."""
    files = files_of(folder)
    return train(files[: -(-len(files) // 10)], options, "16 GB")


def corpus_of(folder: Path, options: argparse.Namespace) -> Corpus:
    """Return the corpus of all files."""
    reading = CorpusOptions(memory_budget(options.memory))
    return open_corpus(list_inputs(files_of(folder), CellColumns()), None, reading)


def own_order(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Read an epoch without a model."""
    corpus = corpus_of(folder, options)
    began, cells = time.perf_counter(), 0
    planned = ((pool, None) for pool in corpus.pools(np.arange(len(corpus)), 0))
    for _, rows, _, _ in load_ahead(corpus, planned):
        cells += len(rows)
    return {"rate": cells / (time.perf_counter() - began), "before": 0.0, "memory": peak_memory()}


def scdataset_order(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Read an epoch in the order of scdataset: blocks and pools of the same size, read by the same function."""
    try:
        from scdataset import BlockShuffling, scDataset
    except ImportError:
        return {}
    corpus = corpus_of(folder, options)
    began, cells = time.perf_counter(), 0
    data = scDataset(
        corpus, BlockShuffling(block_size=BLOCK_CELLS), batch_size=POOL_CELLS, fetch_factor=1,
        fetch_callback=lambda collection, chosen: collection.read(chosen), seed=0,
        batch_callback=lambda fetched, chosen: (fetched, torch.from_numpy(chosen)),
    )  # fmt: skip
    for _, rows in data:
        cells += len(rows)
    return {"rate": cells / (time.perf_counter() - began), "before": 0.0, "memory": peak_memory()}


RUNS = {"memory": from_memory, "disk": from_disk, "own order": own_order, "scdataset": scdataset_order}


def peak_memory() -> float:
    """Return the largest memory of this process so far, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """Write the section."""
    names = {
        "memory": "training, a tenth of the cells in memory",
        "disk": f"training from disk, max_memory {options.memory}",
        "own order": "reading alone, celloquy",
        "scdataset": "reading alone, scdataset",
    }
    rows = []
    for one, runs in found.items():
        rates = [run["rate"] for run in runs if run]
        if rates:
            spread = f"{np.median(rates):,.0f} [{min(rates):,.0f}–{max(rates):,.0f}]"
            before = f"{np.median([run['before'] for run in runs]):.0f} s"
            rows.append([names[one], spread, before, f"{max(run['memory'] for run in runs):.2f} GB"])
    # Runs of one round ran one after the other, so their ratio is of like conditions.
    share = np.median([b["rate"] / a["rate"] for a, b in zip(found["memory"], found["disk"], strict=True)])
    body = f"""{options.cells:,} synthetic cells of {GENES_A_CELL:.0f} genes each in {options.files} h5ad files, in a
random order of the files; `mini`, the first {options.train:,} cells of an epoch, {options.rounds} rounds in turns.

{table(["", "cells/s", "until the first step", "peak memory"], rows)}

From disk the training runs at {share:.0%} of the speed in memory (reach: ≥ 90 %, ≤ 2 GB). The time until the first step
is that of the imports, of opening the files, and, in the first round, of checking them once.
"""
    command = f"python benchmarks/corpus.py --cells {options.cells} --files {options.files} --train {options.train}"
    command += f" --memory '{options.memory}'"
    write_section("55-corpus", "A corpus on disk", body, command=command)


if __name__ == "__main__":
    main()
