"""Calls with odd arguments: values, inputs and names that are something else than they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import celloquy as cq
import trained
from cases import describe
from judge import Wrong, watched
from oddities import HOSTILE
from specimens import bare

ODD_VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2.5, float("nan"), float("inf"), 10**20, "", "auto", "x", "mini", b"bytes", [], [1],
    ["a"], (), {}, {"a": 1}, object, np.float32(0.5), np.int64(2), np.array([1, 2]), pd.Series([1]), "a/b", "4 GB",
    "-1 GB",
]  # fmt: skip


def odd_arguments(seed: int, folder: Path) -> str:
    """One argument of a verb has an odd value; the cells are plain."""
    specimen = bare(seed)
    random, adata = specimen.random, specimen.plain()
    adata.obs["batch"], adata.obs["label"] = specimen.obs["batch"].to_numpy(), specimen.obs["label"].to_numpy()
    shared = ["layer", "counts", "tissue_key", "spatial_key", "species", "precision", "device", "key_added"]
    fitted = [*shared, "seed", "epochs", "config", "model", "freeze_encoder", "training"]
    names = {
        "embed": [*shared, "model", "batch_size", "max_memory"],
        "annotate": [*fitted, "label_key", "false_unknown_rate", "top_k", "reference", "batch_key"],
        "denoise": [*fitted, "unit", "genes", "n_neighbors", "batch_key"],
        "integrate": [*fitted, "batch_key", "batch_mixing", "n_top_genes"],
        "impute": [*fitted, "reference", "genes", "n_models", "batch_mixing", "reference_layer"],
        "pretrain": [*(set(fitted) - {"key_added", "model", "freeze_encoder"}), "batch_key", "vocabulary"],
    }
    needed: dict[str, dict[str, Any]] = {
        "embed": {"model": trained.model(), **trained.QUIET},
        "annotate": {"reference": adata.copy(), "label_key": "label", **trained.FAST},
        "denoise": dict(trained.FAST),
        "integrate": {"batch_key": "batch", **trained.FAST},
        "impute": {"reference": trained.reference(), "n_models": 2, "spatial_key": None, **trained.FAST},
        "pretrain": dict(trained.FAST),
    }
    verb = list(names)[random.integers(len(names))]
    name = sorted(names[verb])[random.integers(len(names[verb]))]
    value = ODD_VALUES[random.integers(len(ODD_VALUES))]
    if name == "epochs" and isinstance(value, int) and value > 10**6:
        value = 1  # it would be done
    cells = adata[:, 8:].copy() if verb == "impute" else adata
    options = needed[verb] | {name: value} | ({} if verb == "pretrain" else {"copy": True})
    try:
        ending = watched(lambda: getattr(cq, verb)(cells, **options), unchanged=[cells], folder=folder)
    except Wrong as wrong:
        raise Wrong(f"cq.{verb}(…, {name}={value!r}): {wrong}") from wrong
    return describe(specimen, ending)


def odd_input(seed: int, folder: Path) -> str:
    """What is given for the cells, the reference or the model is something else."""
    random = np.random.default_rng(seed)
    things: list[Any] = [
        None, 3, "nowhere.h5ad", "", b"x", [], {}, pd.DataFrame({"a": [1]}), np.zeros((2, 2)), folder, str(folder),
        trained.model(), trained.annotator(), bare(seed).plain().X, trained.reference().obs, (1, 2), object(),
        Path("nowhere"), Path("\0"), "a\0b", [trained.reference(), 3], trained.reference().raw,
    ]  # fmt: skip
    thing = things[random.integers(len(things))]
    verb = ["embed", "annotate", "denoise", "integrate", "impute", "pretrain", "recover_counts"][random.integers(7)]
    needed: dict[str, dict[str, Any]] = {
        "embed": {"model": trained.model(), **trained.QUIET},
        "annotate": {"reference": trained.reference(), "label_key": "label", "copy": True, **trained.FAST},
        "denoise": dict(trained.FAST), "integrate": {"batch_key": "batch", **trained.FAST},
        "impute": {"reference": trained.reference(), "n_models": 2, **trained.FAST}, "pretrain": dict(trained.FAST),
        "recover_counts": {},
    }  # fmt: skip
    cells: Any = thing
    options = needed[verb]
    if "reference" in options and random.random() < 0.5:
        cells, options = bare(seed).plain(), options | {"reference": thing}
    elif verb == "embed" and random.random() < 0.5:
        cells, options = bare(seed).plain(), options | {"model": thing}
    try:
        ending = watched(lambda: getattr(cq, verb)(cells, **options), folder=folder)
    except Wrong as wrong:
        raise Wrong(f"cq.{verb} given {thing!r}: {wrong}") from wrong
    right = thing is trained.model() and options.get("model") is thing and cells is not thing
    if ending.error is None and not right and not isinstance(thing, list):
        raise Wrong(f"cq.{verb} took {thing!r}")
    return "result" if ending.error is None else type(ending.error).__name__


def recover(seed: int, folder: Path) -> str:
    """Counts restored from normalised ones are those counts."""
    specimen = bare(seed)
    random = specimen.random
    counts = specimen.counts.toarray()
    total = counts.sum(axis=1, keepdims=True)
    target = [1e4, 1e6, float(np.median(total)), 1.0][random.integers(4)]
    values = counts / total * target
    if random.random() < 0.8:
        values = np.log1p(values) / [1, np.log(2), np.log(10)][random.integers(3)]
    kind = [np.float32, np.float64, np.float16][random.integers(3)]
    specimen.counts = type(specimen.counts)(values.astype(kind).astype(np.float64))
    adata = specimen.build()
    ending = watched(lambda: cq.recover_counts(adata), unchanged=[adata], folder=folder)
    if ending.error is None:
        found = ending.value.X.toarray()
        common = np.gcd.reduce(counts.astype(np.int64), axis=1)[:, None]
        if not np.array_equal(found * common, counts):
            raise Wrong("the counts restored are others")
    return describe(specimen, ending)


def gene_names(seed: int, folder: Path) -> str:
    """Any names, through what reads names of genes."""
    random = np.random.default_rng(seed)
    pool: list[Any] = [
        *HOSTILE, *trained.reference().var_names[:10], "Cd3e", "ENSMUSG00000032093", "1-Mar", "MARCH1", "X5S_rRNA",
        "hg19_CD3E", "mm10_Cd3e", None, 5, float("nan"), b"CD3E", "CD3E.1", "CD3E-ADT", "AB_CD3", "ERCC-00002", ("a",),
    ]  # fmt: skip
    names = [pool[k] for k in random.integers(0, len(pool), random.integers(0, 30))]
    given: Any = [names, np.array(names, dtype=object), pd.Index(names, dtype=object), iter(names), "CD3E", None, 5][
        min(6, random.integers(0, 9))
    ]
    species = [None, None, "human", "mouse", "fly", 3][random.integers(6)]
    calls: list[Callable[[], Any]] = [
        lambda: cq.identify_genes(given, species=species),
        lambda: cq.GeneVocabulary.from_names(given),
        lambda: cq.GeneVocabulary.from_names(given, keep_unknown=True),
        lambda: cq.GeneVocabulary.from_ids(given),
        lambda: trained.model().vocabulary.align(given),
        lambda: cq.orthologs(given, to=["human", "mouse", "fly"][random.integers(3)]),
    ]
    call = calls[random.integers(len(calls))]
    ending = watched(call, folder=folder)
    if ending.error is None:
        repr(ending.value)
    return "result" if ending.error is None else type(ending.error).__name__


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (6, odd_arguments),
    (3, odd_input),
    (3, recover),
    (5, gene_names),
]
"""Cases with their weights: how often each is drawn."""
