"""Pretraining in bfloat16 beside float32: the loss curves of the same cells and seeds.

Usage: python benchmarks/training_precision.py [--seeds 3] [--config small] [--epochs 60]

Trains on scanpy's 700 blood cells and writes the section "Training in bfloat16" of RESULTS.md with its plot.
"""

from __future__ import annotations

import argparse

import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
from report import RESULTS, table, write_section

import celloquy as cq

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Train with every seed in both precisions and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", default="small")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    adata = cq.recover_counts(sc.datasets.pbmc68k_reduced())
    histories = []
    for seed in range(options.seeds):
        for precision in PRECISIONS:
            model = cq.pretrain(
                adata, config=options.config, epochs=options.epochs, training=cq.TrainingOptions(patience=None),
                seed=seed, precision=precision, progress=False,
            )  # fmt: skip
            histories.append(model.history.assign(seed=seed, precision=precision))
    found = pd.concat(histories)
    curves = found.pivot_table(index=["seed", "epoch"], columns="precision", values="validation")
    best = curves.groupby("seed").min()
    # How far apart the seeds are in one precision is the noise that the precisions are held against.
    noise = curves["float32"].unstack("seed").std(axis=1).mean()
    between = (curves["bfloat16"] - curves["float32"]).abs().mean()
    rows = [[seed, f"{best['float32'][seed]:.2f}", f"{best['bfloat16'][seed]:.2f}"] for seed in best.index]
    rows.append(["mean", f"{best['float32'].mean():.2f}", f"{best['bfloat16'].mean():.2f}"])
    body = f"""The `{options.config}` model on 700 blood cells, {options.epochs} epochs: the lowest loss on
held-out cells.

{table(["seed", *PRECISIONS], rows)}

Over all epochs the curves of the two precisions are {between:.2f} apart on average for the same seed;
those of different seeds, which hold out other cells, vary in float32 by a standard deviation of {noise:.2f}.

![held-out loss by epoch](results/training_precision.png)
"""
    draw(found)
    write_section("25-precision", "Training in bfloat16", body, command="python benchmarks/training_precision.py")


def draw(found: pd.DataFrame) -> None:
    """Plot the held-out loss by epoch, a line for each seed and precision."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for precision, color in zip(PRECISIONS, ("C0", "C1"), strict=True):
        for seed, run in found[found["precision"] == precision].groupby("seed"):
            label = precision if seed == 0 else None
            axis.plot(run["epoch"], run["validation"], color=color, label=label, alpha=0.8, linewidth=1.2)
    # The first epochs are far above the rest.
    late = found[found["epoch"] > 3]["validation"]
    axis.set(xlabel="epoch", ylabel="loss on held-out cells", ylim=(late.min() - 2, np.quantile(late, 0.97)))
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "training_precision.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
