"""What flow attention reads in real tissue: results/context.md.

Usage: python benchmarks/quality/context.py --data FOLDER [--seeds 3]

A cell model is trained from scratch on the three slices of mouse cortex (STARmap), with and without positions, and
`cq.context` tells how much each type of cell, and each interval of distances, gets of what the cells read.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

HERE = Path(__file__).resolve().parent
KEYS = {"tissue_key": "slice", "spatial_key": "spatial"}

NOTE = """Weight over an even reading: 1 is no preference. `between types read` is the deviation over the types that are
read, of a type's mean over all readers: whom all read alike. `between readers` is the mean deviation, over the types
that read, of the same type: whom some read more than others do. `nearest` are cells of the nearest interval of
distances. `added` is the length of what attention adds to a cell's vector over the length of that vector. Mean ±
deviation over seeds."""


def main() -> None:
    """Measure with every seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    adata = ad.read_h5ad(options.data / "spatial" / "starmap_mpfc.h5ad")
    rows, types = [], []
    for positions in (True, False):
        for seed in range(options.seeds):
            found, by_type = measure(adata, positions, seed)
            rows.append({"model": "positions" if positions else "no positions", **found})
            if positions:
                types.append(by_type)
            print(rows[-1], file=sys.stderr, flush=True)
    write(pd.DataFrame(rows), pd.concat(types, axis=1))


def measure(adata: ad.AnnData, positions: bool, seed: int) -> tuple[dict[str, float | str], pd.Series]:
    """Train a model, and tell what it reads; the second is the ratio of each type that is read."""
    config = cq.CellModelConfig(positions=positions)
    given = KEYS if positions else {"tissue_key": "slice"}
    model = cq.pretrain(adata, config=config, seed=seed, progress=False, **given)
    table = cq.context(adata, labels="cell_type", model=model, progress=False, **KEYS)
    ratios = table[table["kind"] == "label"].pivot(index="group", columns="read", values="ratio")
    near = table[(table["kind"] == "distance")].groupby("group", observed=True)["ratio"].first()
    found = {
        "between types read": ratios.mean().std(),
        "between readers": ratios.std().mean(),
        "nearest": float(near.mean()),
        "added": table.groupby("group", observed=True)["strength"].first().mean(),
    }
    return found, ratios.mean()


def write(rows: pd.DataFrame, types: pd.DataFrame) -> None:
    """Write the two tables."""
    figures = [one for one in rows if one != "model"]

    def shown(values: pd.Series | np.ndarray) -> str:
        return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"

    read = [[name, *(shown(own[one]) for one in figures)] for name, own in rows.groupby("model", sort=False)]
    order = types.mean(axis=1).sort_values(ascending=False).index
    by_type = [[name, shown(types.loc[name].to_numpy())] for name in order]
    body = "\n\n".join(
        [
            NOTE,
            report.table(["", *figures], read),
            "How much all read a type, by the model with positions:",
            report.table(["type that is read", "weight over an even reading"], by_type),
        ]
    )
    report.write_section(
        "context", "What flow attention reads", body,
        command="python benchmarks/quality/context.py --data FOLDER", folder=HERE / "results",
    )  # fmt: skip


if __name__ == "__main__":
    main()
