"""Labels across species, against a regression, neighbours and CAME: results/species.md.

Usage: python benchmarks/responses/species.py --data FOLDER [--seeds 5] [--came PYTHON] [--report]

FOLDER holds the h5ad files of species_sets.py. PYTHON is that of an environment with torch, dgl==1.1.3, scanpy[leiden]
and came==0.1.13; without it, CAME's column has what earlier runs left in the cache folder. A seed but the first draws
nine in ten cells of every type of the reference; CAME, which takes many minutes, has the first alone. Cells whose type
the reference lacks count in the AUROC alone. What is measured is kept in results/species.csv; --report only writes the
tables anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier
from species_profiles import retrieval
from species_sets import LABEL, PAIRS, pair

import celloquy as cq
from celloquy.evaluate import unknown_auroc
from celloquy.genes import orthologs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import report

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celloquy" / "species"
SCORES, RETRIEVED = HERE / "results" / "species.csv", HERE / "results" / "species_retrieval.csv"
OURS, OWN, ZERO = "celloquy", "celloquy, heads alone", "cells-mini, zero-shot, 15-NN"
REGRESSION, NEIGHBOURS, HARMONY, CAME = "logistic regression", "15-NN, 50 PCs", "Harmony, 15-NN", "CAME"
METHODS = (OURS, OWN, ZERO, REGRESSION, NEIGHBOURS, HARMONY, CAME)
LEAST_HIDDEN = 10
"""Cells to label, at least, of a type that is hidden from the reference."""
Found = tuple[np.ndarray, np.ndarray]
"""Label of each cell, and how sure it is that the cell is of a known type."""


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--came", type=Path, help="Python of an environment with CAME")
    parser.add_argument("--report", action="store_true", help="only write the tables anew")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if not options.report:
        SCORES.parent.mkdir(exist_ok=True)
        retrieval(options.data).to_csv(RETRIEVED, index=False, float_format="%.4f")
        for seed in range(options.seeds):
            for name in PAIRS:
                measure(options, name, seed, None)
                write(options.seeds)
        for name in PAIRS:
            reference, query = pair(options.data, name)
            sizes = query.obs[LABEL].value_counts()
            for hidden in sorted(set(sizes.index[sizes >= LEAST_HIDDEN]) & set(reference.obs[LABEL])):
                measure(options, name, 0, hidden)
                write(options.seeds)
    write(options.seeds)


def measure(options: argparse.Namespace, name: str, seed: int, hidden: str | None) -> None:
    """Score all methods on a pair, and keep the scores."""
    reference, query = pair(options.data, name, seed=seed, hidden=hidden)
    truth, known = query.obs[LABEL].to_numpy(str), query.obs[LABEL].isin(reference.obs[LABEL]).to_numpy()
    bare = ad.AnnData(query.X, var=query.var)
    first = seed == 0 and hidden is None
    ways = {OURS: ours, REGRESSION: regression}
    if first:
        ways |= {ZERO: zero_shot, HARMONY: harmony, CAME: lambda *given: came(options.came, name, *given)}
    if hidden is None:
        ways |= {NEIGHBOURS: neighbours}
    rows = []
    for method, way in ways.items():
        began = time.perf_counter()
        found = way(reference, bare, seed)
        seconds = time.perf_counter() - began
        for told, (label, sure) in (found if isinstance(found, dict) else {method: found}).items():
            row = {"pair": name, "method": told, "seed": seed, "hidden": hidden or "", "seconds": seconds}
            right, given = truth[known], label[known]
            row |= {"accuracy": (right == given).mean(), "f1": f1_score(right, given, average="macro")}
            unknown = truth == hidden if hidden else ~known
            counted = known | unknown
            row["auroc"] = unknown_auroc(unknown[counted], sure[counted]) if unknown.any() else np.nan
            row["called"] = np.nan
            if told == OURS:
                row |= {"called": ((sure < 0.5) & unknown).sum() / max(1, unknown.sum()), "wrongly": (sure < 0.5)[known].mean()}
            rows.append(row)
            print(name, seed, hidden or "", told, {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)
    scores = pd.DataFrame(rows)
    if SCORES.exists():
        keys = ["pair", "method", "seed", "hidden"]
        before = pd.read_csv(SCORES, keep_default_na=False, na_values=["NaN"])
        new = set(map(tuple, scores[keys].astype(str).to_numpy()))
        scores = pd.concat([before[[tuple(row) not in new for row in before[keys].astype(str).to_numpy()]], scores])
    scores.to_csv(SCORES, index=False, float_format="%.4f", na_rep="NaN")


def ours(reference: ad.AnnData, query: ad.AnnData, seed: int) -> dict[str, Found]:
    """celloquy at its defaults, and what the annotator's own heads say without what is learned across species."""
    annotator = cq.Annotator(label_key=LABEL, seed=seed, device="cpu", progress=False).fit(reference, query=query)
    found = {}
    for name in (OURS, OWN):
        told = annotator.predict(query, copy=True)
        probability = cq.get(told, cq.keys.PROBABILITY)
        label = probability.columns.to_numpy(str)[probability.to_numpy().argmax(1)]
        found[name] = label, 1 - told.obs[cq.keys.NOVELTY].to_numpy()
        annotator.transfer_ = None
    return found


def shared(reference: ad.AnnData, query: ad.AnnData) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """log1p of counts per 10,000 of the one-to-one orthologs of both."""
    sides = []
    for adata in (reference, query):
        ids = cq.identify_genes(adata.var_names).ids
        counts = pd.Series(range(adata.n_vars), index=ids)
        sides.append((adata, counts[(counts.index != "") & ~counts.index.duplicated()]))
    of_human = any(gene.startswith("ENSG") for gene in sides[0][1].index[:100])
    pairs = orthologs(sides[0][1].index, to="mouse" if of_human else "human").pairs
    both = [(one.ensembl_id, one.ortholog_id) for one in pairs if one.ortholog_id in sides[1][1].index]
    logged = []
    for (adata, places), ids in zip(sides, zip(*both, strict=True), strict=True):
        counts = sparse.csr_matrix(adata.X[:, places[list(ids)].to_numpy()], dtype=np.float64)
        scaled = sparse.csr_matrix(sparse.diags(1e4 / np.asarray(counts.sum(1)).ravel().clip(1)) @ counts)
        scaled.data = np.log1p(scaled.data)
        logged.append(scaled)
    return logged[0], logged[1]


def told_by(model, train: np.ndarray, test: np.ndarray, label: pd.Series) -> Found:
    """Fit and predict with a scikit-learn classifier."""
    probability = model.fit(train, label.to_numpy(str)).predict_proba(test)
    return model.classes_[probability.argmax(1)], probability.max(1)


def regression(reference: ad.AnnData, query: ad.AnnData, seed: int) -> Found:
    """A regression on all one-to-one orthologs."""
    return told_by(LogisticRegression(max_iter=1000), *shared(reference, query), reference.obs[LABEL])


def components(reference: ad.AnnData, query: ad.AnnData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """50 principal components of the 2,000 genes that vary most in the reference."""
    a, b = shared(reference, query)
    variance = np.asarray(a.multiply(a).mean(0) - np.square(a.mean(0))).ravel()
    genes = np.sort(np.argsort(-variance)[:2000])
    a, b = a[:, genes].toarray(), b[:, genes].toarray()
    pca = PCA(50, random_state=seed).fit(a)
    return pca.transform(a), pca.transform(b)


def neighbours(reference: ad.AnnData, query: ad.AnnData, seed: int) -> Found:
    """Neighbours on components of the reference."""
    return told_by(KNeighborsClassifier(15), *components(reference, query, seed), reference.obs[LABEL])


def harmony(reference: ad.AnnData, query: ad.AnnData, seed: int) -> Found:
    """The same after Harmony has aligned the species, where harmonypy is installed."""
    try:
        import harmonypy
    except ImportError:
        return np.full(query.n_obs, "not installed"), np.zeros(query.n_obs)
    a, b = components(reference, query, seed)
    side = pd.DataFrame({"species": ["reference"] * len(a) + ["query"] * len(b)})
    joined = harmonypy.run_harmony(np.concatenate([a, b]), side, ["species"], verbose=False, random_state=seed).Z_corr
    joined = joined if joined.shape[0] == len(side) else joined.T
    return told_by(KNeighborsClassifier(15), joined[: len(a)], joined[len(a) :], reference.obs[LABEL])


def zero_shot(reference: ad.AnnData, query: ad.AnnData, seed: int) -> Found:
    """Neighbours in the embedding of the model in the box as it is."""
    sides = [cq.embed(adata, model="cells-mini", adapt=False, copy=True, progress=False) for adata in (reference, query)]
    a, b = (adata.obsm[cq.keys.EMBEDDING] for adata in sides)
    return told_by(KNeighborsClassifier(15), a, b, reference.obs[LABEL])


def came(python: Path | None, name: str, reference: ad.AnnData, query: ad.AnnData, seed: int) -> dict[str, Found]:
    """CAME in its environment; nothing if it has not run."""
    CACHE.mkdir(parents=True, exist_ok=True)
    out = CACHE / f"{'-'.join(PAIRS[name])}.npz"
    if not out.exists() and python is not None:
        files = [CACHE / f"{side}.h5ad" for side in ("reference", "query")]
        for adata, file in zip((reference, query), files, strict=True):
            adata = adata.copy()
            if PAIRS[name] in (("lung", "mouse", "human"), ("lung", "human", "mouse")):
                # The source has mouse symbols in capitals, which CAME does not know.
                matches = cq.identify_genes(adata.var_names).matches
                adata.var_names = [one.symbol or given for given, one in zip(adata.var_names, matches, strict=True)]
                adata.var_names_make_unique()
            adata.write_h5ad(file)
        jobs = CACHE / "jobs.json"
        jobs.write_text(json.dumps([[*map(str, files), PAIRS[name][1], str(out), seed]]))
        subprocess.run([python, HERE / "came_peer.py", jobs], check=True, stdout=subprocess.DEVNULL)
    if not out.exists():
        return {}
    run = np.load(out)
    return {CAME: (run["label"].astype(str), run["confidence"])}


def write(seeds: int) -> None:
    """Write the section."""
    scores = pd.read_csv(SCORES, keep_default_na=False, na_values=["NaN"])
    plain, hiding = scores[scores["hidden"] == ""], scores[scores["hidden"] != ""]
    rows, unknown = [], []
    for name in PAIRS:
        one = plain[plain["pair"] == name]
        best = one.groupby("method")[["accuracy", "f1"]].mean().max()
        for method in METHODS:
            of_method = one[one["method"] == method]
            if len(of_method):
                rows.append([f"{name}: {method}", *(shown(of_method[key], best[key]) for key in ("accuracy", "f1")),
                             shown(of_method["auroc"]), len(of_method), f"{of_method['seconds'].mean():.0f}"])  # fmt: skip
    for name in PAIRS:
        one = hiding[hiding["pair"] == name]
        for method in (OURS, REGRESSION):
            of_method = one[one["method"] == method]
            if len(of_method):
                unknown.append([f"{name}: {method}", of_method["hidden"].nunique(), shown(of_method["auroc"]),
                                *(shown(of_method[key]) for key in ("called", "wrongly"))])  # fmt: skip
    found = pd.read_csv(RETRIEVED)
    body = ABOUT.format(
        pairs=report.table(["", "accuracy", "macro F1", "AUROC of unknown", "runs", "seconds"], rows),
        unknown=report.table(["", "types hidden", "AUROC", "called unknown", "known called unknown"], unknown),
        retrieval=report.table(found.columns.tolist(), found.round(3).astype(str).to_numpy().tolist()),
    )
    report.write_section(
        "species", "Labels across species", body,
        command=f"python benchmarks/responses/species.py --data FOLDER --seeds {seeds} --came PYTHON",
        folder=HERE / "results",
    )  # fmt: skip


def shown(values: pd.Series, best: float = np.inf) -> str:
    """Mean and standard deviation, the highest mean in bold."""
    if values.isna().all():
        return "–"
    text = f"{values.mean():.3f}"
    text = f"**{text}**" if values.mean() >= best - 0.0005 else text
    return text if len(values) < 2 or np.isnan(values.std()) else f"{text} ± {values.std():.3f}"


ABOUT = (HERE / "species_about.md").read_text(encoding="utf-8") if (HERE / "species_about.md").exists() else ""

if __name__ == "__main__":
    main()
