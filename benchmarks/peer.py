"""celloquy beside the released CellPLM: same weights, same cells, same machine, in turns.

Usage: make bench, or python benchmarks/peer.py [--resume] [--runs 5] [--step-runs 3] [--cells 10000] [--out FOLDER]

The released package is installed into an environment of its own in the cache folder. Every measurement is a process of
its own (peer_worker.py), and the sides take turns, so that a change of the machine's mood meets all of them. What is
measured is kept: --resume goes on where an earlier run with the same settings and the same code was interrupted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import peer_report
import report
from peer_bench import CACHE, Bench, Run, say
from peer_report import BFLOAT16, FLOAT32

PEER = "cellplm==0.1.0.post2"
# What it imports. Its own requirements add packages that embedding and pretraining never touch.
PEER_NEEDS = ("anndata<0.13", "einops", "pandas<3", "scanpy<2", "scikit-learn", "torchmetrics")

PARTS = ("embed", "step", "annotate", "chunks", "startup")


def main() -> None:
    """Measure, and write the sections of RESULTS.md."""
    options = parse()
    environment = peer_environment()
    bench = Bench(options, environment)
    bench.once("cells", lambda: bench.ours("make_cells"), "cells_file", "genes_file")
    bench.once("checkpoint", lambda: bench.peers("make_checkpoint"), "weights_file")
    for number in range(options.runs if "embed" in options.parts else 0):
        bench.once(f"embed released {number}", lambda: bench.peers("peer_embed"))
        for precision in (FLOAT32, BFLOAT16):
            bench.once(f"embed {precision} {number}", lambda p=precision: bench.ours("embed", precision=p))
    if "embed" in options.parts:
        bench.once("compare", lambda: bench.peers("peer_reference") and bench.ours("compare"))
    for number in range(options.step_runs if "step" in options.parts else 0):
        bench.once(f"step released {number}", lambda n=number: bench.peers("peer_step", seed=n))
        for precision in (FLOAT32, BFLOAT16):
            bench.once(
                f"step {precision} {number}", lambda p=precision, n=number: bench.ours("step", precision=p, seed=n)
            )
    for number in range(options.step_runs if "annotate" in options.parts else 0):
        bench.once(f"annotate released {number}", lambda: bench.peers("peer_annotate"))
        for precision in (FLOAT32, BFLOAT16):
            bench.once(f"annotate {precision} {number}", lambda p=precision: bench.ours("annotate", precision=p))
    if "chunks" in options.parts:
        bench.once("chunks", lambda: bench.ours("chunks"))
    if "startup" in options.parts:
        bench.once("startup", lambda: startup(environment))
    peer_report.write(bench, options.out, options.parts, environment, whole=set(options.parts) == set(PARTS))


def parse() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume", action="store_true", help="go on with what an interrupted run has measured")
    parser.add_argument("--runs", type=int, default=5, help="runs of the embedding, of each side")
    parser.add_argument("--step-runs", type=int, default=3, help="runs of a step, and of an epoch, of each side")
    parser.add_argument("--label-cells", type=int, default=4_000, help="cells of an epoch of annotation")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="measure and write only these")
    parser.add_argument("--cells", type=int, default=10_000, help="cells to embed")
    parser.add_argument("--step-cells", type=int, default=2_000, help="cells of a pretraining step")
    parser.add_argument("--threads", type=int, default=report.cores())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the sections of the report go")
    return parser.parse_args()


def peer_environment() -> Path:
    """Make the environment of the released package, if need be, and return its Python."""
    folder = CACHE / "peer" / "venv"
    python, stamp = folder / "bin" / "python", folder / "installed"
    # The torch of this environment, so that only the packages differ.
    torch = f"torch=={version('torch').split('+')[0]}"
    wanted = "\n".join([torch, PEER, *PEER_NEEDS])
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    say(f"Installing {PEER} into {folder}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    index = ["--index-url", os.environ["TORCH_INDEX"]] if "TORCH_INDEX" in os.environ else []
    for packages in ([*index, torch], ["--no-deps", PEER], PEER_NEEDS):
        # pip's complaint about the requirements left out is expected.
        command = [python, "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(command, check=True, stdout=sys.stderr)
    subprocess.run([python, "-c", "import CellPLM.pipeline.cell_embedding"], check=True)
    stamp.write_text(wanted)
    return python


def startup(peer_python: Path) -> Run:
    """Median seconds of starting, each of them a whole process."""
    own = Path(sys.executable)
    commands = {
        "python": [own, "-c", "pass"],
        "import": [own, "-c", "import celloquy"],
        "help": [own.parent / "celloquy", "--help"],
        "peer": [peer_python, "-c", "import CellPLM.pipeline.cell_embedding"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    # The first round reads the files; it does not count.
    for turn in range(10):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


if __name__ == "__main__":
    main()
