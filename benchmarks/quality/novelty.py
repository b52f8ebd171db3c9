"""Which signs tell a cell of an unknown type, on sets that are in no table of annotation: results/novelty.md.

Usage: python benchmarks/quality/novelty.py --data FOLDER

Five types of each set are hidden in turn. As they are: a split of one set's cells. Shifted: every gene of the cells to
annotate thinned by a rate of its own, other patients, or another slice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import annotation
import numpy as np
import pandas as pd
import peers
import torch
from scipy import sparse
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

import celloquy as cq
from celloquy.data import CellSource
from celloquy.tasks.annotation.novelty import Novelty

sys.path.insert(0, str(peers.HERE.parent))
import report

SPLIT = ("lymph_node_ref", "rctd_cerebellum_ref", "rctd_hippocampus_ref", "interneuron_zeisel", "kidney_tabula_muris")
LUNG = {
    "T": ("bT cells", "tT cells"), "B": ("bB cells", "tB cells"), "NK": ("bNK cells", "tNK cells"),
    "Neutrophil": ("bNeutrophils", "tNeutrophils"), "Myeloid": ("tMoMacDC", "bMonocytes"),
    "Plasma": ("tPlasma cells",), "Fibroblast": ("Fibroblasts",),
}  # fmt: skip
HIDDEN = 5
SHARE = 0.02
ALIKE = {"prior": 1e9}
"""So many cells of all labels that those of one do not count."""

Sign = Callable[[Tensor, Tensor], Tensor]
SIGNS: dict[str, Sign] = {
    "logit": lambda logits, _: -logits.max(1).values,
    "distance": lambda logits, centre: torch.cdist(logits, centre).min(1).values,
    "relative distance": lambda logits, centre: (torch.cdist(logits, centre) / centre.norm(dim=1)).min(1).values,
    "cosine": lambda logits, centre: (1 - normalize(logits) @ normalize(centre).T).min(1).values,
    "margin": lambda logits, _: -logits.topk(2, 1).values.diff(dim=1).abs().squeeze(1),
    "probability": lambda logits, _: -logits.softmax(1).max(1).values.clamp(1e-6, 1 - 1e-6).logit(),
    "entropy": lambda logits, _: -(logits.softmax(1) * logits.log_softmax(1)).sum(1),
}
# name: its signs, and how they are measured; by default against the cells of the likely label.
CHOICES = {
    "logit and distance, all labels alike": (("logit", "distance"), ALIKE),
    "logit and distance": (("logit", "distance"), {}),
    "logit and relative distance, all labels alike": (("logit", "relative distance"), ALIKE),
    "logit and relative distance (celloquy's)": (("logit", "relative distance"), {}),
    "logit alone": (("logit",), {}),
    "logit, distance and cosine": (("logit", "distance", "cosine"), {}),
    "celloquy's and the margin": (("logit", "relative distance", "margin"), {}),
    "celloquy's and the probability": (("logit", "relative distance", "probability"), {}),
    "celloquy's and the entropy": (("logit", "relative distance", "entropy"), {}),
}


class Signs(Novelty):
    """Novelty by other signs."""

    def __init__(self, classes: int, names: tuple[str, ...], **prior: float) -> None:
        super().__init__(classes, **prior)
        self.names = names
        self.location, self.scale = torch.zeros(classes, len(names)), torch.ones(len(names))

    def _signs(self, logits: Tensor) -> Tensor:
        return torch.stack([SIGNS[name](logits, self.centre) for name in self.names], 1)


class Watched(cq.Annotator):
    """An annotator that shows the logits of the held-out cells, and the centres of their time."""

    held: tuple[Tensor, Tensor]

    def _calibrate(self, counts: Any, embedding: Tensor, codes: Tensor) -> None:
        with torch.no_grad():
            self.held = self.classifier_.linear_logits(counts), self.classifier_.novelty.centre.clone()
        super()._calibrate(counts, embedding, codes)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    rows = []
    for name, shifted, train, test in sets(parser.parse_args().data):
        types = np.random.default_rng(0).permutation(sorted(train.obs["cell_type"].unique()))[:HIDDEN]
        for hidden in types:
            rows += [
                {"set": name, "shifted": shifted, "signs": choice, **figures}
                for choice, figures in measure(train, test, str(hidden))
            ]
        print(name, "shifted" if shifted else "", file=sys.stderr, flush=True)
    mean = pd.DataFrame(rows).groupby(["signs", "shifted", "set"]).mean().groupby(level=[0, 1]).mean().unstack()
    lines = [[name, *(f"{mean.loc[name, column]:.3f}" for column in mean.columns)] for name in CHOICES]
    header = ["", *(f"{figure}, {'shifted' if shifted else 'as it is'}" for figure, shifted in mean.columns)]
    body = f"""
Each of {HIDDEN} types hidden in turn; mean over lymph node, cerebellum, hippocampus, interneurons, kidney and lung
tumour cells, split; shifted: the same thinned by genes, lung tumours of other patients, another slice of STARmap.
`known`: share of cells of known types beyond the line that {SHARE:.0%} of held-out cells lie beyond; `unknown`: of the
hidden type.

{report.table(header, lines)}
"""
    report.write_section(
        "novelty", "Annotation: what tells an unknown type", body,
        command="python benchmarks/quality/novelty.py --data FOLDER", folder=peers.HERE / "results",
    )  # fmt: skip


def sets(data: Path) -> Iterator[tuple[str, bool, ad.AnnData, ad.AnnData]]:
    """Name, whether shifted, cells to learn from and cells to annotate."""
    lung = ad.read_h5ad(data / "scrna/nsclc_zilionis.h5ad")
    names = {old: new for new, many in LUNG.items() for old in many}
    lung.obs["cell_type"] = lung.obs["Major.cell.type"].astype(str).map(names)
    lung = lung[lung.obs["cell_type"].notna().to_numpy()].copy()
    split = {name: ad.read_h5ad(data / f"scrna/{name}.h5ad") for name in SPLIT} | {"nsclc": lung}
    for name, adata in split.items():
        chosen = annotation.drawn(adata.obs["cell_type"], 0.6, np.random.default_rng(0))
        train, test = adata[chosen].copy(), adata[~chosen].copy()
        yield name, False, train, test
        yield name, True, train, thinned(test)
    first = lung.obs["Patient"].isin(["p1", "p4"]).to_numpy()
    enough = lung.obs["cell_type"][first].value_counts()
    kept = lung.obs["cell_type"].isin(enough.index[enough >= HIDDEN]).to_numpy()
    yield "patients", True, lung[first & kept].copy(), lung[~first & kept].copy()
    cortex = ad.read_h5ad(data / "spatial/starmap_mpfc.h5ad")
    where = cortex.obs["slice"].astype(str).to_numpy()
    slices = sorted(set(where))
    yield "slices", True, cortex[where == slices[0]].copy(), cortex[where == slices[-1]].copy()


def thinned(adata: ad.AnnData) -> ad.AnnData:
    """Counts of every gene kept at a rate of its own, from a fifth to all."""
    draw, counts = np.random.default_rng(1), sparse.csr_matrix(adata.X).astype(np.int64)
    counts.data = draw.binomial(counts.data, draw.uniform(0.2, 1, adata.n_vars)[counts.indices])
    counts.eliminate_zeros()
    return ad.AnnData(counts.astype(np.float32), obs=adata.obs, var=adata.var[[]])[counts.getnnz(axis=1) > 0].copy()


def measure(train: ad.AnnData, test: ad.AnnData, hidden: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of every choice of signs, with one type hidden."""
    train = train[(train.obs["cell_type"] != hidden).to_numpy()].copy()
    # Novelty reads the expression alone, so the embedding need not be good.
    annotator = Watched(label_key="cell_type", epochs=1, progress=False).fit(train, query=test)
    assert annotator.model_ is not None
    counts = CellSource(test).over(annotator.model_.vocabulary, selected=True).read_all()
    with torch.no_grad():
        logits, centre = annotator.classifier_.linear_logits(counts), annotator.classifier_.novelty.centre
    unknown = (test.obs["cell_type"] == hidden).to_numpy()
    known = test.obs["cell_type"].isin(annotator.labels_).to_numpy()
    for name, (names, prior) in CHOICES.items():
        signs = Signs(len(centre), names, **prior)
        signs.centre.copy_(annotator.held[1])
        signs.fit(annotator.held[0], SHARE)
        signs.centre.copy_(centre)
        score = (signs._sum(logits) - signs.threshold).numpy()
        yield name, {
            "AUROC": float(roc_auc_score(unknown[known | unknown], score[known | unknown])),
            "known": float((score[known] > 0).mean()), "unknown": float((score[unknown] > 0).mean()),
        }  # fmt: skip


if __name__ == "__main__":
    main()
