"""Time and memory of the verbs of genes at 100,000 cells: results/54-scale.md.

Usage: python benchmarks/genes/scale.py [--cells 10000 100000]

Cells are drawn: 2,000 human genes, some 190 expressed in each, two states that differ in fifty genes. Each call reads
them from a file in a process of its own, on one thread; memory is the peak of that process.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import celloquy as cq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

GENES, COUNTS = 2000, 150
CALLS = {
    "reading one cell": lambda file: ad.read_h5ad(file, backed="r")[:1].to_memory(),
    'infer_network, "auto"': lambda file: cq.infer_network(file, progress=False),
    'infer_network, "auto", by state': lambda file: cq.infer_network(file, by="state", progress=False),
    "perturb 5 genes, genes-mini": lambda file: cq.perturb(file, named(file)[:5], n_random=10, progress=False),
    "perturb 5 genes, cells-mini": lambda file: cq.perturb(
        file, named(file)[:5], model="cells-mini", n_random=10, progress=False
    ),
    "rank_drivers, 100 candidates": lambda file: cq.rank_drivers(
        file, source="one", target="other", by="state", candidates=named(file)[:100], n_random=10, progress=False
    ),
}


def named(file: str) -> list[str]:
    """Return the genes of a file."""
    return ad.read_h5ad(file, backed="r").var_names.tolist()


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--call", help="measure this call alone, on the file --file")
    parser.add_argument("--file")
    options = parser.parse_args()
    if options.call:
        began = time.perf_counter()
        CALLS[options.call](options.file)
        # What the kernel counts as the most of a child begins with that of its parent.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        print(time.perf_counter() - began, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**10)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = [drawn(n, Path(folder) / f"{n}.h5ad") for n in options.cells]
        sizes = ", ".join(f"{file.stat().st_size / 2**20:.0f} MiB" for file in files)
        for name in CALLS:
            row: list[object] = [name]
            for file in files:
                asked = [sys.executable, __file__, "--call", name, "--file", str(file)]
                seconds, peak = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-2:]
                row += [f"{float(seconds):.0f}", f"{float(peak):,.0f}"]
            rows.append(row)
            print(row, flush=True)
    header = ["call"] + [f"{what}, {n:,} cells" for n in options.cells for what in ("seconds", "MiB")]
    body = f"""{GENES:,} genes, some 190 expressed in each cell; files of {sizes}. One thread, on a machine that did
other work. Memory is the peak of the process, of which the first row says what Python, torch and the packages take.

{report.table(header, rows)}

`infer_network` reads 5,000 cells of each group, `perturb` 200, `rank_drivers` 500 of each state; the others are passed
over as they stream by."""
    report.write_section(
        "54-scale", "Genes at work in 100,000 cells", body, command="python benchmarks/genes/scale.py",
        folder=Path(__file__).resolve().parent / "results",
    )  # fmt: skip


def drawn(cells: int, file: Path) -> Path:
    """Write drawn cells to a file."""
    known = [
        symbol
        for _, _, symbol, species in cq.Model.from_pretrained("genes-mini").vocabulary.genes()
        if symbol and species == "human"
    ]
    factors = cq.genes.transcription_factors("human")
    from celloquy.genes.identify import symbol_of

    first = [name for name in map(symbol_of, factors) if name in set(known)][:200]
    names = list(dict.fromkeys([*first, *known]))[:GENES]
    random = np.random.default_rng(0)
    level = 0.1 + random.gamma(0.5, 1, GENES)
    other = np.arange(cells) % 2 == 1
    blocks = []
    for start in range(0, cells, 10_000):
        own = other[start : start + 10_000]
        mean = np.outer(random.gamma(8, 1 / 8, len(own)), level * COUNTS / GENES / (level / (1 + level)).mean())
        mean[np.ix_(own, np.arange(50))] *= 2
        blocks.append(sparse.csr_matrix(random.poisson(mean * 0.7).astype(np.float32)))
    adata = ad.AnnData(sparse.vstack(blocks, format="csr"), var=pd.DataFrame(index=names))
    adata.obs_names = [f"cell {number}" for number in range(cells)]
    adata.obs["state"] = np.where(other, "other", "one")
    adata.write_h5ad(file)
    return file


if __name__ == "__main__":
    main()
