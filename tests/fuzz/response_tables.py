"""Odd arguments of the verbs of responses, odd tables of effects, odd descriptions of perturbations, odd scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import celloquy as cq
from arguments import ODD_VALUES
from judge import Ending, Wrong, watched
from oddities import HOSTILE
from response_calls import ODD_NAMES, QUIET, ask, check_parts, check_told, draw, keep
from specimens import SYMBOLS, bare

PERTURBED = ["STAT1", "IRF1", "JAK2", "MYC"]
NAMED: dict[str, Any] = {"perturbation_key": "gene", **QUIET}


def plain_screen(seed: int) -> ad.AnnData:
    """Sixty cells of four perturbations and controls, in two contexts, at two doses, of two donors."""
    specimen = bare(seed, cells=60)
    adata = specimen.plain()
    random = specimen.random
    adata.obs["gene"] = random.choice([*PERTURBED, "control"], 60, p=[0.15] * 4 + [0.4])
    adata.obs["line"] = np.resize(["a", "b"], 60)
    adata.obs["dose"] = random.choice([0.1, 10.0], 60)
    adata.obs["donor"] = np.resize(["d0", "d0", "d1", "d1"], 60)
    adata.obs.loc[adata.obs_names[:8], "gene"] = "control"
    return adata


@cache
def fitted() -> cq.ResponsePredictor:
    return cq.ResponsePredictor(covariate_key="line", dose_key="dose", **NAMED).fit(plain_screen(3))


def how(ending: Ending) -> str:
    return "result" if ending.error is None else type(ending.error).__name__


def odd_arguments_of_responses(seed: int, folder: Path) -> str:
    """One argument has an odd value; the screen is plain."""
    random = np.random.default_rng(seed)
    adata = plain_screen(seed)
    value = ODD_VALUES[random.integers(len(ODD_VALUES))]
    calls: dict[str, tuple[list[str], Callable[[dict[str, Any]], Any]]] = {
        "predict_response": (
            [
                "perturbation_key", "control", "covariate_key", "dose_key", "replicate_key", "contexts", "doses",
                "separator", "values", "described", "model", "priors", "layer", "counts", "device", "seed", "progress",
                "perturbations", "adata",
            ],
            lambda given: cq.predict_response(**({"adata": adata} | NAMED | given)),
        ),
        "predict": (["perturbations", "contexts", "doses", "controls"], lambda given: fitted().predict(**given)),
        "sample_cells": (
            ["controls", "perturbation", "dose"],
            lambda given: fitted().sample_cells(**({"controls": adata, "perturbation": "STAT1"} | given)),
        ),
        "save": (
            ["directory", "overwrite"],
            lambda given: fitted().save(**({"directory": folder / "kept"} | given)),
        ),
        "load": (["directory"], lambda given: cq.ResponsePredictor.load(**given)),
    }  # fmt: skip
    verb = ["predict_response"] * 4 + list(calls)
    verb = verb[random.integers(len(verb))]
    names, call = calls[verb]
    name = names[random.integers(len(names))]
    if verb == "save" and name == "directory" and isinstance(value, str):
        value = str(folder / value)
    try:
        ending = watched(lambda: call({name: value}), unchanged=[adata], folder=folder, makes=made(verb, value, folder))
    except Wrong as wrong:
        if "it printed" in str(wrong) and name == "progress":
            return "result"
        raise Wrong(f"{verb}(…, {name}={value!r}): {wrong}") from wrong
    if verb == "predict_response" and ending.error is None:
        saved(cq.ResponsePredictor(**(NAMED | {name: value})), adata, folder) if name == "seed" else None
    return how(ending)


def made(verb: str, value: Any, folder: Path) -> list[str]:
    """Names that a call may make in the folder."""
    named = [Path(value).relative_to(folder).parts[:1]] if verb == "save" and str(value).startswith(str(folder)) else []
    return ["kept", *(one[0] for one in named if one)] if verb == "save" else []


def saved(predictor: cq.ResponsePredictor, adata: ad.AnnData, folder: Path) -> None:
    """A predictor with an odd parameter that is taken is saved and loaded, too."""
    keep(predictor.fit(adata), folder)


def tables_of_effects(seed: int, folder: Path) -> str:
    """Effects, ranks or expression as a DataFrame, with odd values, types and names."""
    random = np.random.default_rng(seed)
    rows, columns = int(random.integers(0, 9)), int(random.integers(0, 12))
    values: Any = random.normal(size=(rows, columns))
    kind = ["effects", "effects", "ranks", "expression", "counts"][random.integers(5)]
    if kind == "ranks":
        values = np.argsort(np.argsort(values, 1), 1) + random.integers(0, 2)
    if kind == "counts":
        values = random.poisson(2.0, (rows, columns))
    frame = pd.DataFrame(values)
    if random.random() < 0.3 and values.size:
        odd = [np.nan, np.inf, -np.inf, "x", None, "1.5", 1e308, -1, True, 1j, pd.Timestamp("2020-01-01"), [1], b"1"]
        frame = frame.astype(object)
        frame.iloc[random.integers(rows), random.integers(columns)] = odd[random.integers(len(odd))]
    elif random.random() < 0.3:
        types = [np.float16, np.float32, "Float64", "Int64", bool, str, "string", "category", pd.SparseDtype(float, 0)]
        try:
            frame = frame.astype(types[random.integers(len(types))])
        except (ValueError, TypeError):
            return "no object"
    elif random.random() < 0.1:
        frame = frame * 0
    frame.index = odd_index(random, rows)
    pool = [*SYMBOLS[:12]] if random.random() < 0.7 else [*SYMBOLS[:8], *HOSTILE, *range(5)]
    frame.columns = pd.Index([pool[k] for k in random.permutation(len(pool))[:columns]])
    if random.random() < 0.1 and columns > 1:
        frame.columns = [frame.columns[0]] * columns
    options = NAMED | {"values": kind}
    for name, key in (("covariate_key", "line"), ("dose_key", "dose"), ("replicate_key", "donor")):
        if key in frame.index.names or random.random() < 0.05:
            options[name] = key
    if random.random() < 0.2:
        options["described"] = odd_description(random)
    predictor = cq.ResponsePredictor(**options)
    ending = watched(lambda: predictor.fit(frame), unchanged=[frame], folder=folder)
    if ending.error is not None:
        return how(ending)
    check_parts(predictor, folder)
    keep(predictor, folder)
    return how(ask(predictor, random, folder))


def odd_index(random: np.random.Generator, rows: int) -> pd.Index:
    """Names of perturbations as rows of a table."""
    pool: list[Any] = [*PERTURBED, "IRF1+STAT1", "control", "control", "CD3D"]
    if random.random() < 0.3:
        pool += [None, np.nan, 3, 2.5, True, ("a", "b"), *ODD_NAMES]
    names = [pool[k] for k in random.integers(0, len(pool), rows)]
    if random.random() < 0.6:
        return pd.Index(list(map(str, names)) if random.random() < 0.8 else names, name=[None, "gene", 3][rows % 3])
    levels = {"gene": names, "line": random.choice(["a", "b"], rows), "dose": random.choice([0.1, 1.0, 10.0], rows)}
    if random.random() < 0.2:
        levels["dose"] = np.array(["high", None, -1])[random.integers(0, 3, rows)]
    kept = ["gene", *(name for name in ("line", "dose") if random.random() < 0.7)]
    labels: list[Any] = kept if random.random() < 0.8 else [None, "gene", "gene"][: len(kept)]
    return pd.MultiIndex.from_arrays([levels[name] for name in kept], names=labels)


def odd_description(random: np.random.Generator) -> Any:
    """What is known of perturbations, by right and by odd values."""
    if random.random() < 0.1:
        return ODD_VALUES[random.integers(len(ODD_VALUES))]
    pool: list[Any] = [*PERTURBED, "CD3D", "drug", "control"]
    rows = int(random.integers(0, 8))
    index = [pool[k] for k in random.permutation(len(pool))[:rows]]
    odd: list[Any] = [
        np.nan, None, np.inf, "x", "", True, 3, 1e308, 1e-308, b"CCO", ["CD3D", "LYZ"], 1j, {"a": 1}, "é;|,", ";;",
        pd.Timestamp("2020-01-01"), "C1CC", "c1ccccc1", "CD3D;LYZ", "[Na+].[Cl-]", "C" * 5000, "\0", "细胞", ("a",),
    ]  # fmt: skip
    right: dict[str, list[Any]] = {
        "smiles": ["CCO", "c1ccccc1", "CC(=O)O", "", None, "CN"],
        "targets": ["CD3D", "LYZ;CD4", "", None, "nothing", "STAT1"],
        "mechanism": ["kinase", "kinase;other", "", None],
        "size": [1.0, 2, 3.5, -1],
        "other": [0, 1],
    }
    frame = pd.DataFrame(index=pd.Index(index, dtype=object))
    for name, usual in right.items():
        if random.random() < 0.5:
            values = [usual[k] for k in random.integers(0, len(usual), rows)]
            if random.random() < 0.3 and rows:
                values[random.integers(rows)] = odd[random.integers(len(odd))]
            frame[name] = pd.Series(values, index=frame.index, dtype=object if random.random() < 0.7 else None)
    if random.random() < 0.2 and rows:
        frame[["", 3, "size", "a b"][random.integers(4)]] = odd_numbers(random, rows)
    if random.random() < 0.1 and frame.shape[1]:
        frame = pd.concat([frame, frame.iloc[:, :1]], axis=1)
    if random.random() < 0.1 and rows:
        frame.index = [
            pd.Index([1, "1", *index][:rows], dtype=object), pd.Index([None] * rows), pd.RangeIndex(rows),
            pd.MultiIndex.from_arrays([index, index]), pd.Index([index[0]] * rows), pd.CategoricalIndex(index),
        ][random.integers(6)]  # fmt: skip
    return frame


def odd_numbers(random: np.random.Generator, rows: int) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: pd.array([1, None, *[2] * rows][:rows], dtype="Int64"),
        lambda: pd.Categorical(["1", "2", *["3"] * rows][:rows]),
        lambda: pd.date_range("2020-01-01", periods=rows),
        lambda: random.random(rows) < 0.5,
        lambda: np.full(rows, 1e308) * random.choice([-1, 1], rows),
        lambda: pd.to_timedelta(np.arange(rows), unit="s"),
        lambda: np.full(rows, 2**64 - 1, dtype=np.uint64),
        lambda: pd.arrays.SparseArray(np.arange(rows, dtype=float)),
        lambda: pd.array(["1"] * rows, dtype="string"),
        lambda: random.random(rows) * 1e-300,
    ]
    return makers[random.integers(len(makers))]()


def described_perturbations(seed: int, folder: Path) -> str:
    """A plain screen with odd descriptions."""
    random = np.random.default_rng(seed)
    adata, described = plain_screen(seed), odd_description(random)
    predictor = cq.ResponsePredictor(described=described, **NAMED)
    ending = watched(lambda: predictor.fit(adata), unchanged=[adata, described], folder=folder)
    if ending.error is not None:
        return how(ending)
    check_parts(predictor, folder)
    names = [str(name) for name in described.index] if isinstance(described, pd.DataFrame) else ["STAT1"]
    told = watched(lambda: predictor.predict([*names, "IRF1"]), folder=folder)
    if told.error is None:
        check_told(predictor, told.value, folder)
    keep(predictor, folder)
    draw(predictor, adata, random, folder)
    return how(ending)


def odd_scores(seed: int, folder: Path) -> str:
    """Changes of odd shapes and types are compared or refused."""
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(0, 6, 2).tolist())
    changes = random.normal(size=shape)
    odd: list[Any] = [
        None, 3, "x", [], [[1]], np.full(shape, np.nan), np.full(shape, np.inf), changes * 1e200, changes * 0,
        changes.astype(object), changes.astype(str), pd.DataFrame(changes), sparse.csr_matrix(changes), changes[:, :1],
        changes[0] if len(changes) else changes, changes > 0, changes.astype(np.float32), changes + 1j, [["a"]],
        [[1], [1, 2]], {}, np.ma.masked_array(changes, changes > 0), changes[..., None],
    ]  # fmt: skip
    given = [changes, random.normal(size=shape), [None, changes, changes.mean(0)][random.integers(3)]]
    given[random.integers(3)] = odd[random.integers(len(odd))]
    ending = watched(lambda: cq.evaluate.score_responses(*given), folder=folder)
    if ending.error is None:
        table = ending.value.drop(columns="discrimination") if shape[0] < 2 else ending.value
        if not np.isfinite(table.to_numpy()).all():
            raise Wrong(f"scores are not finite: {table}")
    return how(ending)


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (5, odd_arguments_of_responses),
    (4, tables_of_effects),
    (4, described_perturbations),
    (1, odd_scores),
]
"""Cases with their weights: how often each is drawn."""
