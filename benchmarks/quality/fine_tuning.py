"""Labels from few labelled cells, and between species, with the model in the box: results/fine_tuning.md.

Usage: python benchmarks/quality/fine_tuning.py --data FOLDER [--seeds 3] [--methods METHOD …]
       [--labelled 50 300 1000] [--report]

FOLDER holds the studies of zero_shot.py, which are left out of the model's corpus and of every choice made for it.

Few labels: 50, 300 or 1,000 cells of a study are labelled, at most 1,000 others are annotated; types with two labelled
cells at least count. `cq.annotate` from scratch and with `model="cells-mini"`, logistic regression on 50 principal
components, and, if asked for, `cq.annotate` with `model="genes-mini"`. Scored is the macro F1 over the types of the
labelled cells.

Between species: the pancreas of man and mouse (Baron), classes of both, labels carried both ways: by the 15 nearest
cells in an embedding of both together, by `cq.annotate(…, model="cells-mini", species="auto")`, and by logistic
regression on log counts of one-to-one orthologs. A run that is in the cache folder is not repeated. With --methods only
few labels are measured, and results/fine_tuning_some.md is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import peers
import scanpy as sc
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from zero_shot import SETS, logged, read

import celloquy as cq

sys.path.insert(0, str(peers.HERE.parent))
import report

FOLDER = peers.CACHE / "fine_tuning"
LABELLED = (50, 300, 1000)
MOST_ANNOTATED = 1000
PANCREAS = ("cross_species/pancreas_baron_human", "cross_species/pancreas_baron_mouse")


def main() -> None:
    """Measure what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--labelled", type=int, nargs="+", default=LABELLED, choices=LABELLED)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not options.report:
        if not options.methods:
            between_species(options.data)
        few_labels(options)
    write(options)


def few_labels(options: argparse.Namespace) -> None:
    """Write one file a set, number of labelled cells and seed."""
    for name in SETS:
        study = read(options.data, name)
        for number in options.labelled:
            for seed in range(options.seeds if study.n_obs >= 1.25 * number else 0):
                file = FOLDER / f"{SETS[name].replace('/', '-')}-{number}-{seed}.json"
                scores = json.loads(file.read_text()) if file.exists() else {}
                missing = [method for method in options.methods or USUAL if method not in scores]
                if not missing:
                    continue
                order = np.random.default_rng(seed).permutation(study.n_obs)
                labelled = study[np.sort(order[:number])].copy()
                sizes = labelled.obs["cell_type"].value_counts()
                known = sizes.index[sizes >= 2]
                labelled = labelled[labelled.obs["cell_type"].isin(known)].copy()
                others = study[np.sort(order[number:][:MOST_ANNOTATED])]
                others = others[others.obs["cell_type"].isin(known)].copy()
                for method in missing:
                    began = time.perf_counter()
                    found = METHODS[method](labelled, others, seed)
                    seconds = time.perf_counter() - began
                    true = others.obs["cell_type"].astype(str)
                    scores[method] = {"F1": f1_score(true, found, average="macro"), "seconds": seconds}
                    file.write_text(json.dumps(scores))
                    print(name, number, seed, method, round(scores[method]["F1"], 3), flush=True)


def by_celloquy(model: str | None) -> Callable[[ad.AnnData, ad.AnnData, int], np.ndarray]:
    """Annotate from scratch or by a model."""

    def annotate(labelled: ad.AnnData, others: ad.AnnData, seed: int) -> np.ndarray:
        here = others.copy()
        cq.annotate(
            here, reference=labelled, label_key="cell_type", model=model, false_unknown_rate=0, species="auto",
            seed=seed, progress=False,
        )  # fmt: skip
        return here.obs["celloquy_label"].astype(str).to_numpy()

    return annotate


def by_components(labelled: ad.AnnData, others: ad.AnnData, seed: int) -> np.ndarray:
    """Logistic regression on principal components of the labelled cells' 2,000 most variable genes."""
    here, there = logged(labelled), logged(others)
    sc.pp.highly_variable_genes(here, n_top_genes=min(2000, here.n_vars))
    genes = here.var_names[here.var["highly_variable"]]
    values, mean = here[:, genes].X.toarray(), here[:, genes].X.toarray().mean(0)
    axes = np.linalg.svd(values - mean, full_matrices=False)[2][:50]
    model = LogisticRegression(max_iter=1000).fit((values - mean) @ axes.T, labelled.obs["cell_type"].astype(str))
    return np.asarray(model.predict((there[:, genes].X.toarray() - mean) @ axes.T))


METHODS = {
    "PCA and logistic regression": by_components,
    "from scratch": by_celloquy(None),
    "cells-mini": by_celloquy("cells-mini"),
    "genes-mini": by_celloquy("genes-mini"),
}
USUAL = ("PCA and logistic regression", "from scratch", "cells-mini")
"""Methods that run if none are asked for; fine-tuning the gene model takes minutes a run."""


def between_species(data: Path) -> None:
    """Write the scores of labels carried from one species to the other."""
    file = FOLDER / "species.json"
    if file.exists():
        return
    human, mouse = (ad.read_h5ad(data / f"{name}.h5ad") for name in PANCREAS)
    for adata in (human, mouse):
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str).str.lower()
    shared = set(human.obs["cell_type"]) & set(mouse.obs["cell_type"])
    human, mouse = (one[one.obs["cell_type"].isin(shared)].copy() for one in (human, mouse))
    pairs = cq.orthologs(human.var_names, to="mouse").frame
    pairs = pairs[pairs["ortholog_symbol"].isin(mouse.var_names)]
    scores: dict[str, dict[str, list[float]]] = {}
    for way, (source, target) in {"man to mouse": (human, mouse), "mouse to man": (mouse, human)}.items():
        true = target.obs["cell_type"].to_numpy()
        for method, found in carried(source, target, pairs):
            scores.setdefault(method, {})[way] = [
                accuracy_score(true, found), f1_score(true, found, average="macro")
            ]  # fmt: skip
            print(way, method, scores[method][way], flush=True)
    file.write_text(json.dumps(scores))


def carried(source: ad.AnnData, target: ad.AnnData, pairs: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the labels that each method gives to the cells of the target."""
    label = source.obs["cell_type"].to_numpy()
    here, there = (embedded(one) for one in (source, target))
    yield "cells-mini, 15 nearest cells", KNeighborsClassifier(15).fit(here, label).predict(there)
    yield "cells-mini, cq.annotate", by_celloquy("cells-mini")(source, target, 0)
    yield "cq.annotate from scratch", by_celloquy(None)(source, target, 0)
    of_human = pairs["name"].isin(source.var_names).all()
    columns = ["name", "ortholog_symbol"] if of_human else ["ortholog_symbol", "name"]
    first, second = (paired(one, pairs[column]) for one, column in zip((source, target), columns, strict=True))
    regression = LogisticRegression(max_iter=1000).fit(first, label)
    yield "logistic regression on orthologs", regression.predict(second)


def embedded(cells: ad.AnnData) -> np.ndarray:
    """Embed as the model in the box knows cells, centred on their own mean."""
    return np.asarray(cq.embed(cells, adapt=False, progress=False, copy=True).obsm["X_celloquy"])


def paired(cells: ad.AnnData, names: pd.Series) -> sparse.csr_matrix:
    """Return the log-normalised counts of some genes, in their order."""
    return logged(cells[:, names].copy()).X


def write(options: argparse.Namespace) -> None:
    """Write the tables."""
    methods = options.methods or [*USUAL]
    rows = []
    for name in SETS:
        for number in LABELLED:
            for file in sorted(FOLDER.glob(f"{SETS[name].replace('/', '-')}-{number}-*.json")):
                rows += [
                    {"set": name, "labelled": number, "method": method, **scores}
                    for method, scores in json.loads(file.read_text()).items()
                    if method in methods
                ]
    found = pd.DataFrame(rows)
    each = found.pivot_table("F1", ["set", "labelled"], "method", sort=False)[methods]
    means = each.groupby("labelled").mean()
    seconds = found.groupby(["labelled", "method"])["seconds"].median().unstack()[methods]
    lines = [
        [f"{number:,}", str(len(each.xs(number, level="labelled"))), *(f"{means.loc[number, m]:.3f}" for m in methods)]
        + [f"{seconds.loc[number, m]:.1f}" for m in methods]
        for number in means.index
    ]
    body = [
        "**Few labelled cells**: macro F1, mean over the sets, and median seconds a call\n\n"
        + report.table(["labelled", "sets", *methods, *(f"{m}, s" for m in methods)], lines),
        "**Each set**: macro F1\n\n"
        + report.table(
            ["", *methods],
            [
                [f"{name}, {number}", *(f"{value:.3f}" for value in row)]
                for (name, number), row in zip(each.index, each.values, strict=True)
            ],
        ),
    ]
    if not options.methods:
        body.append(between_table(json.loads((FOLDER / "species.json").read_text())))
    chosen = f" --methods {' '.join(map(repr, options.methods))}" if options.methods else ""
    if tuple(options.labelled) != LABELLED:
        chosen += f" --labelled {' '.join(map(str, options.labelled))}"
    report.write_section(
        "fine_tuning_some" if options.methods else "fine_tuning",
        f"Labels from few cells{', some methods' if options.methods else ', and between species'}",
        "\n\n".join(body),
        command=f"python benchmarks/quality/fine_tuning.py --data FOLDER --seeds {options.seeds}{chosen}",
        folder=peers.HERE / "results",
        caption="two cores; seconds beside other jobs",
    )


def between_table(species: dict[str, dict[str, list[float]]]) -> str:
    """The table of labels carried between species."""
    ways = list(next(iter(species.values())))
    return (
        "**Between species**: pancreas of man and mouse (Baron), accuracy and macro F1; with a model or from scratch,\n"
        "`cq.annotate` carries labels between species in the same way\n\n"
    ) + report.table(
        ["", *(f"{way}, {what}" for way in ways for what in ("accuracy", "macro F1"))],
        [[method, *(f"{value:.3f}" for way in ways for value in scores[way])] for method, scores in species.items()],
    )


if __name__ == "__main__":
    main()
