"""The published 85-million-parameter shape on a GPU: speed, share of its peak, memory, and when dense products pay.

Usage: python benchmarks/gpu.py [--cells 10000] [--device cuda] [--runs 5]

Runs unattended; writes the section "On a GPU" of RESULTS.md. Cells and weights are random, as those of peer.py.
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

import peer_worker
import report
import torch
from random_cells import random_cells

import celloquy as cq
from celloquy.data import CellSource
from celloquy.nn import densify
from celloquy.runtime.hardware import PRODUCTS, autocast

GENES, GENES_A_CELL = 19_374, 2_100
DENSITIES = (25, 50, 100, 200, 400, 800, 1600)
SUMMED_CELLS = 2048


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="where the sections of the report go")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU that torch can use here; --device cpu tries the script.")
    adata = random_cells(options.cells, GENES, GENES_A_CELL, options.seed)
    torch.manual_seed(options.seed)
    model = cq.CellModel(cq.CellModelConfig.preset("base"), cq.GeneVocabulary.from_ids(adata.var_names.tolist()))
    found = [measure(model, adata, precision, device, options.runs) for precision in ("float32", "bfloat16")]
    sums = [time_sums(model, genes, device, options.runs) for genes in DENSITIES]
    print(json.dumps({"embedding": found, "sums": sums}), file=sys.stderr)
    flop = sum(peer_worker.flop_a_cell(model, adata.X.nnz / adata.n_obs).values())
    write(found, sums, flop, options)


def measure(model: Any, adata: Any, precision: Any, device: torch.device, runs: int) -> dict[str, Any]:
    """Seconds of the whole call and of the model alone, the rate of products, and the memory."""
    how = {"model": model, "precision": precision, "device": str(device), "progress": False}
    whole = timed(lambda: cq.embed(adata, **how), runs, device)
    model.to(device).eval()
    batch = CellSource(adata).over(model.vocabulary).read(0, adata.n_obs).to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    @torch.inference_mode()
    def alone() -> None:
        with autocast(precision, device):
            model.embed_batch(batch)

    found = {"precision": precision, "whole": whole, "alone": timed(alone, runs, device)}
    found["memory"] = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peer_worker.peak_memory()
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=PRODUCTS[precision]) for _ in range(2))
    return found | {"peak": 2 * size**3 / timed(lambda: torch.mm(left, right), 10, device)}


def time_sums(model: Any, genes: int, device: torch.device, runs: int) -> dict[str, Any]:
    """Seconds of the sum over the genes of cells with so many counts, gathered and as dense products."""
    random = torch.Generator().manual_seed(genes)
    indices = torch.stack([torch.randperm(GENES, generator=random)[:genes] for _ in range(SUMMED_CELLS)])
    values = torch.ones(SUMMED_CELLS * genes, device=device)
    indptr = torch.arange(0, SUMMED_CELLS * genes + 1, genes, device=device)
    counts = indices.sort(1).values.flatten().to(device, torch.int32), indptr, values
    embedder, before = model.embedder, dict(densify.DENSE_FROM)
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


def write(found: list[dict[str, Any]], sums: list[dict[str, Any]], flop: float, options: argparse.Namespace) -> None:
    """Write the section."""
    rows = [
        [
            f"celloquy, {one['precision']}", f"{options.cells / one['whole']:,.0f}",
            f"{options.cells / one['alone']:,.0f}", f"{flop * options.cells / one['alone'] / one['peak']:.0%}",
            f"{one['memory'] / 1e9:.2f} GB",
        ]
        for one in found
    ]  # fmt: skip
    summed = [[one["genes"], *(f"{SUMMED_CELLS / one[way]:,.0f}" for way in ("gathered", "dense"))] for one in sums]
    body = f"""
{report.table(["", "cells/s, end to end", "cells/s, model alone", "of the GEMM rate", "memory of the model"], rows)}

{options.cells:,} cells × {GENES:,} genes, about {GENES_A_CELL:,} counts a cell, one tissue. End to end is `cq.embed` of
an AnnData in memory; the model alone has the cells on the device. The GEMM rate is that of square products there,
{" and ".join(f"{one['peak'] / 1e12:,.1f} TFLOP/s in {one['precision']}" for one in found)}.

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
