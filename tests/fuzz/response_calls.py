"""Calls of the verbs of responses on odd screens: predictions of the right form or a refusal, and the screen as it was.

Odd arguments, tables of effects and descriptions are in ``response_tables``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq
from cases import describe
from files import written
from judge import Ending, NoObject, Wrong, parts, watched
from oddities import HOSTILE
from specimens import End, Specimen, bare, dressed

QUIET: dict[str, Any] = {"progress": False, "device": "cpu", "priors": ["signalling"]}
NAMES = ["STAT1", "IRF1", "JAK2", "MYC", "IRF1+STAT1", "CD3D", "drug"]
ODD_NAMES = [
    *HOSTILE, "STAT1+control", "control+control", "a+b+", "+", "++", " STAT1", "stat1", "Control", "control ",
    "STAT1_g2", "ENSG00000115415.14", "IRF1 + STAT1", "STAT1+STAT1", "STAT1+IRF1", "×" * 40, "CCO", "Ins1",
]  # fmt: skip
ODD_DOSES = ["high", "", "1 uM", "1e-3", " 2 ", None, np.nan, np.inf, -np.inf, 0, -1, -0.0, 1e-320, 1e308, True, "1,5"]
CODES = {"layer", "counts"}
"""Reading options of a predictor."""
UNREAD = {"numbered_genes", "only_hostile_genes", "other_species"}
"""What it takes as it is: genes of any name."""


def odd_column(random: np.random.Generator, values: list[Any]) -> Any:
    """A column of these values as pandas may hold it."""
    text = [str(one) for one in values]
    makers: list[Callable[[], Any]] = [
        lambda: values,
        lambda: np.array(values, dtype=object),
        lambda: pd.Categorical(text),
        lambda: pd.Categorical(text, categories=[*dict.fromkeys([*text, "gone"])]),
        lambda: pd.array(text, dtype="string"),
        lambda: np.array([one.encode("utf-8", "surrogatepass") for one in text], dtype=object),
        lambda: np.where(random.random(len(text)) < 0.2, None, np.array(text, dtype=object)),
        lambda: pd.Categorical(np.where(random.random(len(text)) < 0.2, None, np.array(text, dtype=object))),
    ]
    return makers[random.integers(len(makers)) if random.random() < 0.3 else random.integers(4)]()


def screen(specimen: Specimen) -> dict[str, Any]:
    """Give a specimen the columns of a screen, odd ones among them; return how they are named."""
    random, n = specimen.random, specimen.shape[0]

    def odd(share: float) -> bool:
        return bool(random.random() < share)

    names = [str(one) for one in random.choice(NAMES, random.integers(1, 6), replace=False)]
    if odd(0.3):
        names[random.integers(len(names))] = str(random.choice(ODD_NAMES))
    options: dict[str, Any] = {"perturbation_key": "gene", "control": "control"}
    columns: dict[str, Any] = {"gene": [str(random.choice(names)) if odd(0.6) else "control" for _ in range(n)]}
    if odd(0.5):
        contexts = ["a", "b"] if odd(0.8) else [str(random.choice(HOSTILE)) for _ in range(2)]
        columns["line"], options["covariate_key"] = [str(random.choice(contexts)) for _ in range(n)], "line"
    if odd(0.4):
        doses = [ODD_DOSES[random.integers(len(ODD_DOSES))], 1, "2"] if odd(0.3) else [0.1, 1, 10.0]
        columns["dose"], options["dose_key"] = [doses[random.integers(3)] for _ in range(n)], "dose"
    if odd(0.3):
        donors = int(random.integers(1, 4))
        columns["donor"] = [f"d{random.integers(donors)}" for _ in range(n)]
        options["replicate_key"] = "donor"
    for name, values in columns.items():
        specimen.obs[name] = odd_column(random, values) if odd(0.2) else values
    if odd(0.05):
        specimen.obs["gene"] = [
            random.integers(0, 3, n), random.random(n), random.random(n) < 0.5, pd.date_range("2020-01-01", periods=n),
            [["a"]] * n, [None] * n, pd.Categorical([None] * n, categories=["control"]),
        ][random.integers(7)]  # fmt: skip
        options["control"] = ["0", "False", "control", 0, False][random.integers(5)]
    if odd(0.05):
        options["control"] = [
            "nowhere", [], "", None, 3, ["control", "DMSO"], ["control", None], ("control",), b"control", names,
            "control+control", " control",
        ][random.integers(12)]  # fmt: skip
    if odd(0.03):
        specimen.obs = pd.concat([specimen.obs, specimen.obs[["gene"]]], axis=1)
    if odd(0.1):
        options["separator"] = ["", " ", "_", "++", "T", ",", "control", "."][random.integers(8)]
    return options


def responses_of_cells(seed: int, folder: Path) -> str:
    """Fit to an odd screen, in memory or in a file, and ask for what is odd."""
    specimen = dressed(seed, int(np.random.default_rng([seed, 2]).integers(2, 90)))
    random = specimen.random
    options = {name: one for name, one in specimen.options.items() if name in CODES} | screen(specimen) | QUIET
    if random.random() < 0.05:
        options["priors"] = "auto"
    if random.random() < 0.25:
        options["values"] = ["expression", "effects", "ranks"][random.integers(3)]
        if options["values"] == "expression" and random.random() < 0.8:
            specimen.counts.data = specimen.counts.data * 0.37
    if random.random() < 0.2:
        specimen.options = {name: one for name, one in options.items() if name.endswith("_key") or name == "layer"}
        file = written(specimen, folder / "screen.h5ad")
        adata: Any = [str(file), file, backed(file)][random.integers(3)]
    else:
        adata = specimen.build()
    unchanged = [adata] if isinstance(adata, ad.AnnData) else []
    try:
        ending = watched(lambda: fitted(options, adata), unchanged=unchanged, folder=folder)
        if options.get("values", "counts") == "counts":
            check_refusal(specimen, ending)
        if ending.error is None:
            predictor = ending.value
            check_parts(predictor, folder)
            endings = [ask(predictor, random, folder) for _ in range(4)]
            ending = endings[0]
            keep(predictor, folder)
            draw(predictor, adata, random, folder)
    finally:
        if isinstance(adata, ad.AnnData) and adata.isbacked:
            adata.file.close()
    return describe(specimen, ending)


def fitted(options: dict[str, Any], cells: Any) -> cq.ResponsePredictor:
    return cq.ResponsePredictor(**options).fit(cells)


def backed(file: Path) -> ad.AnnData:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ad.read_h5ad(file, backed="r")
    except Exception as error:
        raise NoObject(str(error)) from error


def check_refusal(specimen: Specimen, ending: Ending) -> None:
    """What is no count was refused."""
    refused = [
        name
        for name, end in specimen.ends.items()
        if end is End.REFUSAL and name not in UNREAD and not name.startswith(("tissue", "positions"))
    ]
    if refused and ending.error is None:
        raise Wrong(f"what can't be right was accepted: {refused}")


def ask(predictor: cq.ResponsePredictor, random: np.random.Generator, folder: Path) -> Ending:
    """Ask for odd conditions, in contexts of odd controls perhaps."""
    asked: dict[str, Any] = {}
    if random.random() < 0.5:
        pool: list[Any] = NAMES if random.random() < 0.7 else [*NAMES, *ODD_NAMES]
        several = [pool[k] for k in random.integers(0, len(pool), random.integers(0, 4))]
        asked["perturbations"] = [several, np.array(several, dtype=object), pd.Series(several, dtype=object), "STAT1"][
            random.integers(4)
        ]
    if random.random() < 0.15:
        asked["contexts"] = ["a", ["a", "b"], "nowhere", [], "", ["a", 3]][random.integers(6)]
    if random.random() < 0.2:
        asked["doses"] = [0.1, 3, [1, 10], [], "1", [-1], [None], np.array([0.1, 5]), True, np.inf, 1e300, 1e-300][
            random.integers(12)
        ]
    if random.random() < 0.15:
        others = dressed(int(random.integers(10**6)))
        if random.random() < 0.7:
            others.obs["line"] = odd_column(random, random.choice(["z", "a", ""], others.shape[0]).tolist())
        asked["controls"] = others.build()
    unchanged = [asked["controls"]] if "controls" in asked else []
    ending = watched(lambda: predictor.predict(**asked), unchanged=unchanged, folder=folder)
    if ending.error is None:
        check_told(predictor, ending.value, folder)
    return ending


def check_parts(predictor: cq.ResponsePredictor, folder: Path) -> None:
    """What a fitted predictor tells of itself has the documented form."""
    report = watched(lambda: (predictor.report_, predictor.summary(), repr(predictor)), folder=folder).value[0]
    if not np.isfinite(report[["loss", "gain", "weight"]].to_numpy(dtype=np.float64)).all():
        raise Wrong(f"the report has values that are not finite: {report}")
    for name in ("measured_", "held_out_"):
        part = watched(lambda name=name: getattr(predictor, name), folder=folder).value
        if not all(np.isfinite(one).all() for one in (part.X, *part.layers.values())):
            raise Wrong(f"{name} has values that are not finite")
        stored(part, folder)


def check_told(predictor: cq.ResponsePredictor, told: ad.AnnData, folder: Path) -> None:
    """Predictions have the documented form."""
    columns = {"perturbation", "context", "dose", "situation", "method", "reliability"}
    if missing := columns - set(told.obs) or {"change", "lower", "upper"} - set(told.layers):
        raise Wrong(f"predictions lack {missing}")
    if not told.n_obs or told.var_names.tolist() != list(predictor.profiles_.genes):
        raise Wrong(f"predictions have the shape {told.shape}")
    change, low, high = (np.asarray(told.layers[name]) for name in ("change", "lower", "upper"))
    if not (np.isfinite(told.X).all() and np.isfinite(change).all()):
        raise Wrong("predictions are not finite")
    if not np.array_equal(np.isnan(low), np.isnan(high)) or np.isinf(low).any() or (low > high).any():
        raise Wrong("an interval is none")
    reliability = told.obs["reliability"].to_numpy(dtype=np.float64)
    if not (np.isnan(reliability) | ((reliability >= 0) & (reliability <= 1))).all():
        raise Wrong(f"reliability is {reliability}")
    if told.obs_names.has_duplicates:
        raise Wrong("conditions have the same name")
    stored(told, folder)


def stored(adata: ad.AnnData, folder: Path) -> None:
    """A result can be written to a file, if its genes can."""
    file = folder / "told.h5ad"
    with warnings.catch_warnings(action="ignore"):
        try:
            ad.AnnData(var=adata.var).write_h5ad(file)
        except Exception:
            return
        try:
            adata.write_h5ad(file)
        except Exception as error:
            raise Wrong(f"a result can't be written to a file: {error}") from error
        finally:
            file.unlink(missing_ok=True)


def keep(predictor: cq.ResponsePredictor, folder: Path) -> None:
    """What is saved and loaded predicts the same."""
    place = folder / "kept"
    watched(lambda: predictor.save(place), folder=folder, makes=["kept"])
    if not place.is_dir():
        raise Wrong("it can't be saved")
    again = watched(lambda: cq.ResponsePredictor.load(place), folder=folder)
    if again.error is not None:
        raise Wrong(f"what was saved can't be loaded: {again.error}")
    again.value.progress = False
    first, second = (watched(lambda one=one: one.predict(), folder=folder) for one in (predictor, again.value))
    if first.error is not None or second.error is not None:
        if str(first.error) != str(second.error):
            raise Wrong(f"the predictor says {first.error}, the loaded one {second.error}")
        return
    for name in ("change", "lower", "upper"):
        if not np.array_equal(first.value.layers[name], second.value.layers[name], equal_nan=True):
            raise Wrong(f"{name} of the loaded predictor differs")
    if parts(first.value)["obs[0]'perturbation'"] != parts(second.value)["obs[0]'perturbation'"]:
        raise Wrong("conditions of the loaded predictor differ")


def draw(predictor: cq.ResponsePredictor, adata: Any, random: np.random.Generator, folder: Path) -> None:
    """Draw cells from the screen's own, or from others."""
    if random.random() < 0.5:
        return
    others = bare(int(random.integers(10**6)))
    others.obs["line"] = "a"
    controls = adata if random.random() < 0.7 else others.build()
    first = predictor.profiles_.conditions[0].parts
    pool: list[Any] = [*ODD_NAMES, 3, None]
    name = "+".join(first) if random.random() < 0.6 else pool[random.integers(len(pool))]
    dose = [None, 1, -1, "1", np.nan, [1], 0.1][random.integers(7) if random.random() < 0.3 else 0]
    unchanged = [controls] if isinstance(controls, ad.AnnData) else []
    ending = watched(lambda: predictor.sample_cells(controls, name, dose=dose), unchanged=unchanged, folder=folder)
    if ending.error is None:
        cells = ending.value
        values = cells.X.data
        if (values < 0).any() or not np.array_equal(values, np.rint(values)):
            raise Wrong("drawn cells have values that are no counts")
        if cells.n_vars != len(predictor.profiles_.genes) or (unchanged and cells.n_obs != controls.n_obs):
            raise Wrong(f"drawn cells have the shape {cells.shape}")
        if unchanged and not cells.obs_names.equals(controls.obs_names):
            raise Wrong("drawn cells have other names")


CASES: list[tuple[int, Callable[[int, Path], str]]] = [(8, responses_of_cells)]
"""Cases with their weights: how often each is drawn."""
