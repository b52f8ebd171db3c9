"""Pairs of a human and a mouse study whose cell types have been given the same names."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

LABEL = "label"
"""Column of ``obs`` with the type of a cell."""

LUNG = {
    "tT cells": "T cells", "bT cells": "T cells", "tB cells": "B cells", "bB cells": "B cells",
    "tNK cells": "NK cells", "bNK cells": "NK cells", "tNeutrophils": "Neutrophils", "bNeutrophils": "Neutrophils",
    "tMoMacDC": "MoMacDC", "bMonocytes": "MoMacDC", "tPlasma cells": "Plasma cells", "tMast cells": "Mast cells",
    "tpDC": "pDC", "bBasophils": "Basophils", "Fibroblasts": "Fibroblasts", "Endothelial cells": "Endothelial cells",
    "Smooth muscle cells": "Smooth muscle cells",
}  # fmt: skip
"""Major cell types of the human tumours (t) and blood (b), by the names of the mouse; the cancer cells of the seven
patients are one type. Cells without a type, and types of one cell, are left out."""

PAIRS = {
    "pancreas, human → mouse": ("pancreas", "human", "mouse"),
    "pancreas, mouse → human": ("pancreas", "mouse", "human"),
    "lung tumour, human → mouse": ("lung", "human", "mouse"),
    "lung tumour, mouse → human": ("lung", "mouse", "human"),
}
"""Study, species of the reference and species of the cells to annotate, by the name of the row."""

FILES = {
    ("pancreas", "human"): "cross_species/pancreas_baron_human.h5ad",
    ("pancreas", "mouse"): "cross_species/pancreas_baron_mouse.h5ad",
    ("lung", "human"): "scrna/nsclc_zilionis.h5ad",
    ("lung", "mouse"): "cross_species/lung_tumour_zilionis_mouse.h5ad",
}


def cells_of(data: Path, study: str, species: str) -> ad.AnnData:
    """Cells of a study with raw counts and their type in ``obs["label"]``, types of one cell left out."""
    adata = ad.read_h5ad(data / FILES[study, species])
    if study == "pancreas":
        label = adata.obs["cell_ontology_class"].astype(str)
    elif species == "mouse":
        label = adata.obs["cell_type"].astype(str)
    else:
        given = adata.obs["Major.cell.type"].astype(str)
        label = given.map(LUNG).mask(given.str.endswith("-specific"), "Cancer cells")
    sizes = label.value_counts()
    kept = label.isin(sizes.index[sizes > 1]).to_numpy()
    adata = ad.AnnData(adata.X, obs=pd.DataFrame({LABEL: label}), var=adata.var[[]])[kept].copy()
    adata.var_names_make_unique()
    return adata


def pair(data: Path, name: str, *, seed: int = 0, hidden: str | None = None) -> tuple[ad.AnnData, ad.AnnData]:
    """Reference and query, of which the query's labels are for scoring alone.

    Parameters
    ----------
    data
        Folder of the files.
    name
        A name in :data:`PAIRS`.
    seed
        Draw of nine in ten cells of every type of the reference, at least two; 0 takes all.
    hidden
        Type that the reference loses.
    """
    study, of_reference, of_query = PAIRS[name]
    reference, query = cells_of(data, study, of_reference), cells_of(data, study, of_query)
    if hidden is not None:
        reference = reference[(reference.obs[LABEL] != hidden).to_numpy()].copy()
    if seed:
        draw = np.random.default_rng(seed)
        places = pd.Series(np.arange(reference.n_obs)).groupby(reference.obs[LABEL].to_numpy())
        kept = [draw.permutation(one.to_numpy())[: max(2, round(0.9 * len(one)))] for _, one in places]
        reference = reference[np.sort(np.concatenate(kept))].copy()
    return reference, query
