"""Models of both families on a GPU: speed, share of its peak, memory, and when dense products pay.

Usage: python benchmarks/gpu.py [--cells 100000] [--gene-cells 64] [--device cuda] [--runs 5]

Runs unattended; writes the section "On a GPU" of RESULTS.md. Cells and weights are random, as those of peer.py and
gene_model.py: the cell model of 85 million parameters, and the gene model's base and mini shapes. End to end is
`cq.embed` of an AnnData in memory; a training step is that of pretraining, from cells in memory to the new weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import gene_model_worker
import peer_worker
import report
import torch
from random_cells import random_cells
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.nn import densify
from celloquy.nn.masking import BiLevelMask
from celloquy.runtime.hardware import PRODUCTS, autocast
from celloquy.training.masked_counts import MaskedCounts

GENES, GENES_A_CELL = 19_374, 2_100
DRAWN = 2_500
"""Cells that are drawn; more are these again."""
ALONE = 10_000
"""Cells of the cell model alone, which are on the device all at once."""
DENSITIES = (25, 50, 100, 200, 400, 800, 1600)
SUMMED_CELLS = 2048
STEP_CELLS = {"cell model, base": 4_000, "gene model, base": 64, "gene model, mini": 256}
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument(
        "--gene-cells", type=int, default=256, help="cells of the gene model, base; forty times for mini"
    )
    parser.add_argument("--step-share", type=float, default=1.0, help="share of the cells of a training step")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the sections of the report go")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU that torch can use here; --device cpu tries the script.")
    drawn = random_cells(min(options.cells, DRAWN), GENES, GENES_A_CELL, options.seed)
    peaks = {precision: gemm_rate(precision, device) for precision in PRECISIONS}
    found, sums = [], []
    for name in STEP_CELLS:
        model = made(name, drawn)
        if name.startswith("cell"):
            sums = [time_sums(model, genes, device, options.runs) for genes in DENSITIES]
            print(json.dumps({"peaks": peaks, "sums": sums}), file=sys.stderr, flush=True)
        for precision in PRECISIONS:
            found.append({"model": name, "precision": precision})
            found[-1] |= measure(name, model, drawn, precision, device, options)
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
            # What is done stands, should the time end.
            write(found, sums, peaks, options)


def made(name: str, cells: Any) -> Any:
    """Return a model with random weights."""
    torch.manual_seed(0)
    vocabulary = cq.GeneVocabulary.from_ids(cells.var_names.tolist())
    if name.startswith("cell"):
        return cq.CellModel(cq.CellModelConfig.preset("base"), vocabulary)
    model = cq.GeneModel(cq.GeneModelConfig.preset(name.split(", ")[1]), vocabulary)
    model.survey([CellSource(cells).over(vocabulary).read(0, min(500, cells.n_obs))])
    return model


def measure(
    name: str, model: Any, drawn: Any, precision: Any, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the cells a second end to end and alone, the rate of operations, a step's milliseconds, and memory."""
    cell_model = name.startswith("cell")
    wanted = {"cell model, base": options.cells, "gene model, base": options.gene_cells}
    cells = repeated(drawn, wanted.get(name, 64 * options.gene_cells))
    how = {"model": model, "precision": precision, "device": str(device), "progress": False}
    found = {"end to end": cells.n_obs / timed(lambda: cq.embed(cells, **how), options.runs, device)}
    model.to(device).eval()
    reader = CellSource(cells).over(model.vocabulary)
    batch = reader.read(0, min(ALONE, cells.n_obs))
    with torch.inference_mode(), autocast(precision, device):
        if cell_model:
            here = batch.to(device)
            seconds, held = alone(lambda: model.embed_batch(here), options.runs, device)
            flop = len(here) * sum(peer_worker.flop_a_cell(model, len(here.values) / len(here)).values())
        else:
            tokens, tables = model.tokens_of(batch), {0: model.table(0)}
            most = 2**16
            seconds, held = alone(lambda: model.embed_tokens(tokens, tables, most), options.runs, device)
            flop = gene_model_worker.flop(model.config, tokens.lengths.tolist())
    found |= {"alone": len(batch) / seconds, "flop": flop / seconds, "memory": held}
    some = repeated(drawn, max(2, round(options.step_share * STEP_CELLS[name])))
    return found | time_step(model, some, precision, device, options.runs)


def repeated(drawn: Any, cells: int) -> Any:
    """Return so many cells: the drawn ones, again and again."""
    times = -(-cells // drawn.n_obs)
    counts = sparse.vstack([drawn.X] * times, format="csr")[:cells] if times > 1 else drawn.X[:cells]
    again = ad.AnnData(counts, var=drawn.var)
    again.obs_names = [str(number) for number in range(cells)]
    return again


def time_step(model: Any, cells: Any, precision: Any, device: torch.device, runs: int) -> dict[str, float]:
    """Return the milliseconds of a step of pretraining as the training loop takes it, and its memory."""
    batch = CellSource(cells).over(model.vocabulary).read_all()
    mask = BiLevelMask.draw(len(batch), model.pretraining_masking, seed=0)
    objective = MaskedCounts(model, precision).to(device).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        objective(batch.to(device), mask.to(device))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0).item()
        optimizer.step()
        optimizer.zero_grad()

    seconds, held = alone(step, runs, device)
    return {"step": 1000 * seconds, "step memory": held}


def alone(call: Callable[[], object], runs: int, device: torch.device) -> tuple[float, int]:
    """Return the median seconds of a call, and the most memory that tensors have."""
    if device.type != "cuda":
        return timed(call, runs, device), peer_worker.peak_memory()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return timed(call, runs, device), torch.cuda.max_memory_allocated(device)


def gemm_rate(precision: Any, device: torch.device) -> float:
    """Return the operations a second of square products."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=PRODUCTS[precision]) for _ in range(2))
    return 2 * size**3 / timed(lambda: torch.mm(left, right), 10, device)


def time_sums(model: Any, genes: int, device: torch.device, runs: int) -> dict[str, Any]:
    """Seconds of the sum over the genes of cells with so many counts, gathered and as dense products."""
    random = torch.Generator().manual_seed(genes)
    indices = torch.stack([torch.randperm(GENES, generator=random)[:genes] for _ in range(SUMMED_CELLS)])
    values = torch.ones(SUMMED_CELLS * genes, device=device)
    indptr = torch.arange(0, SUMMED_CELLS * genes + 1, genes, device=device)
    counts = indices.sort(1).values.flatten().to(device, torch.int32), indptr, values
    embedder, before = model.to(device).embedder, dict(densify.DENSE_FROM)
    times = {}
    with torch.inference_mode():
        table = embedder.table(torch.bfloat16, values.numel())
        for way, least in (("gathered", sys.maxsize), ("dense", 0)):
            densify.DENSE_FROM[device.type] = least
            whole = table if way == "gathered" else [embedder.gene.to(torch.bfloat16)]
            times[way] = timed(lambda whole=whole: embedder.gene_sum(*counts, whole), runs, device)
    densify.DENSE_FROM.clear()
    densify.DENSE_FROM.update(before)
    return {"genes": genes, **times}


def timed(call: Callable[[], object], runs: int, device: torch.device) -> float:
    """Median seconds of a call, after a first one."""
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def write(
    found: list[dict[str, Any]], sums: list[dict[str, Any]], peaks: dict[str, float], options: argparse.Namespace
) -> None:
    """Write the section."""
    rows = [
        [
            f"{one['model']}, {one['precision']}", f"{one['end to end']:,.0f}", f"{one['alone']:,.0f}",
            f"{one['flop'] / peaks[one['precision']]:.0%}", f"{one['memory'] / 1e9:.2f} GB",
            f"{one['step']:,.1f} ms", f"{one['step memory'] / 1e9:.2f} GB",
        ]
        for one in found
    ]  # fmt: skip
    columns = ["cells/s, end to end", "cells/s, model alone", "of the GEMM rate", "memory", "training step", "memory"]
    summed = [[one["genes"], *(f"{SUMMED_CELLS / one[way]:,.0f}" for way in ("gathered", "dense"))] for one in sums]
    steps = ", ".join(f"{round(options.step_share * cells):,} ({name})" for name, cells in STEP_CELLS.items())
    body = f"""
{report.table(["", *columns], rows)}

{GENES:,} genes, about {GENES_A_CELL:,} counts a cell, one tissue. End to end is `cq.embed` of an AnnData in memory:
{options.cells:,} cells for the cell model ({DRAWN:,} drawn ones, again and again), {options.gene_cells:,} and
{64 * options.gene_cells:,} for the gene models, base and mini; the model alone has {ALONE:,} cells on the device, or
the tokens of the gene model's in memory. A training step, from cells in memory to the new weights, has {steps}
cells. The GEMM rate is that of square products there,
{" and ".join(f"{rate / 1e12:,.1f} TFLOP/s in {precision}" for precision, rate in peaks.items())}. Medians of
{options.runs} runs, torch {torch.__version__}, {report.cores()} cores.

{report.table(["genes a cell", "cells/s, gathered", "cells/s, dense products"], summed)}

The sum over the genes of {SUMMED_CELLS:,} cells in bfloat16; `celloquy.nn.densify` changes over at
{densify.DENSE_FROM["cuda"]} genes a cell.
"""
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else report.machine()
    report.write_section(
        "70-gpu", "On a GPU", body, command="python benchmarks/gpu.py", caption=name, folder=options.out
    )


if __name__ == "__main__":
    main()
