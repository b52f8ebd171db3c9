"""The report of peer.py: tables, checks and the plot, with what the project wants to reach beside each figure."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import report
from peer_bench import Bench, Run, memory_of

RELEASED, FLOAT32, BFLOAT16 = "released", "float32", "bfloat16"
SIDES = (RELEASED, FLOAT32, BFLOAT16)
NAMES = {RELEASED: "CellPLM 0.1.0.post2", FLOAT32: "celloquy, float32", BFLOAT16: "celloquy, bfloat16"}

# The reach of the project: how many times faster, in how much memory.
EMBED_REACH = {FLOAT32: 4, BFLOAT16: 10}
STEP_REACH = {FLOAT32: 6, BFLOAT16: 12}
EMBED_MEMORY, STEP_MEMORY = 1.2e9, 2e9
DIFFERENCE, COSINE, ROOFLINE, RELATIVE = 1e-4, 0.9999, 0.6, 1e-5
IMPORT_SECONDS, HELP_SECONDS = 0.5, 0.7


def write(bench: Bench, folder: Path, parts: Sequence[str], peer_python: Path, *, whole: bool) -> None:
    """Write the sections of the parts that were measured; of all of them (`whole`) the figures and the plot, too."""
    command = "make bench" if sys.argv[1:] in ([], ["--resume"]) else f"python {' '.join(sys.argv)}"
    folder.mkdir(parents=True, exist_ok=True)
    common = {"command": command, "folder": folder}
    if whole:
        # Where the files lie on this machine says nothing of the measurement.
        task = {name: value for name, value in bench.task.items() if not isinstance(value, str)}
        (folder / "peer.json").write_text(json.dumps({"settings": task, "runs": bench.runs}, indent=1) + "\n")
        draw(bench, folder / "peer.png")
        report.write_section("00-setup", "Beside the released CellPLM", setup_text(bench, peer_python), **common)
    sections = {
        "embed": ("10-embed", "Embedding", embed_text),
        "step": ("20-train", "A step of pretraining", step_text),
        "annotate": ("27-annotate", "An epoch of annotation", annotate_text),
        "chunks": ("30-chunks", "The embedding does not depend on the batch size", chunk_text),
        "startup": ("40-startup", "Start-up", startup_text),
    }
    for part in parts:
        name, title, text = sections[part]
        report.write_section(name, title, text(bench), **common)
    print(f"Written: {report.assemble(folder)}", file=sys.stderr)


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
- **Cells**: {task["cells"]:,} synthetic cells × {genes_of(bench):,} genes, {cells["genes_a_cell"]:,.0f} genes and
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
compared too), {gemm[BFLOAT16] / 1e9:,.0f} GFLOP/s in bfloat16. celloquy merges the attention's own products into
those of the linear layers, and its share counts them none the less.

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

{bench.task["step_cells"]:,} cells × {genes_of(bench):,} genes: draw the masks, forward, backward, clip, AdamW; the
last of three steps. The released model and loss in training mode, with its share of dropped cells set to 0 (it would
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

Fine-tuning of the whole model on {bench.task["label_cells"]:,} labelled cells × {genes_of(bench):,} genes, a tenth of
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


def genes_of(bench: Bench) -> int:
    """Genes of the model, which all cells have."""
    return bench.task["config"]["out_dim"]


def median(runs: list[Run]) -> float:
    """Median seconds."""
    return statistics.median(run["seconds"] for run in runs)


def spread(runs: list[Run], form: Callable[[float], str]) -> str:
    """The range of the runs, in brackets."""
    seconds = [run["seconds"] for run in runs]
    low, high = form(min(seconds)), form(max(seconds))
    return f"[{high}–{low}]" if float(high.replace(",", "")) < float(low.replace(",", "")) else f"[{low}–{high}]"


def peak(runs: list[Run]) -> float:
    """Median peak memory."""
    return statistics.median(map(memory_of, runs))


def verdict(reached: bool, reach: str) -> str:
    """Say plainly whether a figure reaches what it shall."""
    return f" (reach {reach}: {'yes' if reached else '**falls short**'})"
