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

import report

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

RELEASED, FLOAT32, BFLOAT16 = "released", "float32", "bfloat16"
PARTS = ("embed", "step", "annotate", "chunks", "startup")
SIDES = (RELEASED, FLOAT32, BFLOAT16)
NAMES = {RELEASED: "CellPLM 0.1.0.post2", FLOAT32: "celloquy, float32", BFLOAT16: "celloquy, bfloat16"}

# The reach of the project: how many times faster, in how much memory.
EMBED_REACH = {FLOAT32: 4, BFLOAT16: 10}
STEP_REACH = {FLOAT32: 6, BFLOAT16: 12}
EMBED_MEMORY, STEP_MEMORY = 1.2e9, 2e9
DIFFERENCE, COSINE, ROOFLINE, RELATIVE = 1e-4, 0.9999, 0.6, 1e-5
IMPORT_SECONDS, HELP_SECONDS = 0.5, 0.7

Run = dict[str, Any]


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
    write(bench, options, environment)


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
        code = [*sorted(HERE.parent.glob("python/celloquy/**/*.py")), HERE / "peer_worker.py"]
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


def write(bench: Bench, options: argparse.Namespace, peer_python: Path) -> None:
    """Write the sections, the figures as JSON and the plot."""
    command = "make bench" if sys.argv[1:] in ([], ["--resume"]) else f"python {' '.join(sys.argv)}"
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    common = {"command": command, "folder": folder}
    if set(options.parts) == set(PARTS):
        (folder / "peer.json").write_text(json.dumps({"settings": bench.settings, "runs": bench.runs}, indent=1) + "\n")
        draw(bench, folder / "peer.png")
        report.write_section("00-setup", "Beside the released CellPLM", setup_text(bench, peer_python), **common)
    sections = {
        "embed": ("10-embed", "Embedding", embed_text),
        "step": ("20-train", "A step of pretraining", step_text),
        "annotate": ("27-annotate", "An epoch of annotation", annotate_text),
        "chunks": ("30-chunks", "The embedding does not depend on the batch size", chunk_text),
        "startup": ("40-startup", "Start-up", startup_text),
    }
    for part in options.parts:
        name, title, text = sections[part]
        report.write_section(name, title, text(bench), **common)
    say(f"Written: {report.assemble(folder)}")


def setup_text(bench: Bench, peer_python: Path) -> str:
    """What was measured, on what."""
    cells, task = bench.runs["cells"], bench.task
    threads = f"{task['threads']} thread{'s' if task['threads'] > 1 else ''}"
    names = ("torch", "numpy", "scipy", "anndata")
    asked = f"from importlib.metadata import version; print(*map(version, {names}))"
    theirs = subprocess.run([peer_python, "-c", asked], check=True, capture_output=True, text=True).stdout.split()
    versions = report.table(
        ["", *names],
        [[f"celloquy {version('celloquy')}", *map(version, names)], [NAMES[RELEASED], *theirs]],
    )
    return f"""
- **Weights**: the published 85M configuration, {bench.runs["checkpoint"]["parameters"] / 1e6:.1f} M parameters, random,
  one checkpoint in the released form that both sides read.
- **Cells**: {task["cells"]:,} synthetic cells × {CONFIG["out_dim"]:,} genes, {cells["genes_a_cell"]:,.0f} genes and
  {cells["counts_a_cell"]:,.0f} counts a cell, eight kinds of cell with Zipf-like gene frequencies; one h5ad file, read
  before the clock starts. All cells are one context.
- **Runs**: {threads}, every run a process of its own, the sides in turns. Medians; the range in
  brackets. Memory is the peak of the whole process: imports, weights, cells and the computation.
- **Released package**: as installed from the registry, nothing patched, no shim; current versions of what it needs.
- The one liberty with the weights: the logits of the mixture are spread, because the released code draws Gumbel noise
  also in evaluation, and no two of its embeddings could be compared otherwise.

{versions}

![Cells a second, seconds a step, memory](results/peer.png)
"""


def embed_text(bench: Bench) -> str:
    """The table of the embedding, and what it was checked against."""
    cells, found = bench.task["cells"], bench.runs["compare"]
    base = median(bench.of("embed", RELEASED))
    gemm = {side: statistics.median(run["gemm"] for run in bench.of("embed", side)) for side in SIDES[1:]}
    flop = bench.of("embed", FLOAT32)[0]["flop_a_cell"]
    total = sum(flop.values())
    rows = []
    for side in SIDES:
        runs = bench.of("embed", side)
        seconds, memory = median(runs), peak(runs)
        share = statistics.median(total * cells / run["seconds"] / run.get("gemm", gemm[FLOAT32]) for run in runs)
        reach = EMBED_REACH.get(side)
        rows.append(
            [
                NAMES[side],
                f"{cells / seconds:,.0f} {spread(runs, lambda s: f'{cells / s:,.0f}')}",
                f"{base / seconds:.1f}×" + (verdict(base / seconds >= reach, f"≥ {reach}×") if reach else ""),
                f"{memory / 1e9:.2f} GB" + (verdict(memory <= EMBED_MEMORY, "≤ 1.2 GB") if reach else ""),
                f"{share:.0%}" + (verdict(share >= ROOFLINE, f"≥ {ROOFLINE:.0%}") if side == BFLOAT16 else ""),
            ]
        )
    checks = [
        [
            f"embedding, float32 against the released code: max abs difference (values up to {found['size']:.2g})",
            f"{found['difference']:.1e}" + verdict(found["difference"] <= DIFFERENCE, "≤ 1e-4"),
        ],
        ["the same: lowest cosine", f"{found['cosine']:.7f}"],
        ["encoded cells, float32 against the released code: max abs difference", f"{found['encoded_difference']:.1e}"],
        [
            "embedding, bfloat16 against float32: lowest cosine",
            f"{found['bfloat16_cosine']:.5f}" + verdict(found["bfloat16_cosine"] >= COSINE, f"≥ {COSINE}"),
        ],
        [f"the same: cells below {COSINE}", f"{found['bfloat16_below']:,} of {found['cells']:,}"],
        ["the same: cells that bfloat16 puts into another component", f"{found['bfloat16_moved']:,}"],
        ["the same: lowest cosine of the others", f"{found['bfloat16_cosine_unmoved']:.5f}"],
        ["for scale: median cosine of two different cells", f"{found['cosine_of_cells']:.4f}"],
    ]
    return f"""
{report.table(["", "cells/s", "speed", "peak memory", "of the GEMM rate"], rows)}

`CellEmbeddingPipeline.predict` as in the released tutorial (all cells in one batch, its default) against `cq.embed`;
the call alone is timed, after a warm-up on 64 cells.

A cell takes {total / 1e9:.4f} GFLOP: {flop["linear"] / total:.0%} linear layers, {flop["genes"] / total:.0%} the sum
over its genes, {flop["attention"] / total:.0%} attention. The share compares that with a plain product of 2048 × 1024
and 1024 × 1024 in the same process: {gemm[FLOAT32] / 1e9:,.0f} GFLOP/s in float32 (with which the released code is
compared too), {gemm[BFLOAT16] / 1e9:,.0f} GFLOP/s in bfloat16.

{report.table(["same answer", ""], checks)}

The embedding is compared on the {found["sure"]:,} of {found["cells"]:,} cells of which the released code's noise can't
decide the component of the mixture ({found["components"]} components in use); the encoded cells, which are what enters
the latent, on all.
"""


def step_text(bench: Bench) -> str:
    """The table of the pretraining step."""
    base = median(bench.of("step", RELEASED))
    rows = []
    for side in SIDES:
        runs = bench.of("step", side)
        seconds, memory, reach = median(runs), peak(runs), STEP_REACH.get(side)
        rows.append(
            [
                NAMES[side],
                f"{seconds:.2f} s {spread(runs, lambda s: f'{s:.2f}')}",
                f"{base / seconds:.1f}×" + (verdict(base / seconds >= reach, f"≥ {reach}×") if reach else ""),
                f"{memory / 1e9:.2f} GB" + (verdict(memory <= STEP_MEMORY, "≤ 2 GB") if side == FLOAT32 else ""),
            ]
        )
    return f"""
{report.table(["", "a step", "speed", "peak memory"], rows)}

{bench.task["step_cells"]:,} cells × {CONFIG["out_dim"]:,} genes: draw the masks, forward, backward, clip, AdamW; the
second of two steps. The released model and loss in training mode, with its share of dropped cells set to 0 (it would
leave out 30 % of them), against the objective of `cq.pretrain`. The losses differ in their constants, so their values
are not compared.
"""


def annotate_text(bench: Bench) -> str:
    """The table of the epoch of fine-tuning on labels."""
    base = median(bench.of("annotate", RELEASED))
    rows = []
    for side in SIDES:
        runs = bench.of("annotate", side)
        seconds = median(runs)
        rows.append(
            [
                NAMES[side],
                f"{seconds:.2f} s {spread(runs, lambda s: f'{s:.2f}')}",
                f"{base / seconds:.1f}×",
                f"{peak(runs) / 1e9:.2f} GB",
            ]
        )
    return f"""
{report.table(["", "an epoch", "speed", "peak memory"], rows)}

Fine-tuning of the whole model on {bench.task["label_cells"]:,} labelled cells × {CONFIG["out_dim"]:,} genes, a tenth of
them held out and scored after the epoch. An epoch is a third of what three more of them take, so what comes before and
after the training cancels; memory is that of the whole fit. `CellTypeAnnotationPipeline.fit` as in the released
tutorial, but on all genes and with no cell left out, takes one step an epoch; `cq.Annotator` with `model=` takes six.
"""


def chunk_text(bench: Bench) -> str:
    """The table of differences between batch sizes."""
    rows = [
        [
            f"{size:,}" if size < cells else f"all {cells:,}",
            f"{cells:,}",
            f"{difference:.1e}",
            f"{relative:.1e}" + (verdict(relative <= RELATIVE, "≤ 1e-5") if size < cells else ""),
        ]
        for cells, size, difference, relative in bench.runs["chunks"]["rows"]
    ]
    header = ["batch size", "cells", "max abs difference", "of the cell's largest value"]
    return f"""
{report.table(header, rows)}

float32, one tissue, against all of its cells at once.
"""


def startup_text(bench: Bench) -> str:
    """The table of start-up times."""
    found = bench.runs["startup"]
    reach = {"import": IMPORT_SECONDS, "help": HELP_SECONDS}
    names = {
        "import": "`python -c 'import celloquy'`",
        "help": "`celloquy --help`",
        "python": "`python -c pass`, which both include",
        "peer": "`python -c 'import CellPLM.pipeline.cell_embedding'`",
    }
    rows = [
        [
            text,
            f"{found[name]:.2f} s"
            + (verdict(found[name] <= reach[name], f"≤ {reach[name]} s") if name in reach else ""),
        ]
        for name, text in names.items()
    ]
    return f"""
{report.table(["", "median of 9"], rows)}
"""


def draw(bench: Bench, file: Path) -> None:
    """Three panels of bars: cells a second, seconds a step, memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    colors = dict(zip(SIDES, ("#9a9a9a", "#7fb3d5", "#1f5f8b"), strict=True))
    names = ["released", "celloquy\nfloat32", "celloquy\nbfloat16"]
    cells = bench.task["cells"]
    panels = [
        ("Embedding: cells a second", "embed", lambda runs: cells / median(runs), "{:,.0f}"),
        ("Pretraining: seconds a step", "step", median, "{:.1f}"),
        ("Embedding: peak memory (GB)", "embed", lambda runs: peak(runs) / 1e9, "{:.2f}"),
        ("Pretraining: peak memory (GB)", "step", lambda runs: peak(runs) / 1e9, "{:.2f}"),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 3.4))
    for axis, (title, kind, measure, form) in zip(axes, panels, strict=True):
        values = [measure(bench.of(kind, side)) for side in SIDES]
        bars = axis.bar(names, values, color=[colors[side] for side in SIDES], width=0.7)
        axis.bar_label(bars, [form.format(value) for value in values], padding=2, fontsize=9)
        axis.set_title(title, fontsize=10)
        axis.margins(y=0.12)
        axis.tick_params(axis="x", labelsize=8, length=0)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def median(runs: list[Run]) -> float:
    """Median seconds."""
    return statistics.median(run["seconds"] for run in runs)


def spread(runs: list[Run], form: Callable[[float], str]) -> str:
    """The range of the runs, in brackets."""
    seconds = [run["seconds"] for run in runs]
    low, high = form(min(seconds)), form(max(seconds))
    return f"[{high}–{low}]" if float(high.replace(",", "")) < float(low.replace(",", "")) else f"[{low}–{high}]"


def memory_of(run: Run) -> int:
    """Peak memory of a run, before the products that measure the machine."""
    return run.get("embedding_memory", run["peak_memory"])


def peak(runs: list[Run]) -> float:
    """Median peak memory."""
    return statistics.median(map(memory_of, runs))


def verdict(reached: bool, reach: str) -> str:
    """Say plainly whether a figure reaches what it shall."""
    return f" (reach {reach}: {'yes' if reached else '**falls short**'})"


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
