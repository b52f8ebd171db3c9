"""The verbs and tasks of celloquy, called with the names and types that R has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from celloquy import keys as names
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.models import CellModel
    from celloquy.training.fitting import Fitting

# The class of the task that each verb fits, and the module it lives in.
_TASKS = {
    "annotate": ("celloquy.tasks.annotation", "Annotator"),
    "denoise": ("celloquy.tasks.denoising", "Denoiser"),
    "impute": ("celloquy.tasks.imputation", "Imputer"),
    "integrate": ("celloquy.tasks.integration", "Integrator"),
}
_OPTIONS = ("epochs", "batch_size", "learning_rate", "weight_decay", "validation", "patience")
_WHOLE = ("epochs", "batch_size", "patience")


def keys() -> dict[str, str]:
    """Return the keys under which results lie in an AnnData."""
    return {
        "embedding": names.EMBEDDING,
        "label": names.LABEL,
        "confidence": names.CONFIDENCE,
        "novelty": names.NOVELTY,
        "probability": names.PROBABILITY,
        "top": names.TOP,
        "evidence": names.EVIDENCE,
        "denoised": names.DENOISED,
        "std": f"{names.DENOISED}_sd",
        "imputed": names.IMPUTED,
    }


def is_model(value: Any) -> bool:
    """Whether this is a model."""
    from celloquy.models import CellModel

    return isinstance(value, CellModel)


def fitted_task(directory: str) -> str | None:
    """Return the verb whose fitted task is saved in a directory; None if there is none that can be read."""
    import json
    from pathlib import Path

    try:
        described = json.loads((Path(directory) / "task.json").read_text(encoding="utf-8"))
        return str(described["task"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def look_for_counts(adata: AnnData) -> None:
    """Check that ``X`` holds raw counts.

    Raises
    ------
    CountsError
        If it does not.
    """
    from celloquy.data import choose_counts

    choose_counts(adata, layer="X")


def expected_seconds(cells: int, genes: int, epochs: int | None = None, cores: int | None = None) -> float:
    """Return about how long a small model trains on a processor.

    From processor time measured on 700 cells of 765 genes and on 2,600 of 13,714.

    Parameters
    ----------
    cells, genes
        How many there are.
    epochs
        Passes over the cells; None: as many as training takes by default.
    cores
        Cores of the processor; None: those of this one.
    """
    from celloquy.training.fitting import Fitting

    passes = Fitting(epochs=epochs).training(cells, 128).epochs * cells
    return passes * (0.75e-3 + 5e-8 * genes) / (0.7 * (cores or os.cpu_count() or 1))


def training_options(training: Mapping[str, Any] | None, usual: Fitting | None = None, **given: Any) -> Fitting:
    """Return the options of training that R's user named, with those that are given beside them.

    Parameters
    ----------
    training
        Options by name.
    usual
        What the others are; by default those of pretraining.
    given
        Further options; ``epochs=None`` leaves what ``training`` says.

    Raises
    ------
    ArgumentError
        If there is no option of a name, or a value can't be used.
    """
    from celloquy.training.fitting import Fitting

    named = dict(training or {})
    for name in named:
        if name not in _OPTIONS:
            raise ArgumentError(
                f"`training` has no option `{name}`.",
                found=", ".join(f"`{one}`" for one in named),
                expected="some of " + ", ".join(f"`{one}`" for one in _OPTIONS),
                remedy="pass some of these.",
            )
    for name in _WHOLE:
        # R's numbers are double unless one takes care.
        if isinstance(named.get(name), float) and named[name].is_integer():
            named[name] = int(named[name])
    if given.get("epochs") is None:
        given.pop("epochs", None)
    return replace(usual or Fitting(), **(named | given))


def _as_it_is(arguments: Mapping[str, Any]) -> dict[str, Any]:
    old = {
        "freeze_encoder": "frozen", "batch_mixing": "mixing", "false_unknown_rate": "unknown", "n_top_genes": "genes",
        "n_neighbors": "neighbours", "n_models": "members", "return_std": "uncertainty",
    }  # fmt: skip
    return {old.get(name, name): value for name, value in arguments.items()}


def embed(
    adata: AnnData, *, model: CellModel | str, columns: Mapping[str, Any], species: str | None, **running: Any
) -> None:
    """Embed cells whose counts are in ``X``; ``columns`` says how they are read."""
    from celloquy.tasks import embed as run

    columns = {name: value for name, value in columns.items() if name in ("tissue_key", "spatial_key")}
    run(adata, model=model, layer="X", **columns, **running)


def pretrain(
    adata: AnnData,
    *,
    columns: Mapping[str, Any],
    species: str | None,
    training: Mapping[str, Any] | None,
    epochs: int | None,
    **given: Any,
) -> tuple[CellModel, dict[str, list[float]]]:
    """Return a model trained on cells whose counts are in ``X``, and its losses by epoch."""
    from celloquy.training import pretrain as run

    options = training_options(training, epochs=epochs)
    columns = {name: value for name, value in columns.items() if name in ("tissue_key", "spatial_key")}
    asked = {name: getattr(options, name) for name in _OPTIONS}
    model = run(adata, layer="X", **columns, **asked, **given)
    return model, model.history.to_dict("list")  # type: ignore[union-attr, operator]


def run_task(
    verb: str,
    adata: AnnData,
    reference: AnnData | None = None,
    *,
    model: CellModel | str | None,
    columns: Mapping[str, Any],
    species: str | None,
    parameters: Mapping[str, Any],
    fit: Mapping[str, Any],
    predict: Mapping[str, Any],
    out: str | None,
    training: Mapping[str, Any] | None,
    epochs: int | None,
    **running: Any,
) -> dict[str, list[float]]:
    """Fit the task of a verb, or load it, and write what it predicts into ``adata``.

    Parameters
    ----------
    verb
        ``"annotate"``, ``"denoise"``, ``"impute"`` or ``"integrate"``.
    adata, reference
        The cells, and those to learn from if the task wants others; counts are in ``X``.
    model
        A directory in which the task is saved, which is then loaded; or a model to fine-tune, its directory, or None.
    columns
        How cells are read: ``tissue_key``, ``spatial_key``, ``batch_key``.
    species
        How genes of the other species are read.
    parameters, fit, predict
        Arguments of the task's constructor, of ``fit`` and of ``predict`` that other tasks do not have.
    out
        Directory in which the fitted task is kept.
    training, epochs
        How to train.
    running
        ``precision``, ``device``, ``seed`` and ``progress``.

    Returns
    -------
    The losses by epoch.
    """
    module, name = _TASKS[verb]
    kind = getattr(import_module(module), name)
    columns = {"layer": "X", **columns}
    if isinstance(model, str) and fitted_task(model) is not None:
        task = kind.load(model)
        shown = {one: running[one] for one in ("precision", "device", "progress")}
        task.fitting = replace(task.fitting, **shown)
        for column, key in columns.items():
            setattr(task, column, key)
    else:
        usual: Any = {one.name: one.default for one in fields(kind)}["fitting"]
        options = training_options(training, usual, epochs=epochs, **running)
        task = kind(model=model, fitting=options, species=species, **columns, **_as_it_is(parameters))
        if verb == "annotate":
            task.fit(reference, query=adata)
        elif verb == "impute":
            task.fit(adata, reference, **fit)
        else:
            task.fit(adata)
    if out is not None:
        task.save(out)
    task.predict(adata, **_as_it_is(predict))
    return dict(task.history_.to_dict("list"))


def provenance(adata: AnnData, key: str) -> dict[str, Any]:
    """Return how the result under a key was made, in plain data."""
    return dict(adata.uns[names.PROVENANCE])
