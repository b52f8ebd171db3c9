"""What a second process is worth: one process on one core beside two on two, embedding and pretraining.

Run ``python benchmarks/processes.py``; it takes some minutes on two cores. Each call is timed within a process that
has done it on a few cells before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from random_cells import random_cells
from report import table, write_section

GENES, GENES_A_CELL = 19_374, 1000.0
WORKER = """
import sys, time
import anndata as ad
import numpy as np
import torch
import celloquy as cq

torch.set_num_threads(1)
task, shape, tissues, out = sys.argv[1:]
adata = ad.read_h5ad("cells.h5ad")
few = adata[:200].copy()
options = {"tissue_key": None if tissues == "one" else "sample", "precision": "float32", "progress": False}
training = cq.TrainingOptions(batch_size=512, parts=2)

def embed(cells):
    cq.embed(cells, model="model", **options)

def pretrain(cells):
    return cq.pretrain(cells, config=shape, epochs=1, training=training, **options)

call = {"embed": embed, "pretrain": pretrain}[task]
call(few)
began, worked = time.perf_counter(), time.process_time()
model = call(adata)
seconds, work = time.perf_counter() - began, [time.process_time() - worked]
several = torch.distributed.is_initialized()
if several:
    work *= torch.distributed.get_world_size()
    torch.distributed.all_gather_object(work, work[0])
if task == "pretrain":
    cq.embed(few, model=model, **options)
    adata = few
result = adata.obsm["X_celloquy"]
if not several or torch.distributed.get_rank() == 0:
    np.savez(out, seconds=seconds, work=max(work), result=result)
"""
TASKS = (
    ("embed", "small", "one"),
    ("embed", "small", "four"),
    ("embed", "base", "one"),
    ("pretrain", "small", "four"),
)


def run(folder: Path, processes: int, *task: str) -> tuple[float, float, np.ndarray]:
    """Return the seconds of a call, those that the busiest process computed, and the result."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    out = folder / "result.npz"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*start, "worker.py", *task, str(out)], cwd=folder, env=environment, check=True)
    with np.load(out) as found:
        return float(found["seconds"]), float(found["work"]), found["result"]


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--trained", type=int, default=4_000, help="cells of the pretraining")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    rows, load = [], os.getloadavg()[1]
    with tempfile.TemporaryDirectory(prefix="celloquy-bench-") as name:
        folder = Path(name)
        (folder / "worker.py").write_text(WORKER)
        for task in TASKS:
            title = f"{task[0]}, {task[1]}, {task[2]} tissue{'s' * (task[2] == 'four')}"
            n_cells = given.cells if task[0] == "embed" else given.trained
            _prepare(folder, n_cells, task[1])
            seconds: dict[int, list[float]] = {1: [], 2: []}
            work: dict[int, list[float]] = {1: [], 2: []}
            results: dict[int, np.ndarray] = {}
            for _ in range(given.repeats):
                for processes, found in seconds.items():
                    took, worked, results[processes] = run(folder, processes, *task)
                    found.append(took)
                    work[processes].append(worked)
                    line = {"task": title, "processes": processes, "seconds": took, "work": worked}
                    print(json.dumps(line), flush=True)
            gain, less = (median(one[1]) / median(one[2]) for one in (seconds, work))
            apart = float(np.abs(results[2] - results[1]).max() / np.abs(results[1]).max())
            verdict = "yes" if gain >= 1.6 else "**falls short**"
            row = [title, f"{n_cells:,}", *map(_spread, seconds.values()), f"{gain:.2f}× ({verdict})"]
            rows.append([*row, f"{less:.2f}×", f"{apart:.0e}"])
    header = ["", "cells", "one process", "two processes", "gain (reach ≥ 1.6×)", "gain in work", "results apart"]
    body = f"""One process with one thread beside two with a thread each, by torchrun and gloo; medians of
{given.repeats} runs in turns, the range in brackets; the shapes `small` and `base` in float32, {GENES:,} genes,
{GENES_A_CELL:,.0f} of them with a count in a cell, cells in memory; one epoch of pretraining, `parts=2` in both. Only
the call is timed, after one on 200 cells. `gain in work` is that of the processor time of the busier process, which
tells how the work is shared where other programs take part of the cores. `results apart` is the largest difference of
the embeddings, relative to their largest value; for pretraining that of 200 cells by the two models.

Each process reads the model, checks the counts and matches the genes by itself. With the few cells that are embedded
here that is much of the time of the `small` model.

Before the first run {load:.1f} other programs were busy on {os.cpu_count()} cores: the more there are, the less the
times tell of two processes, and the more the processor times do.

{table(header, rows)}"""
    command = f"python benchmarks/processes.py --repeats {given.repeats} --trained {given.trained}"
    write_section("55-processes", "Two processes", body, command=command)


def _prepare(folder: Path, n_cells: int, shape: str) -> None:
    """Write cells, and a model over their genes with random weights."""
    import torch

    import celloquy as cq

    adata = random_cells(n_cells, GENES, GENES_A_CELL, seed=0)
    adata.write_h5ad(folder / "cells.h5ad")
    torch.manual_seed(0)
    vocabulary = cq.GeneVocabulary.from_ids(adata.var_names.tolist())
    cq.CellModel(cq.CellModelConfig.preset(shape), vocabulary).save(folder / "model", overwrite=True)


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} s [{min(seconds):.1f}–{max(seconds):.1f}]"


if __name__ == "__main__":
    main()
