"""Genes behind the labels of PBMC 3k, beside scanpy's ranks of genes: results/explanation.md.

Usage: python benchmarks/quality/explanation.py --data FOLDER

`cq.explain` is asked for each cell type, by the annotator that it fits itself (the model in the box) and by one with a
model that is trained from scratch. Beside it stand `sc.tl.rank_genes_groups` by Welch's t and by Wilcoxon's test on
log-normalised counts. Scored are the overlap of the 20 best genes that a type has more of, and how well the order of
all genes tells the type's known markers, those of Seurat's tutorial, from the others (AUROC). A share is checked by
what it claims: of a type's 20 best genes all counts are set to 0, and the annotator is asked again.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from sklearn.metrics import roc_auc_score

import celloquy as cq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

LABEL, BEST = "cell_type", 20
MARKERS = {
    "Naive CD4 T": ["IL7R", "CCR7"], "Memory CD4 T": ["IL7R", "S100A4"], "CD14+ Mono": ["CD14", "LYZ"],
    "B": ["MS4A1"], "CD8 T": ["CD8A"], "FCGR3A+ Mono": ["FCGR3A", "MS4A7"], "NK": ["GNLY", "NKG7"],
    "DC": ["FCER1A", "CST3"], "Platelet": ["PPBP"],
}  # fmt: skip
"""Markers by which the types were named (Seurat's tutorial of PBMC 3k)."""
BOX, SCRATCH = "explain, model in the box", "explain, model from scratch"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    adata = ad.read_h5ad(options.data / "scrna" / "pbmc3k.h5ad")
    adata = adata[adata.obs[LABEL].isin(MARKERS).to_numpy()].copy()
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    scores, seconds, sums = {}, {}, {}
    box = cq.Annotator(label_key=LABEL, model="cells-mini", progress=False).fit(adata)
    scratch = cq.Annotator(label_key=LABEL, progress=False).fit(adata)
    for name, annotator in ((BOX, box), (SCRATCH, scratch)):
        began = time.perf_counter()
        table = cq.explain(adata, labels=annotator, progress=False)
        seconds[name] = time.perf_counter() - began
        scores[name] = by_gene(table, adata.var_names)
        groups = pd.DataFrame(table.attrs["celloquy"]["groups"]).T
        sums[name] = ((groups["sum"] - groups["difference"]).abs() / groups["difference"].abs()).max()
    for name, method in (("Welch's t", "t-test"), ("Wilcoxon", "wilcoxon")):
        began = time.perf_counter()
        sc.tl.rank_genes_groups(logged, LABEL, method=method)
        seconds[name] = time.perf_counter() - began
        found = sc.get.rank_genes_groups_df(logged, None)
        scores[name] = found.pivot(index="names", columns="group", values="scores").loc[adata.var_names]
    write(adata, scores, seconds, sums, {BOX: box, SCRATCH: scratch})


def by_gene(table: pd.DataFrame, genes: pd.Index) -> pd.DataFrame:
    """Score of every gene for every type: its share, where the type has more of the gene, else what is below all."""
    own = table.assign(score=np.where(table["expression"] > 0, table["attribution"], -table["attribution"].abs()))
    return own.pivot(index="gene", columns="group", values="score").reindex(genes).fillna(0.0)


def write(
    adata: ad.AnnData, scores: dict[str, pd.DataFrame], seconds: dict[str, float], sums: dict[str, float],
    annotators: dict[str, cq.Annotator],
) -> None:  # fmt: skip
    """Write the section."""
    best = {name: {label: set(one[label].nlargest(BEST).index) for label in MARKERS} for name, one in scores.items()}
    rows = []
    for name, one in scores.items():
        area = [roc_auc_score(adata.var_names.isin(known), one[label]) for label, known in MARKERS.items()]
        hit = sum(gene in best[name][label] for label, known in MARKERS.items() for gene in known)
        lost = [dropped(adata, annotator, best[name]) for annotator in annotators.values()]
        rows.append(
            [
                name,
                f"{np.mean(area):.3f}",
                f"{hit} of {sum(map(len, MARKERS.values()))}",
                *(f"{one:.3f}" for one in lost),
                f"{sums[name]:.0e}" if name in sums else "–",
                f"{seconds[name]:.0f}",
            ]
        )  # fmt: skip

    def shared(first: str, second: str) -> str:
        return f"{np.mean([len(best[first][one] & best[second][one]) for one in MARKERS]):.1f}"

    pairs = [[first, *("–" if first == second else shared(first, second) for second in scores)] for first in scores]
    text = (
        f"{adata.n_obs:,} cells of {len(MARKERS)} types. AUROC and hits are of the known markers; kept is the share of "
        f"cells of a type that keep its label when all counts of its {BEST} best genes are taken away.\n\n"
    )
    text += report.table(
        ["genes by", "AUROC of markers", f"markers among {BEST}", "label kept, box", "label kept, scratch",
         "sum less difference", "seconds"],
        rows,
    )  # fmt: skip
    text += f"\n\nGenes that two share among the best {BEST} of a type, means over types:\n\n"
    text += report.table(["", *scores], pairs) + "\n"
    report.write_section(
        "explanation", "Genes behind labels", text, command="python benchmarks/quality/explanation.py --data FOLDER",
        folder=Path(__file__).parent / "results",
    )  # fmt: skip


def dropped(adata: ad.AnnData, annotator: cq.Annotator, best: dict[str, set[str]]) -> float:
    """Share of cells that keep their label without the best genes of it, a mean over labels."""
    kept = []
    whole = annotator.predict(adata, copy=True).obs["celloquy_label"].astype(str)
    for label, genes in best.items():
        own = adata[(whole == label).to_numpy()].copy()
        own.X = sparse.csr_matrix(own.X.multiply(~own.var_names.isin(genes)))
        told = cq.get(annotator.predict(own, copy=True), cq.keys.PROBABILITY)
        kept.append((told.idxmax(axis=1) == label).mean())
    return float(np.mean(kept))


if __name__ == "__main__":
    main()
