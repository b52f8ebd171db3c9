"""celloquy beside the released CellPLM: same weights, same cells, same machine, in turns.

Usage: make bench, or python benchmarks/peer.py [--resume] [--runs 5] [--step-runs 3] [--cells 10000] [--out FOLDER]

The released package is installed into an environment of its own in the cache folder. Every measurement is a process of
its own (peer_worker.py), and the sides take turns, so that a change of the machine's mood meets all of them. What is
measured is kept: --resume goes on where an earlier run with the same settings and the same code was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peer_report
import report
from peer_report import BFLOAT16, FLOAT32, Run

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celloquy"

PEER = "cellplm==0.1.0.post2"
# What it imports. Its own requirements add packages that embedding and pretraining never touch.
PEER_NEEDS = ("anndata<0.13", "einops", "pandas<3", "scanpy<2", "scikit-learn", "torchmetrics")

# 20230926_85M.config.json of the released checkpoints, but for the genes.
CONFIG = {
    "name": "random_85M", "enc_mod": "flowformer", "enc_hid": 1024, "enc_layers": 4, "latent_mod": "gmvae",
    "lamda": 5.0, "post_latent_dim": 512, "dec_mod": "nbmlp", "dec_hid": 1024, "dec_layers": 2, "model_dropout": 0.2,
    "mask_node_rate": 0.75, "mask_feature_rate": 0.25, "drop_node_rate": 0.3, "norm": "groupnorm", "w_li": 5.0,
    "w_en": 5.0, "num_clusters": 16, "out_dim": 19374, "cat_pe": False, "max_batch_size": 4000, "dar": False,
    "input_covariate": False, "ecs": False, "dsbn": False, "dae": True, "mask_beta": True, "batch_num": 12596,
    "dataset_num": 484,
}  # fmt: skip

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


class Bench:
    """The measurements of one set of settings, kept in a file as they come."""

    def __init__(self, options: argparse.Namespace, peer_python: Path) -> None:
        self.peer_python, self.threads = peer_python, options.threads
        folder = CACHE / "bench"
        folder.mkdir(parents=True, exist_ok=True)
        self.task: Run = {
            "config": CONFIG,
            "cells": options.cells,
            "step_cells": min(options.step_cells, options.cells),
            "label_cells": min(options.label_cells, options.cells),
            "genes_a_cell": 2100,
            "seed": options.seed,
            "threads": options.threads,
            "chunks": [[min(2000, options.cells), [7, 256]], [min(200, options.cells), [1, 7]]],
            "cells_file": str(folder / f"cells-{options.cells}-{options.seed}.h5ad"),
            "genes_file": str(folder / "genes.txt"),
            "prefix": str(folder / "random_85M"),
            "weights_file": str(folder / "random_85M.best.ckpt"),
            "reference_file": str(folder / "reference.npz"),
        }
        self.file = folder / "measured.json"
        code = [*sorted(HERE.parent.glob("python/celloquy/**/*.py")), HERE / "peer_worker.py", HERE / "random_cells.py"]
        settings = {
            "task": self.task,
            "code": hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest(),
        }
        kept = json.loads(self.file.read_text()) if options.resume and self.file.is_file() else {}
        if options.resume and kept.get("settings") != settings:
            say("Nothing to resume: there is no run with these settings and this code. Starting anew.")
            kept = {}
        self.runs: dict[str, Run] = kept.get("runs", {})
        self.settings = settings

    def once(self, name: str, measure: Callable[[], Run], *files: str) -> None:
        """Measure, unless that has been done; inputs that have been lost are made again."""
        if name in self.runs and all(Path(self.task[file]).is_file() for file in files):
            return
        began = time.perf_counter()
        found = measure()
        self.runs[name] = found
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps({"settings": self.settings, "runs": self.runs}, indent=1))
        partial.replace(self.file)
        figure = f"{found['seconds']:8.2f} s, {peer_report.memory_of(found) / 1e9:.2f} GB" if "seconds" in found else ""
        say(f"{name:22s}{figure:22s} (process {time.perf_counter() - began:.0f} s)")

    def ours(self, name: str, **task: Any) -> Run:
        """Run a task with celloquy."""
        return self._run(Path(sys.executable), name, task)

    def peers(self, name: str, **task: Any) -> Run:
        """Run a task with the released package."""
        return self._run(self.peer_python, name, task)

    def _run(self, python: Path, name: str, task: Run) -> Run:
        threads = str(self.threads)
        ended = subprocess.run(
            [python, HERE / "peer_worker.py", name, json.dumps(self.task | task)],
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            sys.exit(f"{name} failed with status {ended.returncode}; --resume goes on here.\n{ended.stderr[-3000:]}")
        return json.loads(ended.stdout.splitlines()[-1])

    def of(self, kind: str, side: str) -> list[Run]:
        """The runs of one side."""
        return [run for name, run in self.runs.items() if name.startswith(f"{kind} {side} ")]


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


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
