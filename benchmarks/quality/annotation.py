"""Annotation against the tools that its users would otherwise pick: results/annotation.md.

Usage: python benchmarks/quality/annotation.py --data FOLDER [--seeds 5] [--only METHOD] [--sets SET] [--report]

FOLDER holds the h5ad files named below. Every method sees the same training and test cells, raw counts over all genes
that both have; peers run at their documented defaults in an environment of their own. For every seed a set is split
anew, stratified, 70 % to train; of two sets, 90 % of the reference's cells are drawn. Then each type of a set is hidden
from the reference, and the cells of that type are to be told by their low confidence, with at
most 800 training cells. What is measured is kept in the
cache folder, one file a run; a run that is there is not repeated. --report writes the table from what is there, and
from the table before for runs that are not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import peers

import celloquy as cq
from celloquy.evaluate import score_annotation, unknown_auroc

sys.path.insert(0, str(peers.HERE.parent))
import report

OURS = "celloquy"
METHODS = (OURS, "CellTypist", "logistic regression, log counts", "logistic regression, PCA", "kNN, PCA", "scANVI")

# name: training file, test file (None: split), label column
SETS = {
    "PBMC 3k, split": ("scrna/pbmc3k.h5ad", None, "cell_type"),
    "CEL-seq2 → Drop-seq": ("scrna/mix_celseq2.h5ad", "scrna/mix_dropseq.h5ad", "cell_type"),
    "Drop-seq → CEL-seq2": ("scrna/mix_dropseq.h5ad", "scrna/mix_celseq2.h5ad", "cell_type"),
    "5 lines, plate 1 → 2": ("scrna/mix_celseq2_5cl_p1.h5ad", "scrna/mix_celseq2_5cl_p2.h5ad", "cell_type"),
    "breast tumours, split": ("scrna/breast_wu.h5ad", None, "cell_type"),
}

FOLDER = peers.CACHE / "annotation"

SEEDS = 5

HIDING_CELLS = 800
"""Training cells, at most, where types are hidden: there are many such runs."""


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--tasks", nargs="+", default=["label", "unknown"], choices=["label", "unknown"])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.report:
        measure(options)
    write(options)


def jobs(task: str, options: argparse.Namespace) -> Iterator[tuple[str, int, str | None]]:
    """Set, seed and hidden type of every run of a task."""
    for name in options.sets:
        if task == "label":
            yield from ((name, seed, None) for seed in range(options.seeds))
        else:
            train, test = pair(options.data, name, 0)
            sizes = test.obs["label"].value_counts()
            shared = sorted(set(train.obs["label"]) & set(sizes.index[sizes >= 3]))
            yield from ((name, 0, hidden) for hidden in shared)


def pair(data: Path, name: str, seed: int) -> tuple[ad.AnnData, ad.AnnData]:
    """Training and test cells, with ``obs["label"]``, over the genes of both."""
    first, second, key = SETS[name]
    draw = np.random.default_rng([seed, 2026])
    train = labelled(data / first, key)
    if second is None:
        chosen = drawn(train.obs["label"], 0.7, draw)
        return train[chosen].copy(), train[~chosen].copy()
    test = labelled(data / second, key)
    genes = train.var_names.intersection(test.var_names)
    chosen = np.sort(draw.permutation(train.n_obs)[: round(0.9 * train.n_obs)])
    return train[chosen, genes].copy(), test[:, genes].copy()


def drawn(labels: pd.Series, share: float, draw: np.random.Generator) -> np.ndarray:
    """Choose a share of the cells of every label: a mask."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in sorted(labels.unique()):
        cells = draw.permutation(np.flatnonzero(labels == label))
        chosen[cells[: round(share * len(cells))]] = True
    return chosen


@cache
def known(data: Path, name: str, seed: int) -> np.ndarray:
    """Labels of the test cells."""
    return pair(data, name, seed)[1].obs["label"].to_numpy(dtype=str)


def labelled(file: Path, key: str) -> ad.AnnData:
    """Cells with labels that at least ten have."""
    adata = ad.read_h5ad(file)
    label = adata.obs[key].astype(object)
    sizes = label.value_counts()
    adata = adata[label.isin(sizes.index[sizes >= 10]).to_numpy()].copy()
    return ad.AnnData(adata.X, obs=pd.DataFrame({"label": adata.obs[key].astype(str)}), var=adata.var[[]])


def measure(options: argparse.Namespace) -> None:
    """Run what has not been run: the peers in a process of theirs, then ours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    theirs, mine = [], []
    for task in options.tasks:
        for name, seed, hidden in jobs(task, options):
            for method in options.only:
                if file_of(method, name, seed, hidden).exists():
                    continue
                if method == OURS:
                    mine.append((name, seed, hidden))
                else:
                    files = [str(file) for file in written(options.data, name, seed, hidden)]
                    theirs.append([method, *files, str(file_of(method, name, seed, hidden)), seed])
    if theirs:
        listed = FOLDER / f"jobs-{os.getpid()}.json"
        listed.write_text(json.dumps(theirs))
        peers.run("annotation_peers.py", listed)
        listed.unlink()
    for number, (name, seed, hidden) in enumerate(mine, start=1):
        out = file_of(OURS, name, seed, hidden)
        if not out.exists():
            train, test = cells(options.data, name, seed, hidden)
            np.savez(out, **ours(train, test, seed))
        print(f"{number}/{len(mine)} {name} {seed} {hidden or ''}", file=sys.stderr, flush=True)


def cells(data: Path, name: str, seed: int, hidden: str | None) -> tuple[ad.AnnData, ad.AnnData]:
    """Training and test cells of a run; with a hidden type fewer, and none of that type to train on."""
    train, test = pair(data, name, seed)
    if hidden is not None:
        train = train[(train.obs["label"] != hidden).to_numpy()].copy()
        train = train[np.sort(np.random.default_rng(seed).permutation(train.n_obs)[:HIDING_CELLS])].copy()
        sizes = train.obs["label"].value_counts()
        train = train[train.obs["label"].isin(sizes.index[sizes >= 2]).to_numpy()].copy()
    return train, test


def written(data: Path, name: str, seed: int, hidden: str | None) -> list[Path]:
    """The files of training and test cells, the latter without labels."""
    key = hashlib.sha256(json.dumps([name, seed, hidden]).encode()).hexdigest()[:16]
    files = [FOLDER / f"{key}.{side}.h5ad" for side in ("train", "test")]
    if not all(file.exists() for file in files):
        train, test = cells(data, name, seed, hidden)
        del test.obs["label"]
        for file, adata in zip(files, (train, test), strict=True):
            adata.write_h5ad(file)
    return files


def file_of(method: str, name: str, seed: int, hidden: str | None) -> Path:
    """Where the predictions of a run are kept; ours change with the code."""
    code = ""
    if method == OURS:
        source = Path(cq.__file__).parent
        parts = ("models", "nn", "tasks", "training")
        code = report.fingerprint(file for part in parts for file in source.glob(f"{part}/**/*.py"))[:8]
    key = hashlib.sha256(json.dumps([method, name, seed, hidden, code]).encode()).hexdigest()[:16]
    return FOLDER / f"{key}.npz"


def ours(train: ad.AnnData, test: ad.AnnData, seed: int) -> dict[str, np.ndarray]:
    """Annotate with celloquy at its defaults. The label is the most probable one: peers never say unknown, either."""
    began = time.perf_counter()
    cq.annotate(test, reference=train, label_key="label", seed=seed, device="cpu", progress=False)
    seconds = time.perf_counter() - began
    probability = cq.get(test, cq.keys.PROBABILITY)
    return {
        "label": probability.columns.to_numpy(dtype=str)[probability.to_numpy().argmax(1)],
        "confidence": test.obs[cq.keys.CONFIDENCE].to_numpy(),
        "known": 1 - test.obs[cq.keys.NOVELTY].to_numpy(),
        "seconds": np.array(seconds),
    }


def scores(options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every run that is there: labels, and unknown types."""
    labels, unknown = [], []
    for task, rows in (("label", labels), ("unknown", unknown)):
        for name, seed, hidden in jobs(task, options):
            for method in METHODS:
                file = file_of(method, name, seed, hidden)
                if not file.exists():
                    continue
                run = np.load(file)
                truth = known(options.data, name, seed)
                row = {"set": name, "method": method, "seed": seed, "seconds": float(run["seconds"])}
                row["measured"] = peers.date_of(file)
                if hidden is None:
                    rows.append(row | score_annotation(truth, run["label"], np.clip(run["confidence"], 0, 1)))
                else:
                    sure = run["known"] if "known" in run else run["confidence"]
                    rows.append(row | {"hidden": hidden, "AUROC": unknown_auroc(truth == hidden, sure)})
    return pd.DataFrame(labels), pd.DataFrame(unknown)


def write(options: argparse.Namespace) -> None:
    """Write the section of the report, the figures and the plot."""
    # Whatever was run now, the report is of all that is there.
    options.sets, options.seeds = list(SETS), max(options.seeds, SEEDS)
    folder = peers.HERE / "results"
    folder.mkdir(exist_ok=True)
    labels, unknown = scores(options)
    labels = peers.with_earlier(labels, folder / "annotation.csv", ["set", "method", "seed"])
    unknown = peers.with_earlier(unknown, folder / "annotation_unknown.csv", ["set", "method", "hidden"])
    if len(unknown):
        # Types that some method has not been tried on yet would make the means differ for no good reason.
        tried = unknown.groupby(["set", "hidden"])["method"].transform("nunique")
        unknown = unknown[tried == unknown["method"].nunique()]
    labels.to_csv(folder / "annotation.csv", index=False, float_format="%.4f")
    unknown.to_csv(folder / "annotation_unknown.csv", index=False, float_format="%.4f")
    draw(labels, unknown, folder / "annotation.png")
    body = f"""
The same cells for all, {options.seeds} seeds, mean ± standard deviation; the best of a column in bold. Peers at their
documented defaults. celloquy's settings were chosen on other sets (lung tumour, lymph node, mouse kidney, interneurons,
cerebellum, hippocampus, STARmap cortex, 700 blood cells), never on these. Measured: {peers.days(labels, METHODS)}.

**Macro F1**

{grid(labels, "macro F1", best=max)}

**Expected calibration error**

{grid(labels, "ECE", best=min)}

**Seconds**, peers on one thread, ours on two, the machine shared at times

{grid(labels, "seconds", best=min, digits=0)}

**Unknown types**: each type hidden in turn, one split, at most {HIDING_CELLS} training cells;
mean ± standard deviation over the types of the AUROC of telling
its cells, by celloquy's novelty and the peers' own confidence; {hidden_types(unknown)}

{grid(unknown, "AUROC", best=max)}

![Macro F1 and AUROC](results/annotation.png)
"""
    report.write_section(
        "annotation", "Annotation", body, command="python benchmarks/quality/annotation.py --data FOLDER", folder=folder
    )


def hidden_types(unknown: pd.DataFrame) -> str:
    """How many types of each set have been hidden from every method."""
    if unknown.empty:
        return "none yet"
    counts = unknown.groupby("set")["hidden"].nunique()
    return ", ".join(f"{counts[name]} types of {name}" for name in SETS if name in counts)


def grid(table: pd.DataFrame, figure: str, *, best, digits: int = 3) -> str:
    """Methods × sets, mean ± standard deviation, and the mean over the sets."""
    if table.empty:
        return "not measured"
    groups = table.groupby(["method", "set"])[figure]
    mean, deviation, runs = groups.mean().unstack(), groups.std().unstack(), groups.count().unstack()
    names = [name for name in SETS if name in mean]
    mean = mean[names].assign(mean=mean[names].mean(axis=1, skipna=False))
    lines = []
    for method in METHODS:
        if method not in mean.index:
            continue
        line = [method]
        for name in mean.columns:
            value = mean.loc[method, name]
            if np.isnan(value):
                line.append("–")
                continue
            text = f"{value:.{digits}f}"
            text = f"**{text}**" if round(value, digits) == round(best(mean[name].dropna()), digits) else text
            if name != "mean" and deviation.loc[method, name] == deviation.loc[method, name]:
                text += f" ± {deviation.loc[method, name]:.{digits}f}"
            if name != "mean" and runs.loc[method, name] < runs[name].max():
                text += f" ({runs.loc[method, name]:.0f} of {runs[name].max():.0f} runs)"
            line.append(text)
        lines.append(line)
    return report.table(["", *mean.columns], lines)


def draw(labels: pd.DataFrame, unknown: pd.DataFrame, file: Path) -> None:
    """Dots of all runs, and their means."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(11, 7), sharex=True)
    for axis, table, column in zip(axes, (labels, unknown), ("macro F1", "AUROC"), strict=True):
        for number, method in enumerate(METHODS):
            for place, name in enumerate(SETS):
                if table.empty:
                    continue
                values = table.loc[(table["method"] == method) & (table["set"] == name), column]
                x = place + (number - 2.5) / 9
                axis.scatter(np.full(len(values), x), values, s=8, color=f"C{number}", alpha=0.5)
                axis.scatter(
                    [x], [values.mean()], s=60, marker="_", color=f"C{number}", label=method if not place else None
                )
        axis.set_ylabel(f"{column}, unknown types" if column == "AUROC" else column)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_xticks(range(len(SETS)), list(SETS))
    axes[0].legend(ncols=3, fontsize=8, frameon=False, loc="lower left")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
