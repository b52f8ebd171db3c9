"""Calls of the verbs of genes on random cells: a table of the right form or a refusal, and the cells as they were."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import celloquy as cq
import trained
from arguments import ODD_VALUES
from cases import check_end, describe
from judge import Wrong, differences, parts, watched
from specimens import End, Specimen, bare, dressed, ids_of_symbols

READING = ("layer", "counts", "species")
FACTORS = ["LEF1", "TCF7", "FOXP3", "JUN", "FOS"]


@cache
def factor_model() -> cq.FactorModel:
    """Random loadings of the genes."""
    vocabulary = cq.GeneVocabulary.from_ids(ids_of_symbols())
    model = cq.FactorModel(cq.FactorModelConfig(width=4), vocabulary)
    with torch.no_grad():
        values = np.random.default_rng(0).normal(size=tuple(model.loadings.shape))
        model.loadings.copy_(torch.from_numpy(values.astype(np.float32)))
    return model.eval()


def network(adata: Any, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    method = ["pearson", "spearman", "partial", "ridge", ["pearson", "prior"], "auto"][random.integers(6)]
    by = [None, None, "label", "batch"][random.integers(4)]
    return cq.infer_network(adata, regulators=FACTORS, method=method, by=by, progress=False, device="cpu", **options)


def perturbed(adata: Any, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    how = ["delete", "overexpress", 2.0, 0][random.integers(4)]
    by = [None, None, "label", "batch"][random.integers(4)]
    return cq.perturb(
        adata, ["CD3D", "LYZ"][: random.integers(1, 3)], model=factor_model(), how=how, by=by, n_random=5,
        together=bool(random.random() < 0.3), **trained.QUIET, **options,
    )  # fmt: skip


def drivers(adata: Any, options: dict[str, Any], random: np.random.Generator) -> pd.DataFrame:
    column, source, target = [("label", "B cell", "T cell"), ("batch", "b0", "b1"), ("donor", "0", "1")][
        random.integers(3)
    ]
    return cq.rank_drivers(
        adata, source=source, target=target, by=column, model=factor_model(), n_random=5,
        pairs=bool(random.random() < 0.3), **trained.QUIET, **options,
    )  # fmt: skip


VERBS: dict[str, Callable[[Any, dict[str, Any], np.random.Generator], pd.DataFrame]] = {
    "network": network,
    "perturb": perturbed,
    "drivers": drivers,
}
FINITE = {
    "network": ["score", "sign", "rank"],
    "perturb": ["p", "q", "n_cells"],
    "drivers": ["t", "p", "q", "states_p"],
}


def on_cells(
    name: str, call: Callable[..., Any], check: Callable[[Any], None], *, unread: Collection[str] = (),
    draw: Callable[[int], Specimen] = dressed,
) -> Callable[[int, Path], str]:  # fmt: skip
    """A case: a verb on an odd object, in memory.

    Parameters
    ----------
    name
        Name of the case.
    call
        Calls the verb on the object with reading options and a generator that draws its other arguments.
    check
        Raises Wrong if the result is not right.
    unread
        Oddities that the verb does not read, and so need not refuse; tissues and positions are none of its either.
    draw
        Makes the specimen of a seed.
    """

    def case(seed: int, folder: Path) -> str:
        specimen = draw(seed)
        adata = specimen.build()
        options = {name: specimen.options[name] for name in READING if name in specimen.options}
        drawn = int(specimen.random.integers(2**31))
        ending = watched(
            lambda: call(adata, options, np.random.default_rng(drawn)), unchanged=[adata], folder=folder
        )  # fmt: skip
        ends = {one: end for one, end in specimen.ends.items() if "tissue" not in one and "position" not in one}
        if any(end is End.REFUSAL for one, end in ends.items() if one not in unread):
            check_end(specimen, ending)
        if ending.error is None:
            check(ending.value)
        return describe(specimen, ending)

    case.__name__ = name
    return case


def of_genes(verb: str) -> Callable[[int, Path], str]:
    """A case of a verb of genes, which needs fewer genes than others."""
    unread = {"numbered_genes", "only_hostile_genes", "other_species"}
    return on_cells(f"{verb}_of_genes", VERBS[verb], lambda table: check_table(verb, table), unread=unread)


def check_table(verb: str, table: pd.DataFrame) -> None:
    for name in FINITE[verb]:
        values = table.loc[~table.get("gene", pd.Series("", table.index)).str.contains("+", regex=False), name]
        if not np.isfinite(values.to_numpy(dtype=np.float64)).all():
            raise Wrong(f"{name} has values that are not finite")
    for name in ("p", "q"):
        if name in table and not table[name].between(0, 1).all():
            raise Wrong(f"{name} is {table[name].min()} to {table[name].max()}")
    if verb == "network" and (table["regulator"] == table["target"]).any():
        raise Wrong("a gene regulates itself")


def odd_arguments_of_genes(seed: int, folder: Path) -> str:
    """One argument has an odd value; the cells are plain."""
    specimen = bare(seed, cells=40)
    random, adata = specimen.random, specimen.plain()
    for name in ("batch", "label"):
        adata.obs[name] = specimen.obs[name].to_numpy()
    shared = ["layer", "counts", "species", "precision", "device", "seed", "model", "by"]
    names = {
        "infer_network": [
            *shared,
            "regulators",
            "targets",
            "method",
            "n_edges",
            "max_cells",
            "normalised",
            "key_added",
        ],
        "perturb": [*shared, "genes", "how", "together", "of", "n_cells", "n_random"],
        "rank_drivers": [*shared, "source", "target", "candidates", "how", "pairs", "n_cells", "n_random"],
        "classify_genes": ["genes", "labels", "to", "model", "evidence", "folds", "unknown", "seed", "device"],
    }
    genes = list(ids_of_symbols())
    needed: dict[str, dict[str, Any]] = {
        "infer_network": {"regulators": FACTORS, "method": "pearson", "progress": False},
        "perturb": {"genes": ["CD3D"], "model": factor_model(), "n_random": 5, **trained.QUIET},
        "rank_drivers": {
            "source": "B cell", "target": "T cell", "by": "label", "model": factor_model(), "n_random": 5,
            **trained.QUIET,
        },
        "classify_genes": {
            "genes": genes, "labels": [number % 2 for number in range(len(genes))], "evidence": ["expression"],
            "progress": False,
        },
    }  # fmt: skip
    verb = list(names)[random.integers(len(names))]
    name = names[verb][random.integers(len(names[verb]))]
    value = ODD_VALUES[random.integers(len(ODD_VALUES))]
    options = needed[verb] | {name: value}
    first = [options.pop(one) for one in ("genes", "labels") if one in options]
    given = first if verb == "classify_genes" else [adata, *first]
    before = parts(adata)
    try:
        ending = watched(lambda: getattr(cq, verb)(*given, **options), folder=folder)
    except Wrong as wrong:
        raise Wrong(f"cq.{verb}(…, {name}={value!r}): {wrong}") from wrong
    key = value if name == "key_added" and isinstance(value, str) else None
    added = [repr(f"{key}")[:-1]] if key is not None and ending.error is None else []
    if changes := differences(before, parts(adata), added=added):
        raise Wrong(f"cq.{verb}(…, {name}={value!r}) changed {changes[:5]}")
    return describe(specimen, ending)


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (3, of_genes("network")),
    (3, of_genes("perturb")),
    (3, of_genes("drivers")),
    (4, odd_arguments_of_genes),
]
"""Cases with their weights: how often each is drawn."""
