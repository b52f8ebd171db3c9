"""How long the small model trains, to which held-out loss, and where the time goes.

Usage: python benchmarks/training_speed.py FILE.h5ad [--schedules 0:0:0:30 120:0.0005:594:30] [--rounds 3]

A schedule is epochs:learning rate:batch size:patience; 0 stands for the default, and for no patience. Trains ``mini``
with each of them in turns, in a process of its own, judges all models by one loss (the same held-out cells and masks,
all of them one sentence), and writes the section "Training a small model" of RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from report import cores, table, write_section
from torch.profiler import ProfilerActivity, profile

import celloquy as cq
from celloquy.bridge.verbs import expected_seconds
from celloquy.data import CellSource
from celloquy.nn.masking import BiLevelMask
from celloquy.training.masked_counts import MaskedCounts, split_cells
from celloquy.training.sampling import gather

MASKS = 6


def main() -> None:
    """Train in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="h5ad of raw counts")
    parser.add_argument("--schedules", nargs="+", default=["0:0:0:30", "120:0.0005:594:30"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(train(options.file, options.run[0], int(options.run[1]))))
        return
    found: dict[str, list[dict[str, float]]] = {one: [] for one in options.schedules}
    for seed in range(options.rounds):
        for one in options.schedules:
            command = [sys.executable, __file__, str(options.file), "--run", one, str(seed)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[one].append(json.loads(done.stdout.splitlines()[-1]))
            print(one, found[one][-1], file=sys.stderr)
    report(found, options)


def train(file: Path, schedule: str, seed: int) -> dict[str, float]:
    """Train with a schedule; return the time and the held-out loss."""
    adata = ad.read_h5ad(file)
    epochs, rate, size, patience = (float(part) for part in schedule.split(":"))
    training = cq.TrainingOptions(
        learning_rate=rate or None, batch_size=int(size) or None, patience=int(patience) or None
    )
    began, worked = time.perf_counter(), time.process_time()
    model = cq.pretrain(adata, epochs=int(epochs) or None, training=training, seed=seed, progress=False)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    cells = CellSource(adata).over(model.vocabulary).read_all()
    kept = split_cells(cells.batch, training.validation, seed)[1].numpy()
    objective, losses = MaskedCounts(model).eval(), []
    with torch.no_grad():
        for number in range(MASKS):
            batch = gather(cells, [kept])
            mask = BiLevelMask.draw(len(batch), model.masking, seed=[seed, number])
            losses.append(float(objective(batch, mask)["reconstruction"]))
    return {
        "seconds": seconds, "processor": processor, "epochs": len(model.history), "loss": float(np.mean(losses)),
        "rate": float(len(cells) * (1 - training.validation) * len(model.history) / model.history["seconds"].sum()),
        "waited": float(model.history["waited"].mean()),
        "foretold": expected_seconds(adata.n_obs, adata.n_vars, int(epochs) or None),
    }  # fmt: skip


def shares(file: Path) -> list[tuple[str, float]]:
    """Return the operations that take most of the time of two epochs, with their shares."""
    adata = ad.read_h5ad(file)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        cq.pretrain(adata, epochs=2, progress=False)
    rows = found.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    longest = sorted(rows, key=lambda row: -row.self_cpu_time_total)[:12]
    return [(row.key, row.self_cpu_time_total / total) for row in longest]


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """Write the section."""
    rows = []
    for schedule, runs in found.items():
        middle = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
        rows.append(
            [
                schedule, f"{middle['seconds']:.0f} s", f"{middle['foretold']:.0f} s",
                f"{middle['processor']:.0f} s", f"{middle['epochs']:.0f}",
                f"{middle['rate']:,.0f}", f"{middle['waited']:.0%}",
                f"{middle['loss']:.1f} [{min(run['loss'] for run in runs):.1f}–"
                f"{max(run['loss'] for run in runs):.1f}]",
            ]
        )  # fmt: skip
    header = [
        "epochs:rate:batch:patience",
        "time",
        "foretold",
        "processor",
        "epochs",
        "cells/s",
        "waited",
        "held-out loss",
    ]
    body = f"""`mini` on {options.file.stem}, {cores()} cores, {options.rounds} seeds in turns, medians; the loss
in nats a cell of the same held-out cells under the same masks, all cells in one sentence.

{table(header, rows)}

{table(["operation", "share of the time"], [[name, f"{share:.1%}"] for name, share in shares(options.file)])}
"""
    schedules = " ".join(options.schedules)
    command = f"python benchmarks/training_speed.py {options.file.name} --schedules {schedules}"
    write_section("28-training-speed", "Training a small model", body, command=command)


if __name__ == "__main__":
    main()
