"""How well the demo's embedding separates the known cell types, against PCA: the README's figure.

Usage: python benchmarks/demo_quality.py [--seeds 5]

Embeds scanpy's 700 blood cells by the model in the box, and by one trained on them for each seed, and scores the
clusters as scripts/demo.py does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

import celloquy as cq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import demo

LABEL = "bulk_labels"


def main() -> None:
    """Print a row for the model in the box, for PCA and for every seed, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    adata = demo.load(None)
    demo.pca(adata)
    rows = [demo.cluster(adata, "X_pca", "pca", LABEL)]
    cq.embed(adata, progress=False)
    rows.append(demo.cluster(adata, "X_celloquy", "cells-mini", LABEL))
    for seed in range(seeds):
        cq.embed(adata, model=cq.pretrain([adata], config="mini", seed=seed, progress=False), progress=False)
        rows.append(demo.cluster(adata, "X_celloquy", "scratch", LABEL) | {"seed": seed})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(table.groupby("embedding")[["ARI", "NMI"]].median().to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
