"""The same type in the other species: retrieval among mean profiles of a tissue."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq
from celloquy.data import CellSource
from celloquy.tasks.annotation.orthologs import SharedOrthologs
from celloquy.tasks.annotation.readings import log_counts, within_cells

SCALE = 25
"""The files hold log1p of counts per 10,000, times this."""


def retrieval(data: Path) -> pd.DataFrame:
    """Share of profiles whose nearest profile of the other species, of the same tissue, is of the same group.

    Profiles whose group the other species has in that tissue are asked for, over all tissues.
    """
    sides = {species: profiles(data / f"cross_species/profiles_{species}.h5ad") for species in ("human", "mouse")}
    sources = {species: CellSource(adata) for species, adata in sides.items()}
    genes = SharedOrthologs.of(sources["human"], sources["mouse"])
    logged = {species: log_counts(genes.read(source)) for species, source in sources.items()}
    places = {
        "celloquy, within profiles, by species": {one: standard(within_cells(value)) for one, value in logged.items()},
        "log expression": {one: value.toarray() for one, value in logged.items()},
        "log expression, by species": {one: standard(value.toarray()) for one, value in logged.items()},
        "cells-mini, zero-shot": {
            one: cq.embed(adata, model="cells-mini", adapt=False, copy=True, progress=False).obsm[cq.keys.EMBEDDING]
            for one, adata in sides.items()
        },
    }
    rows = []
    for name, place in places.items():
        row: dict[str, object] = {"nearest profile by": name}
        for query, target in (("human", "mouse"), ("mouse", "human")):
            first, rank = asked(sides[query].obs, place[query], sides[target].obs, place[target])
            row |= {
                f"{query} → {target}, first": first.mean(),
                f"{query} → {target}, mean reciprocal rank": rank.mean(),
            }
            row |= {f"{query} asked": len(first)}
        rows.append(row)
    return pd.DataFrame(rows)


def profiles(file: Path) -> ad.AnnData:
    """Mean profiles as counts per 10,000, rounded after scaling so that none is lost."""
    adata = ad.read_h5ad(file)
    adata.X = adata.X.astype(np.float32)
    adata.X.data = np.round(10 * np.expm1(adata.X.data / SCALE)).astype(np.float32)
    adata.X.eliminate_zeros()
    adata.obs["group"] = adata.obs["group"].astype(str).str.lower().str.replace(r"[ _.]+", " ", regex=True)
    return adata


def standard(values: np.ndarray) -> np.ndarray:
    """Each gene less its mean and by its spread in its species."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.maximum(spread, 0.1 * spread.max())


def asked(
    queries: pd.DataFrame, query: np.ndarray, targets: pd.DataFrame, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Whether the nearest profile of a tissue is right, and the reciprocal rank of the first that is."""
    first, reciprocal = [], []
    for tissue in sorted(set(queries["tissue"]) & set(targets["tissue"])):
        ours, theirs = (np.flatnonzero(table["tissue"] == tissue) for table in (queries, targets))
        groups = targets["group"].to_numpy(str)[theirs]
        a, b = query[ours], target[theirs]
        cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
        for one, likeness in zip(queries["group"].to_numpy(str)[ours], cosine, strict=True):
            right = groups[np.argsort(-likeness, kind="stable")] == one
            if right.any():
                first.append(right[0])
                reciprocal.append(1 / (1 + right.argmax()))
    return np.array(first, dtype=float), np.array(reciprocal)
