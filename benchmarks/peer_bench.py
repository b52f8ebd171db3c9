"""The measurements of peer.py: each a process of its own, kept in a file as they come."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celloquy"

Run = dict[str, Any]

# 20230926_85M.config.json of the released checkpoints, but for the genes.
CONFIG = {
    "name": "random_85M", "enc_mod": "flowformer", "enc_hid": 1024, "enc_layers": 4, "latent_mod": "gmvae",
    "lamda": 5.0, "post_latent_dim": 512, "dec_mod": "nbmlp", "dec_hid": 1024, "dec_layers": 2, "model_dropout": 0.2,
    "mask_node_rate": 0.75, "mask_feature_rate": 0.25, "drop_node_rate": 0.3, "norm": "groupnorm", "w_li": 5.0,
    "w_en": 5.0, "num_clusters": 16, "out_dim": 19374, "cat_pe": False, "max_batch_size": 4000, "dar": False,
    "input_covariate": False, "ecs": False, "dsbn": False, "dae": True, "mask_beta": True, "batch_num": 12596,
    "dataset_num": 484,
}  # fmt: skip


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
        code = [*HERE.parent.glob("python/celloquy/**/*.py"), HERE / "peer_worker.py", HERE / "random_cells.py"]
        settings = {
            "task": self.task,
            "code": report.fingerprint(code),
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
        figure = f"{found['seconds']:8.2f} s, {memory_of(found) / 1e9:.2f} GB" if "seconds" in found else ""
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


def memory_of(run: Run) -> int:
    """Peak memory of a run, before the products that measure the machine."""
    return run.get("embedding_memory", run["peak_memory"])


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)
