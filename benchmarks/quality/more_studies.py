"""What more studies and more factors are worth to the model in the box: results/more_studies.md, more_studies.png.

Usage: python benchmarks/quality/more_studies.py --data FOLDER [--seeds 3] [--factors FACTORS …] [--report]

FOLDER holds the corpus of scripts/make_models.py. Blood, lymph node, lung tumours and hippocampus are held out, with
every file of the same study; of the others an eighth, a quarter, a half or all are learned from, drawn by a seed, with
25 to 400 factors. Measured on the held-out studies: the share of the variance of hidden genes that the other genes do
not explain (half of the genes are hidden; the held-out loss), and the macro F1 of nearest neighbours without adaptation
and with it. A run that is in the cache folder is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import peers
import torch
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

import celloquy as cq
from celloquy.data import CellBatch
from celloquy.models.factors import FactorModel, FactorModelConfig
from celloquy.models.factors.adapted import dense
from celloquy.nn.factors import posterior_map

sys.path.insert(0, str(peers.HERE.parent))
sys.path.insert(0, str(peers.HERE.parents[1] / "scripts"))
import report
from make_models import STUDIES, read_studies

HELD_OUT = {
    "scrna/pbmc_sorted_mudan": "blood",
    "scrna/lymph_node_ref": "lymph node",
    "scrna/nsclc_zilionis": "lung tumour",
    "scrna/rctd_hippocampus_ref": "hippocampus",
}
SAME_STUDY = (
    "scrna/pbmc_frozen_donor_a",
    "spatial/lymph_node_visium",
    "cross_species/lung_tumour_zilionis_mouse",
    "spatial/rctd_visium_hippocampus",
)
SHARES = (0.125, 0.25, 0.5, 1.0)
WIDTHS = (25, 50, 100, 200, 400)
ADAPTED = 100
"""Factors of the models that are adapted, too, which takes seconds a study: the usual number."""
FOLDER = peers.CACHE / "more_studies"
PLOT = "![variance left and macro F1, by number of studies](results/more_studies.png)"
SHOWS = (
    "More studies help most: from two to fifteen, the macro F1 without adaptation rises by a tenth, and has not "
    "levelled off. The more factors there are, the more studies they need: 400 factors of two studies predict hidden "
    "genes worse than their mean. A hundred factors, as in the box, are as good as any from eight studies on. Adapted "
    "to the cells at hand, the model hardly depends on how many studies it has read."
)


def main() -> None:
    """Measure, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--factors", type=int, nargs="+", default=WIDTHS, choices=WIDTHS)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not options.report:
        measure(options)
    found = pd.DataFrame([json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))])
    write(found.groupby(["studies", "factors"]).mean().reset_index(), options)


def measure(options: argparse.Namespace) -> None:
    """Write one file a share of the studies, seed and number of factors."""
    learned = [name for name in STUDIES if name not in HELD_OUT and name not in SAME_STUDY]
    vocabulary, batches = read_studies(options.data, [*learned, *HELD_OUT])
    corpus, held_out = batches[: len(learned)], batches[len(learned) :]
    cells = [ad.read_h5ad(options.data / f"{name}.h5ad") for name in HELD_OUT]
    for share in SHARES:
        for seed in range(options.seeds if share < 1 else 1):
            chosen = np.random.default_rng(seed).permutation(len(corpus))[: max(1, round(share * len(corpus)))]
            studies = [corpus[place] for place in sorted(chosen)]
            for width in options.factors:
                file = FOLDER / f"{share}-{seed}-{width}.json"
                if file.exists():
                    continue
                model = FactorModel.fit(studies, vocabulary, FactorModelConfig(width=width))
                row = {"studies": len(studies), "factors": width}
                row["unexplained"] = float(np.mean([unexplained(model, batch) for batch in held_out]))
                row["zero-shot"] = float(np.mean([neighbours(one, model, adapt=False) for one in cells]))
                if width == ADAPTED:
                    row["adapted"] = float(np.mean([neighbours(one, model, adapt=True) for one in cells]))
                file.write_text(json.dumps(row))
                print(share, seed, row, flush=True)


@torch.no_grad()
def unexplained(model: FactorModel, batch: CellBatch) -> float:
    """Return the share of the variance of hidden genes that is left when the other genes have predicted them."""
    known = torch.nonzero(batch.measured.all(0) & (model.noise > 0))[:, 0]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(known)))
    seen, hidden = known[order[::2]], known[order[1::2]]
    values = {name: dense(batch, genes) for name, genes in (("seen", seen), ("hidden", hidden))}
    centred = {name: one - one.mean(0) for name, one in values.items()}
    everything = torch.ones(len(seen), dtype=torch.bool)
    factors = centred["seen"] @ posterior_map(model.loadings[seen], model.noise[seen], everything)
    left = centred["hidden"] - factors @ model.loadings[hidden].T
    return float(left.square().sum() / centred["hidden"].square().sum())


def neighbours(cells: ad.AnnData, model: FactorModel, *, adapt: bool) -> float:
    """Return the macro F1 of nearest neighbours, five folds."""
    label = cells.obs["cell_type"].astype(str).to_numpy()
    embedding = cq.embed(cells, model=model, adapt=adapt, progress=False, copy=True).obsm["X_celloquy"]
    classifier = KNeighborsClassifier(min(15, max(3, len(label) // 20)))
    found = cross_val_predict(classifier, embedding, label, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    return float(f1_score(label, found, average="macro"))


def write(found: pd.DataFrame, options: argparse.Namespace) -> None:
    """Write the table and the plot."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    for axis, column, name in zip(
        axes, ("unexplained", "zero-shot"), ("variance of hidden genes left", "macro F1, zero-shot"), strict=True
    ):
        for width, part in found.groupby("factors"):
            axis.plot(part["studies"], part[column], marker="o", label=f"{width} factors")
        axis.set(xlabel="studies learned from", ylabel=name, xscale="log")
        axis.set_xticks(sorted(found["studies"].unique()), sorted(found["studies"].unique()), minor=False)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(peers.HERE / "results" / "more_studies.png", dpi=120)
    blocks = []
    for column, name in (
        ("unexplained", "**Share of the variance of hidden genes that is left**"),
        ("zero-shot", "**Macro F1 of nearest neighbours, zero-shot**"),
    ):
        wide = found.pivot_table(column, "studies", "factors")
        lines = [[str(n), *(f"{value:.3f}" for value in row)] for n, row in zip(wide.index, wide.values, strict=True)]
        blocks.append(f"{name}\n\n" + report.table(["studies", *(f"{w} factors" for w in wide.columns)], lines))
    usual = found[found["factors"] == ADAPTED]
    lines = [[str(n), f"{score:.3f}"] for n, score in zip(usual["studies"], usual["adapted"], strict=True)]
    blocks.append(f"**The same, adapted, {ADAPTED} factors**\n\n" + report.table(["studies", "macro F1"], lines))
    report.write_section(
        "more_studies", "More studies, more factors", "\n\n".join([SHOWS, PLOT, *blocks]),
        command=f"python benchmarks/quality/more_studies.py --data FOLDER --seeds {options.seeds}",
        folder=peers.HERE / "results", caption="mean over blood, lymph node, lung tumour and hippocampus, held out",
    )  # fmt: skip


if __name__ == "__main__":
    main()
