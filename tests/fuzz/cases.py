"""Calls on random cells in memory: every verb gives the result of the plain cells, or refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import celloquy as cq
import trained
from judge import Ending, Wrong, differences, parts, watched
from oddities import HOSTILE, mouse_genes
from specimens import End, Specimen, bare, dressed

Verb = Callable[[ad.AnnData, dict[str, Any]], ad.AnnData | None]
"""A verb with its model: takes an object, reading options and those of the result."""


def embed(adata: ad.AnnData, options: dict[str, Any]) -> ad.AnnData | None:
    return cq.embed(adata, model=trained.model(), **trained.QUIET, **options)


def predictor(task: Callable[[], Any]) -> Verb:
    def predict(adata: ad.AnnData, options: dict[str, Any]) -> ad.AnnData | None:
        reading = {"layer", "counts", "tissue_key", "spatial_key", "species"}
        own = {name: options[name] for name in options.keys() & reading}
        rest = {name: value for name, value in options.items() if name not in own}
        return trained.reading(task(), own).predict(adata, **rest)

    return predict


VERBS: dict[str, tuple[Verb, str]] = {
    "embed": (embed, "X_celloquy"),
    "annotate": (predictor(trained.annotator), "celloquy_probability"),
    "denoise": (predictor(trained.denoiser), "celloquy_denoised"),
    "integrate": (predictor(trained.integrator), "X_celloquy"),
    "impute": (predictor(trained.imputer), "celloquy_imputed"),
}


def read_result(adata: ad.AnnData, key: str) -> np.ndarray:
    """The main result of a verb."""
    # An annotation by another column of labels keeps the usual keys.
    key = next((one for one in (key.replace("celloquy_", "celloquy_label_"), key) if one in adata.obsm), key)
    if key in adata.obsm:
        return np.asarray(adata.obsm[key], dtype=np.float64)
    return np.asarray(adata.layers[key], dtype=np.float64)


def check_result(specimen: Specimen, verb: str, found: np.ndarray) -> None:
    """The result is that of the plain cells."""
    if found.shape[0] != specimen.shape[0] or not np.isfinite(found).all():
        raise Wrong(f"the result has shape {found.shape}, and {np.isnan(found).sum()} values that are missing")
    if not specimen.comparable:
        return
    call, key = VERBS[verb]
    plain = specimen.plain()
    with np.errstate(all="ignore"):
        call(plain, specimen.plain_options())
    expected = read_result(plain, key)
    # One column for every column of the object, where the plain one has one for every gene.
    if verb == "denoise" and specimen.columns != plain.var_names.tolist():
        if found.shape != specimen.shape:
            raise Wrong(f"the result has shape {found.shape} for {specimen.shape}")
        return
    if found.shape != expected.shape:
        raise Wrong(f"the result has shape {found.shape}, that of the plain cells {expected.shape}")
    scale = np.abs(expected).max(initial=1e-3)
    if np.abs(found - expected).max(initial=0) > 2e-4 * scale:
        raise Wrong(
            f"the result differs from that of the plain cells by {np.abs(found - expected).max():g} of {scale:g}"
        )


def check_end(specimen: Specimen, ending: Ending) -> None:
    """A call that must be refused was, and one that must not was not."""
    if specimen.end is End.RESULT and ending.error is not None:
        raise Wrong(f"plain cells were refused: {ending.error}")
    if specimen.end is End.REFUSAL and ending.error is None:
        refused = [name for name, end in specimen.ends.items() if end is End.REFUSAL]
        raise Wrong(f"what can't be right was accepted: {refused}")


def in_memory(verb: str) -> Callable[[int, Path], str]:
    """A case: a verb that is fitted, on an object in memory, which gets the result or is copied."""

    def case(seed: int, folder: Path) -> str:
        specimen = dressed(seed)
        adata = specimen.build()
        call, key = VERBS[verb]
        copy = bool(specimen.random.random() < 0.4)
        added = str(specimen.random.choice(HOSTILE)) if specimen.random.random() < 0.1 else None
        options = specimen.options | {"copy": copy} | ({"key_added": added} if added is not None else {})
        before = parts(adata)
        storable = specimen.random.random() < 0.05 and can_be_stored(adata, folder / "before.h5ad")
        if added is not None:
            specimen.ends["key_added"] = End.EITHER
        ending = watched(lambda: call(adata, options), unchanged=[adata] if copy else [], folder=folder)
        check_end(specimen, ending)
        if ending.error is not None:
            if changes := differences(before, parts(adata)):
                raise Wrong(f"the object was changed by a call that failed: {changes[:5]}")
            return describe(specimen, ending)
        result = ending.value if copy else adata
        if (ending.value is None) == copy:
            raise Wrong(f"copy={copy} returned {ending.value!r}")
        own = ("celloquy", f"[{added!r}]", f"{added!r}"[:-1] + "_") if added else ("celloquy",)
        if changes := differences(before, parts(result), added=own):
            raise Wrong(f"a result changed other parts: {changes[:5]}")
        if added is None:
            check_result(specimen, verb, read_result(result, key))
        if storable and not can_be_stored(result, folder / "after.h5ad"):
            raise Wrong("the object could be written to a file before it had the result, and can't be now")
        return describe(specimen, ending)

    case.__name__ = f"{verb}_in_memory"
    return case


def describe(specimen: Specimen, ending: Ending) -> str:
    """How a case ended, for the counts of the report."""
    return "result" if ending.error is None else type(ending.error).__name__


def can_be_stored(adata: ad.AnnData, file: Path) -> bool:
    # anndata writes what is called so in place of the group itself, and no other key after it.
    if any("." in place for place in (adata.obsm, adata.varm, adata.obsp, adata.varp, adata.layers, adata.uns)):
        return False
    try:
        with warnings.catch_warnings(action="ignore"):
            adata.copy().write_h5ad(file)
    except Exception:
        return False
    finally:
        file.unlink(missing_ok=True)
    return True


# --- fits ------------------------------------------------------------------------------------------------------------
LABELS = [
    *HOSTILE, "unknown", "Unknown", "unassigned", "T cell/NK", "αβ T", "B cell", "b cell", "B cell ", "0", "None", "?",
]  # fmt: skip


def odd_labels(random: np.random.Generator, n: int) -> Any:
    """A column of labels: odd texts, numbers, truths, categories that no cell has."""
    names = [str(one) for one in random.choice(LABELS, random.integers(2, 5), replace=False)]
    text = random.choice(names, n)
    makers: list[Callable[[], Any]] = [
        lambda: text,
        lambda: pd.Categorical(text),
        lambda: pd.Categorical(text, categories=[*dict.fromkeys([*names, "gone"])]),
        lambda: pd.array(text, dtype="string"),
        lambda: random.integers(0, 3, n),
        lambda: random.random(n) < 0.5,
        lambda: random.random(n),
        lambda: np.where(random.random(n) < 0.2, None, text),
        lambda: pd.Categorical(np.where(random.random(n) < 0.2, None, text)),
        lambda: [["a"]] * n,
        lambda: pd.date_range("2020-01-01", periods=n),
    ]
    return makers[random.integers(len(makers))]()


def fit_annotate(seed: int, folder: Path) -> str:
    """Odd references, odd labels."""
    reference = dressed(seed)
    random = reference.random
    reference.obs["kind"] = odd_labels(random, reference.shape[0])
    adata, cells = reference.build(), bare(seed + 1).plain()
    own = {"tissue_key": None, "spatial_key": None} if random.random() < 0.8 else {}
    options = {name: value for name, value in reference.options.items() if name not in own}
    options |= trained.FAST if random.random() < 0.5 else trained.TUNED | {"model": trained.model()}
    options |= {"return_evidence": bool(random.random() < 0.3), "copy": True}
    ending = watched(
        lambda: cq.annotate(cells, reference=adata, label_key="kind", **options), unchanged=[adata, cells],
        folder=folder,
    )  # fmt: skip
    if ending.error is None:
        check_annotation(ending.value, adata.obs["kind"].astype(str).unique().tolist())
        store(ending.value, folder)
    return describe(reference, ending)


def across_species(seed: int, folder: Path) -> str:
    """Labels by a reference of the other species, either of them odd."""
    random = np.random.default_rng([seed, 3])
    odd, plain = dressed(seed, int(random.integers(2, 70))), bare(seed + 1, int(random.integers(2, 70)))
    human, mouse = (odd, plain) if random.random() < 0.5 else (plain, odd)
    mouse_genes(mouse)
    reference, query = (human, mouse) if random.random() < 0.5 else (mouse, human)
    labels = ["B cell", "T cell", "monocyte"][: random.integers(2, 4)]
    reference.obs["kind"] = random.choice(labels, reference.shape[0])
    if random.random() < 0.2:
        reference.obs["kind"] = odd_labels(random, reference.shape[0])
    known, cells = reference.build(), query.build()
    options: dict[str, Any] = {name: odd.options[name] for name in ("counts", "species") if name in odd.options}
    if "layer" in odd.options:
        options["layer" if query is odd else "reference_layer"] = odd.options["layer"]
    options |= [trained.FAST, trained.TUNED, trained.TUNED | {"model": trained.model()}][random.integers(3)]
    options |= {"return_evidence": bool(random.random() < 0.2), "top_k": [None, 2][random.integers(2)], "copy": True}
    if random.random() < 0.3:
        options["false_unknown_rate"] = [0, 0.5, 1e-9][random.integers(3)]
    ending = watched(
        lambda: cq.annotate(cells, reference=known, label_key="kind", **options), unchanged=[known, cells],
        folder=folder,
    )  # fmt: skip
    if ending.error is None:
        check_annotation(ending.value, known.obs["kind"].astype(str).unique().tolist())
        if can_be_stored(cells, folder / "before.h5ad"):
            store(ending.value, folder)
    return describe(odd, ending)


def name_types(seed: int, folder: Path) -> str:
    """Odd objects without a reference."""
    specimen = dressed(seed)
    adata, random = specimen.build(), specimen.random
    options = {name: value for name, value in specimen.options.items() if name in ("layer", "counts", "species")}
    options |= {"key_added": "celloquy"}
    options |= {"top_k": [None, 1, 3][random.integers(3)], "false_unknown_rate": [0, 0.02][random.integers(2)]}
    before = parts(adata)
    ending = watched(lambda: cq.annotate(adata, copy=True, **options), unchanged=[adata], folder=folder)
    if ending.error is None:
        if changes := differences(before, parts(ending.value), added=("celloquy",)):
            raise Wrong(f"a result changed other parts: {changes[:5]}")
        check_annotation(ending.value, cq.known_types()["name"].tolist())
    return describe(specimen, ending)


def check_annotation(adata: ad.AnnData, labels: list[str]) -> None:
    found = set(adata.obs["celloquy_label"].astype(str))
    if not found <= {*labels, "unknown"}:
        raise Wrong(f"labels that the reference lacks: {found - {*labels, 'unknown'}}")
    total = np.asarray(adata.obsm["celloquy_probability"], dtype=np.float64).sum(axis=1)
    if not np.allclose(total, 1, atol=1e-4):
        raise Wrong(f"probabilities sum to {total.min():g} to {total.max():g}")


def store(adata: ad.AnnData, folder: Path) -> None:
    """A result can be written and reads back as it is."""
    file = folder / "stored.h5ad"
    with warnings.catch_warnings(action="ignore"):
        try:
            adata.write_h5ad(file)
            again = ad.read_h5ad(file)
        except Exception as error:
            raise Wrong(f"a result can't be written to a file: {error}") from error
        finally:
            file.unlink(missing_ok=True)
    for key, value in adata.obsm.items():
        if key.startswith("celloquy") and np.asarray(value).dtype.kind == "f":
            if not np.array_equal(np.asarray(value), np.asarray(again.obsm[key])):
                raise Wrong(f"obsm[{key!r}] reads back in another way")
            if isinstance(value, pd.DataFrame) and list(value.columns) != list(again.obsm[key].columns):
                raise Wrong(f"the columns of obsm[{key!r}] read back in another way")


def fit(verb: str) -> Callable[[int, Path], str]:
    """A case: a verb that trains on the odd object itself."""

    def case(seed: int, folder: Path) -> str:
        specimen = dressed(seed)
        adata, random = specimen.build(), specimen.random
        options = dict(specimen.options)
        if verb in ("integrate", "denoise") and random.random() < 0.8:
            options["batch_key"] = ["batch", "donor", "label"][random.integers(3)]
        elif verb == "integrate":
            options["batch_key"] = ["nowhere", None, 3, ["batch"]][random.integers(4)]
        before = parts(adata)
        calls: dict[str, Callable[[], Any]] = {
            "integrate": lambda: cq.integrate(adata, copy=True, **trained.FAST, **options),
            "denoise": lambda: cq.denoise(adata, copy=True, **trained.FAST, **options),
            "pretrain": lambda: cq.pretrain(adata, **trained.FAST, **options),
            "impute": lambda: impute(adata, options, random),
        }
        ending = watched(calls[verb], unchanged=[adata], folder=folder)
        refused = specimen.end is End.REFUSAL
        # As the reference of an imputation it is read in another way, and denoising learns genes of any name.
        if verb == "denoise":
            for name in ("numbered_genes", "only_hostile_genes", "other_species"):
                specimen.ends.pop(name, None)
            refused = specimen.end is End.REFUSAL
        if refused and ending.error is None and verb != "impute":
            check_end(specimen, ending)
        if ending.error is None and verb != "pretrain":
            if changes := differences(before, parts(ending.value), added=("celloquy",)):
                raise Wrong(f"a result changed other parts: {changes[:5]}")
            key = VERBS[verb][1]
            found = read_result(ending.value, key)
            if len(found) != adata.n_obs or not np.isfinite(found).all():
                raise Wrong(f"the result has shape {found.shape}, {np.isnan(found).sum()} values are missing")
        return describe(specimen, ending)

    case.__name__ = f"{verb}_fitted"
    return case


def impute(adata: ad.AnnData, options: dict[str, Any], random: np.random.Generator) -> ad.AnnData | None:
    """The odd object as the panel or as the reference."""
    if random.random() < 0.5:
        panel = {"spatial_key": None} | options
        return cq.impute(adata, reference=trained.reference(), n_models=2, copy=True, **panel, **trained.FAST)
    cells = bare(3).plain()[:, 10:].copy()
    result = cq.impute(
        cells, reference=adata, n_models=2, copy=True, spatial_key=None, reference_layer=options.get("layer"),
        **trained.FAST,
    )  # fmt: skip
    assert result is not None
    # The caller compares with the odd object, which is the reference here.
    with warnings.catch_warnings(action="ignore"):
        whole = adata.copy()
    values = result.obsm["celloquy_imputed"]
    whole.obsm["celloquy_imputed"] = np.zeros((adata.n_obs, values.shape[1]))
    if not np.isfinite(values).all():
        raise Wrong("imputed values are missing")
    return whole


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (24, in_memory("embed")),
    (8, in_memory("annotate")),
    (8, in_memory("denoise")),
    (8, in_memory("integrate")),
    (6, in_memory("impute")),
    (3, fit_annotate),
    (3, across_species),
    (2, name_types),
    (2, fit("integrate")),
    (3, fit("denoise")),
    (3, fit("pretrain")),
    (2, fit("impute")),
]
"""Cases with their weights: how often each is drawn."""
