"""Calls of explain, context, niches and predict_samples on odd cells: a right result or a refusal, cells as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq
import trained
from arguments import ODD_VALUES
from cases import describe, odd_labels
from gene_calls import factor_model, on_cells
from judge import Wrong, differences, parts, watched
from specimens import Specimen, bare, dressed

PLACES = "spots"


def one_of(random: np.random.Generator, *choices: Any) -> Any:
    return choices[random.integers(len(choices))]


def explain(adata: ad.AnnData, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    labels = one_of(random, trained.explainable(), trained.explainable(), trained.annotator(), "label", "odd")
    return cq.explain(
        adata, labels=labels, by=one_of(random, None, None, "batch", "odd"),
        n_genes=one_of(random, None, 3), progress=False, **options,
    )  # fmt: skip


def context(adata: ad.AnnData, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    cells, n_top = one_of(
        random, (None, 0), (np.arange(adata.n_obs) % 2 == 0, 0), (list(adata.obs_names[:3]), 0),
        (list(adata.obs_names[-2:]), 2), (None, 2),
    )  # fmt: skip
    return cq.context(
        adata, model=trained.model(), labels=one_of(random, "label", "odd"), by=one_of(random, None, None, "batch"),
        cells=cells, n_top=n_top, tissue_key=one_of(random, None, "batch"),
        spatial_key=one_of(random, None, PLACES), progress=False, device="cpu", **options,
    )  # fmt: skip


def niches(adata: ad.AnnData, options: dict[str, Any], random: np.random.Generator) -> ad.AnnData | None:
    return cq.niches(
        adata, model=one_of(random, factor_model(), trained.model()), spatial_key=PLACES,
        tissue_key=one_of(random, None, "batch"), n_niches=one_of(random, None, 2),
        n_neighbors=one_of(random, None, 3), composition=one_of(random, 0.0, 0.5), copy=True,
        **trained.QUIET, **options,
    )  # fmt: skip


def samples(adata: ad.AnnData, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    return cq.predict_samples(
        adata, sample_key="patient", target=one_of(random, "ill", "age", "odd"), model=factor_model(),
        group_key=one_of(random, None, None, "batch"), label_key=one_of(random, None, "label", "odd"),
        **trained.QUIET, **options,
    )  # fmt: skip


def check_explained(table: pd.DataFrame) -> None:
    if not np.isfinite(table[["attribution", "expression", "share"]].to_numpy()).all():
        raise Wrong("attributions are not finite")
    for name, group in table.attrs["celloquy"]["groups"].items():
        if abs(group["sum"] - group["difference"]) > 1e-2 * max(1, abs(group["difference"])):
            raise Wrong(f"the attributions of {name!r} sum to {group['sum']:g}, not to {group['difference']:g}")


def check_context(table: pd.DataFrame) -> None:
    if not np.isfinite(table[["weight", "cells", "strength"]].to_numpy()).all():
        raise Wrong("weights are not finite")
    whole = table[table["kind"].isin(["label", "distance"])]
    sums = whole.groupby(["group", "kind"], observed=True)[["weight", "cells"]].sum().to_numpy()
    if np.abs(sums - 1).max(initial=0) > 1e-3:
        raise Wrong(f"weights sum to {sums.min():g} to {sums.max():g}")


def check_niches(found: ad.AnnData) -> None:
    if not np.isfinite(np.asarray(found.obsm["X_niche"])).all():
        raise Wrong("the embedding is not finite")
    if found.obs["niche"].isna().any():
        raise Wrong("a cell has no niche")


def check_samples(table: pd.DataFrame) -> None:
    probabilities = table.filter(like="probability_").to_numpy(dtype=float)
    if probabilities.size and np.abs(probabilities.sum(axis=1) - 1).max() > 1e-4:
        raise Wrong("probabilities do not sum to 1")
    numbers = table.select_dtypes("number").drop(columns="truth", errors="ignore").to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        raise Wrong("a number told of a sample is not finite")


VERBS: dict[str, tuple[Callable[..., Any], Callable[[Any], None]]] = {
    "explain": (explain, check_explained),
    "context": (context, check_context),
    "niches": (niches, check_niches),
    "samples": (samples, check_samples),
}


def with_columns(specimen: Specimen) -> None:
    """Give the cells positions, and patients who are ill or not."""
    random, n = specimen.random, specimen.shape[0]
    row = np.arange(n)
    specimen.obs["patient"] = [f"p{one % 6}" for one in row]
    specimen.obs["ill"] = np.array(["yes", "no"])[row % 2]
    specimen.obs["age"] = 30.0 + row % 6
    labels = odd_labels(random, n)
    # Mostly one for all cells of a patient.
    specimen.obs["odd"] = pd.Series(labels).iloc[row % 6 % max(n, 1)].to_numpy() if random.random() < 0.7 else labels
    positions = random.normal(size=(n, 2))
    makers: list[Callable[[], np.ndarray]] = [
        lambda: positions,
        lambda: positions.round(),
        lambda: np.zeros((n, 2)),
        lambda: np.where(random.random((n, 1)) < 0.1, np.nan, positions),
        lambda: np.hstack([positions, positions[:, :1]]),
        lambda: positions * 1e12,
    ]
    specimen.obsm[PLACES] = makers[max(0, int(random.integers(-6, len(makers))))]()


def cohort(seed: int) -> Specimen:
    """Odd cells with these columns."""
    specimen = dressed(seed, 6 * int(np.random.default_rng([seed, 4]).integers(1, 9)))
    if specimen.obs.index.size == specimen.shape[0]:
        with_columns(specimen)
    return specimen


def odd_arguments_of_evidence(seed: int, folder: Path) -> str:
    """One argument has an odd value; the cells are plain."""
    specimen = bare(seed, cells=40)
    random, adata = specimen.random, specimen.plain()
    with_columns(specimen)
    for name in ("batch", "label", "patient", "ill", "age"):
        adata.obs[name] = specimen.obs[name].to_numpy()
    adata.obsm[PLACES] = random.normal(size=(40, 2))
    shared = ["layer", "counts", "species"]
    names = {
        "explain": [*shared, "labels", "by", "cells", "n_genes", "seed"],
        "context": [
            *shared, "cells", "labels", "by", "model", "distances", "n_top", "encoder_layer", "tissue_key",
            "spatial_key", "device",
        ],
        "niches": [
            *shared, "spatial_key", "tissue_key", "model", "adapt", "n_neighbors", "n_niches", "resolution",
            "composition", "center_tissues", "precision", "device", "seed", "key_added", "copy",
        ],
        "predict_samples": [
            *shared, "sample_key", "target", "group_key", "label_key", "model", "precision", "device", "seed",
            "key_added",
        ],
    }  # fmt: skip
    needed: dict[str, dict[str, Any]] = {
        "explain": {"labels": trained.explainable(), "progress": False},
        "context": {"labels": "label", "model": trained.model(), "progress": False, "device": "cpu"},
        "niches": {"spatial_key": PLACES, "model": factor_model(), **trained.QUIET},
        "predict_samples": {"sample_key": "patient", "target": "ill", "model": factor_model(), **trained.QUIET},
    }
    verb = list(names)[random.integers(len(names))]
    name = names[verb][random.integers(len(names[verb]))]
    value = ODD_VALUES[random.integers(len(ODD_VALUES))]
    options = needed[verb] | {name: value}
    before = parts(adata)
    try:
        ending = watched(lambda: getattr(cq, verb)(adata, **options), folder=folder)
    except Wrong as wrong:
        raise Wrong(f"cq.{verb}(…, {name}={value!r}): {wrong}") from wrong
    key = options.get("key_added", "niche" if verb == "niches" else None)
    written = ending.error is None and isinstance(key, str)
    added = ["celloquy", repr(key)[:-1], repr(f"X_{key}")] if written else []
    if changes := differences(before, parts(adata), added=added):
        raise Wrong(f"cq.{verb}(…, {name}={value!r}) changed {changes[:5]}")
    return describe(specimen, ending)


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (2, on_cells("explain_of_cells", *VERBS["explain"], draw=cohort)),
    (2, on_cells("context_of_cells", *VERBS["context"], draw=cohort)),
    (2, on_cells("niches_of_cells", *VERBS["niches"], draw=cohort)),
    (2, on_cells("samples_of_cells", *VERBS["samples"], draw=cohort)),
    (4, odd_arguments_of_evidence),
]
"""Cases with their weights: how often each is drawn."""
