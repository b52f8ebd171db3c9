"""The gene model beside the released GeneCompass: same weights, same cells, same machine, in turns.

Usage: python benchmarks/gene_model.py --peer CHECKOUT [--runs 3] [--cells 256] [--peer-cells 16] [--out FOLDER]
       python benchmarks/gene_model.py --device cuda

CHECKOUT is a folder with the files of github.com/xCompass-AI/GeneCompass, which are run as they are, in an environment
of their own in the cache folder; without it celloquy is measured alone. Weights are random, of the released base shape,
in the released form, which both sides read. Every measurement is a process of its own (gene_model_worker.py), and the
sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import report
from peer_bench import CACHE, say

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "scrna" / "pbmc3k.h5ad"
# What the released files import; transformers is of the release that they name.
PEER_NEEDS = ("transformers==4.30.0", "numpy<3")
PRECISIONS = ("float32", "bfloat16")

Run = dict[str, Any]


def main() -> None:
    """Measure, and write the section of RESULTS.md."""
    options = parse()
    folder = CACHE / "bench" / f"gene-model-{options.words}-{options.layers}-{options.width}"
    folder.mkdir(parents=True, exist_ok=True)
    task: Run = {
        "folder": str(folder), "peer": str(options.peer or ""), "data": str(options.data), "words": options.words,
        "width": options.width, "layers": options.layers, "heads": options.width // 64,
        "feedforward": 4 * options.width, "threads": options.threads, "device": options.device, "cells": options.cells,
        "peer_cells": options.peer_cells, "step_cells": options.step_cells, "step_part": options.step_part,
        "peer_step_cells": options.peer_step_cells,
    }  # fmt: skip
    run = Runner(task, peer_environment() if options.peer else Path(sys.executable))
    facts = run.ours("make_tokens")
    if options.peer:
        run.peers("make_checkpoint")
    facts |= run.ours("make_inputs")
    (folder / "embedding.npy").unlink(missing_ok=True)
    found: dict[str, list[Run]] = {}

    def note(name: str, one: Run) -> None:
        found.setdefault(name, []).append(one)

    compared = options.peer is not None and options.device == "cpu"
    for _ in range(options.runs):
        if compared:
            note("released embed", run.peers("peer_embed"))
        for precision in PRECISIONS:
            note(f"{precision} embed", run.ours("embed", precision=precision))
        note("mini", run.ours("embed_mini", precision="float32"))
        note("tokenise", run.ours("tokenise"))
    if options.device == "cpu":
        for _ in range(options.step_runs):
            if compared:
                note("released step", run.peers("peer_step"))
            for precision in PRECISIONS:
                note(f"{precision} step", run.ours("step", precision=precision))
    write(found, facts, options)


def parse() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="checkout of the released GeneCompass")
    parser.add_argument("--data", type=Path, default=DATA, help="cells with raw counts, h5ad; by default PBMC 3k")
    parser.add_argument("--runs", type=int, default=3, help="runs of the embedding, of each side")
    parser.add_argument("--step-runs", type=int, default=1, help="runs of a training step, of each side")
    parser.add_argument("--cells", type=int, default=256, help="cells that celloquy embeds")
    parser.add_argument("--peer-cells", type=int, default=16, help="cells that the released code embeds")
    parser.add_argument("--step-cells", type=int, default=64, help="cells of a training step")
    parser.add_argument("--step-part", type=int, default=16, help="cells of it that celloquy computes at a time")
    parser.add_argument("--peer-step-cells", type=int, default=3, help="cells of it that the released code computes")
    parser.add_argument("--words", type=int, default=50_558)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--threads", type=int, default=report.cores())
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the section of the report goes")
    return parser.parse_args()


def peer_environment() -> Path:
    """Make the environment of the released code, if need be, and return its Python."""
    folder = CACHE / "peer" / "genecompass"
    python, stamp = folder / "bin" / "python", folder / "installed"
    torch = f"torch=={version('torch').split('+')[0]}"
    wanted = "\n".join([torch, *PEER_NEEDS])
    if not stamp.is_file() or stamp.read_text() != wanted:
        say(f"Installing {', '.join(PEER_NEEDS)} into {folder}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        index = ["--index-url", os.environ["TORCH_INDEX"]] if "TORCH_INDEX" in os.environ else []
        for packages in ([*index, torch], PEER_NEEDS):
            command = [python, "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return python


class Runner:
    """Runs measurements, each in a process of its own."""

    def __init__(self, task: Run, peer_python: Path) -> None:
        self.task, self.peer_python = task, peer_python

    def ours(self, name: str, **task: Any) -> Run:
        """Run a task with celloquy."""
        return self._run(Path(sys.executable), name, task)

    def peers(self, name: str, **task: Any) -> Run:
        """Run a task with the released code."""
        return self._run(self.peer_python, name, task)

    def _run(self, python: Path, name: str, task: Run) -> Run:
        threads, began = str(self.task["threads"]), time.perf_counter()
        ended = subprocess.run(
            [python, HERE / "gene_model_worker.py", name, json.dumps(self.task | task)],
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            sys.exit(f"{name} failed with status {ended.returncode}.\n{ended.stderr[-3000:]}")
        found: Run = json.loads(ended.stdout.splitlines()[-1])
        say(f"{name:16s} {task.get('precision', ''):9s} (process {time.perf_counter() - began:.0f} s) {found}")
        return found


def write(found: dict[str, list[Run]], facts: Run, options: argparse.Namespace) -> None:
    """Write the section."""

    def median(name: str, what: str) -> float | None:
        runs = [one[what] for one in found.get(name, []) if what in one]
        return statistics.median(runs) if runs else None

    def both(kind: str, what: str) -> list[tuple[str, str, float]]:
        sides = [("released", "released, float32"), *((one, f"celloquy, {one}") for one in PRECISIONS)]
        return [(side, label, found) for side, label in sides if (found := median(f"{side} {kind}", what)) is not None]

    rates, seconds = both("embed", "rate"), both("step", "seconds")
    rows = []
    for side, label, rate in rates:
        name = f"{side} embed"
        share, difference = median(name, "flop"), median(name, "difference")
        rows.append([
            label, f"{rate:.3g}", f"{rate / rates[0][2]:.1f}×", memory(median(name, "peak_memory")),
            f"{share / median(name, 'gemm'):.0%}" if share else "",
            f"{difference:.1e}" if difference is not None else "",
            f"{median(name, 'cosine'):.6f}" if difference is not None else "",
        ])  # fmt: skip
    head = ["embedding", "cells/s", "speed", "peak memory", "of the GEMM rate", "largest difference", "lowest cosine"]
    parts = [report.table(head, rows), "Reach: float32 ≥ 6×, ≤ 1e-4, ≥ 60 % of the GEMM rate; bfloat16 ≥ 20×, ≥ .999."]
    if seconds:
        rows = [
            [label, f"{one:.1f} s", f"{seconds[0][2] / one:.1f}×", memory(median(f"{side} step", "peak_memory"))]
            for side, label, one in seconds
        ]
        head = [f"a training step, {options.step_cells} cells", "time", "speed", "peak memory"]
        parts += [report.table(head, rows), "Reach: float32 ≥ 8×, a quarter of the memory."]
    mini, tokens = median("mini", "seconds"), median("tokenise", "rate")
    parts.append(f"""`mini` embeds all {facts["cells"]:,} cells in {mini:.1f} s (reach ≤ 30 s). The tokeniser makes
{tokens:,.0f} cells/s (reach ≥ 200,000 on two cores).""")
    what = f"{options.words:,} words, {options.layers} layers, {options.width} wide, random weights and priors"
    body = "\n\n".join(
        [
            *parts,
            f"""
{what}; {options.data.stem}, {facts["genes_a_cell"]:.0f} genes a cell. celloquy: `cq.embed` of {options.cells} cells,
tokenisation included; the released model gets {options.peer_cells} of them as tokens, eight at a time, each padded to
{2048:,} places, as its collator pads them. Its step is that of {options.peer_step_cells} cells, one at a time, times
their number, and one update; celloquy's is computed {options.step_part} cells at a time. {options.threads} threads,
{options.runs} runs in turns, medians. The GEMM rate is that of 2048 × 768 times 768 × 3072 in the same process.""",
        ]
    )
    name = "31-gene-model" if options.device == "cpu" else "71-gene-model-gpu"
    title = "The gene model" if options.device == "cpu" else "The gene model on a GPU"
    command = " ".join(["python benchmarks/gene_model.py", *sys.argv[1:]])
    report.write_section(name, title, body, command=command, folder=options.out)


def memory(size: float | None) -> str:
    """Bytes in words."""
    return "" if size is None else f"{size / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
