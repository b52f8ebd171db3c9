"""Cell types without a reference, on studies that the types never met: results/known_types.md.

Usage: python benchmarks/quality/known_types.py --data FOLDER

FOLDER holds the studies of zero_shot.py, which took no part in the types or in any choice made for them. Their labels
are translated into the coarse types that `cq.annotate(adata)` names; cells whose label has no such type (cancer cells)
are left out of accuracy and macro F1, and should be unknown. A cell that is called unknown counts as wrong in both;
`called` is the share of cells that are not, and `right` the share of these with the right type.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import peers
from sklearn.metrics import f1_score
from zero_shot import read

import celloquy as cq

sys.path.insert(0, str(peers.HERE.parent))
import report

TYPES: dict[str, dict[str, str]] = {
    "PBMC 3k": {
        "Naive CD4 T": "T cell",
        "Memory CD4 T": "T cell",
        "CD8 T": "T cell",
        "B": "B cell",
        "NK": "natural killer cell",
        "CD14+ Mono": "monocyte",
        "FCGR3A+ Mono": "monocyte",
        "DC": "dendritic cell",
        "Platelet": "megakaryocyte or platelet",
    },
    "breast tumours": {
        "CAFs": "fibroblast",
        "PVL": "smooth muscle cell or pericyte",
        "Endothelial": "endothelial cell",
        "T-cells": "T cell",
        "B-cells": "B cell",
        "Plasmablasts": "plasma cell",
    },
    "kidney, mouse": {
        "endothelial cell": "endothelial cell",
        "kidney collecting duct epithelial cell": "distal nephron cell",
    },
    "cortex, mouse, STARmap": {
        **dict.fromkeys(["eL2/3", "eL5-1", "eL5-2", "eL5-3", "eL6-1", "eL6-2", "L5-1"], "glutamatergic neuron"),
        **dict.fromkeys(["Lhx6", "SST", "NPY", "Reln", "VIP"], "GABAergic neuron"),
        "Astro": "astrocyte",
        "Oligo": "oligodendrocyte",
        "Endo": "endothelial cell",
        "Smc": "smooth muscle cell or pericyte",
    },
    "pancreas, human": {
        "beta": "beta cell",
        "alpha": "alpha cell",
        "delta": "delta cell",
        "ductal": "ductal cell of the pancreas",
        "acinar": "acinar cell",
        "activated_stellate": "fibroblast",
        "quiescent_stellate": "smooth muscle cell or pericyte",
        "endothelial": "endothelial cell",
        "macrophage": "macrophage",
        "mast": "mast cell",
        "t_cell": "T cell",
        "b_cell": "B cell",
        "schwann": "Schwann cell or enteric glia",
    },
}
"""Coarse type of the labels; others have none."""
TYPES["pancreas, mouse"] = TYPES["pancreas, human"]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    warnings.filterwarnings("ignore")
    # Reading the types takes a second, once.
    assert {kind for types in TYPES.values() for kind in types.values()} <= set(cq.known_types()["name"])
    rows, mistakes = [], []
    for name, types in TYPES.items():
        adata = read(data, name)
        label = adata.obs["cell_type"].astype(str)
        true = label.map(types).fillna(label.str.lower().map(types)).to_numpy(dtype=object)
        has_type = np.array([isinstance(one, str) for one in true])
        began = time.perf_counter()
        cq.annotate(adata)
        seconds = time.perf_counter() - began
        found = adata.obs["celloquy_label"].astype(str).to_numpy()
        right, called = (found == true)[has_type], (found != "unknown")[has_type]
        score = f1_score(
            true[has_type].astype(str),
            found[has_type],
            average="macro",
            labels=list(set(types.values()) & set(true[has_type])),
        )
        others = f"{(found != 'unknown')[~has_type].mean():.3f}" if (~has_type).any() else "–"
        figures = (f"{one:.3f}" for one in (right.mean(), score, called.mean(), right.sum() / called.sum()))
        kinds = str(len(set(true[has_type])))
        rows.append([name, f"{has_type.sum():,}", kinds, *figures, others, f"{seconds:.1f}"])
        for kind in dict.fromkeys(label):
            of_label = found[label == kind]
            names, counts = np.unique(of_label, return_counts=True)
            order = np.argsort(-counts)[:3]
            shares = ", ".join(f"{names[place]} {counts[place] / len(of_label):.2f}" for place in order)
            mistakes.append([name, f"{kind} ({len(of_label):,})", shares])
        print(rows[-1], flush=True)
    header = ["", "cells", "types", "accuracy", "macro F1", "called", "right", "others called", "seconds"]
    body = (
        report.table(header, rows)
        + "\n\n**What each label is called**\n\n"
        + report.table(["", "label", "types"], mistakes)
    )
    report.write_section(
        "known_types", "Cell types without a reference", body,
        command="python benchmarks/quality/known_types.py --data FOLDER", folder=peers.HERE / "results",
    )  # fmt: skip


if __name__ == "__main__":
    main()
