"""The verbs and tasks of celloquy, called with the names and types that R has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from celloquy import keys as names
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.models import Model
    from celloquy.training import TrainingOptions

# The class of the task that each verb fits, and the module it lives in.
_TASKS = {
    "annotate": ("celloquy.tasks.annotation", "Annotator"),
    "denoise": ("celloquy.tasks.denoising", "Denoiser"),
    "impute": ("celloquy.tasks.imputation", "Imputer"),
    "integrate": ("celloquy.tasks.integration", "Integrator"),
}
_WIDTH = 128
"""Width of the small model whose training is forecast."""


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
        "std": f"{names.DENOISED}_std",
        "imputed": names.IMPUTED,
        "niche": names.NICHE,
    }


def is_model(value: Any) -> bool:
    """Whether this is a model, of whatever family."""
    from celloquy.models import Model

    return isinstance(value, Model)


def fitted_task(directory: str) -> str | None:
    """Return the verb whose fitted task is saved in a directory; None if there is none that can be read."""
    from celloquy.tasks.saved import fitted_task as find

    return find(directory)


def look_for_counts(adata: AnnData, counts: Literal["round"] | None = None) -> None:
    """Check that ``X`` holds raw counts, or such as ``counts="round"`` rounds.

    Raises
    ------
    CountsError
        If it does not.
    """
    from celloquy.data import choose_counts

    choose_counts(adata, layer="X", counts=counts)


def expected_seconds(cells: int, genes: int, epochs: int | None = None, cores: int | None = None) -> float:
    """Return about how long a small model trains on a processor.

    From processor time measured on 500 cells of 300 genes, on 2,100 of 8,800 and on 2,600 of 13,700.

    Parameters
    ----------
    cells, genes
        How many there are.
    epochs
        Passes over the cells; None: as many as training takes by default.
    cores
        Cores of the processor; None: as many as torch uses.
    """
    import torch

    from celloquy.training.options import PRETRAINING, TrainingOptions

    passes = TrainingOptions(epochs=epochs).schedule(cells, _WIDTH, pace=PRETRAINING).epochs * cells
    return passes * (0.28e-3 + 1.2e-8 * genes) / (0.7 * (cores or torch.get_num_threads()))


def training_options(training: Mapping[str, Any] | None, usual: TrainingOptions | None = None) -> TrainingOptions:
    """Return the options of training that R's user named; the others are the usual ones.

    Parameters
    ----------
    training
        Options by name, with R's numbers, which are double unless the user takes care.
    usual
        Options of the verb where none are named; by default those of pretraining.

    Raises
    ------
    ArgumentError
        If there is no option of a name, or a value can't be used.
    """
    from celloquy.training import TrainingOptions

    options = {one.name: str(one.type) for one in fields(TrainingOptions)}
    named = dict(training or {})
    if unknown := [name for name in named if name not in options]:
        raise ArgumentError(
            f"`training` has no option `{unknown[0]}`.",
            found=", ".join(f"`{name}`" for name in named),
            expected="some of " + ", ".join(f"`{name}`" for name in options),
            remedy="pass some of these.",
            argument="training",
        )
    for name, value in named.items():
        if "int" in options[name] and isinstance(value, float) and value.is_integer():
            named[name] = int(value)
    return replace(usual or TrainingOptions(), **named)


def embed(adata: AnnData, *, model: Model | str, columns: Mapping[str, Any], **given: Any) -> None:
    """Embed cells whose counts are in ``X``; ``columns`` says how they are read, ``given`` how to compute."""
    from celloquy.tasks import embed as run

    columns = {name: key for name, key in columns.items() if name != "batch_key"}
    run(adata, model=model, layer="X", **columns, **given)


def niches(adata: AnnData, *, model: Model | str, columns: Mapping[str, Any], **given: Any) -> None:
    """Find niches of cells whose counts are in ``X``; ``columns`` says how they are read, ``given`` the rest."""
    from celloquy.tasks.niches import niches as run

    columns = {name: key for name, key in columns.items() if name != "batch_key"}
    run(adata, model=model, layer="X", **columns, **given)


def context(adata: AnnData, *, model: Model | str, columns: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """Return the columns of the table of what cells were read with; counts are in ``X``, ``columns`` as of niches."""
    from celloquy.bridge.genes import columns_of
    from celloquy.tasks.context import context as run

    columns = {name: key for name, key in columns.items() if name != "batch_key"}
    return columns_of(run(adata, model=model, layer="X", **columns, **given))


def pretrain(
    adata: AnnData,
    *,
    columns: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    **given: Any,
) -> tuple[Model, dict[str, list[float]]]:
    """Return a model trained on cells whose counts are in ``X``, and its losses by epoch."""
    from celloquy.training import pretrain as run

    options = training_options(training)
    model = run(adata, layer="X", training=options, **columns, **given)
    return model, {str(name): losses.tolist() for name, losses in model.history.items()}


def run_task(
    verb: str,
    adata: AnnData,
    reference: AnnData | None = None,
    *,
    model: Model | str | None,
    columns: Mapping[str, Any],
    species: str | None,
    parameters: Mapping[str, Any],
    fit: Mapping[str, Any],
    predict: Mapping[str, Any],
    out: str | None,
    overwrite: bool,
    training: Mapping[str, Any] | None,
    epochs: int | None,
    seed: int,
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
        How cells are read: ``tissue_key``, ``spatial_key``, ``batch_key``, ``counts``.
    species
        How genes of the other species are read.
    parameters, fit, predict
        Arguments of the task's constructor, of ``fit`` and of ``predict`` that other tasks do not have.
    out
        Directory in which the fitted task is kept.
    overwrite
        Leave to replace a saved model or task in it.
    training, epochs, seed
        How to train.
    running
        ``precision``, ``device`` and ``progress``.

    Returns
    -------
    The losses by epoch.
    """
    from celloquy.models.directory import check_directory

    module, name = _TASKS[verb]
    kind = getattr(import_module(module), name)
    columns = {"layer": "X", **columns}
    if out is not None:
        check_directory(out, overwrite=overwrite)
    if isinstance(model, str) and fitted_task(model) is not None:
        task = kind.load(model)
        for parameter, value in {**columns, "species": species or task.species, **running}.items():
            setattr(task, parameter, value)
    else:
        task = kind(
            # Not given, they are the usual ones, or there is no training that they could be of.
            training=training_options(training, kind.usual_training) if training else None,
            model=model, species=species, epochs=epochs, seed=seed, **columns, **parameters, **running,
        )  # fmt: skip
        task.check_request(adata, reference, **predict)
        if verb == "annotate":
            task.fit(reference, query=adata)
        elif verb == "impute":
            task.fit(adata, reference, **fit)
        else:
            task.fit(adata)
    with task.kept():
        if out is not None:
            task.save(out, overwrite=overwrite)
        task.predict(adata, **predict)
    return dict(task.history_.to_dict("list"))


def annotate_known(
    adata: AnnData, *, counts: Literal["round"] | None, species: Literal["auto"] | None, unknown: bool,
    top_k: int | None,
) -> None:  # fmt: skip
    """Write the coarse types that need no reference into ``adata``, whose counts are in ``X``."""
    from celloquy.data import CellColumns
    from celloquy.tasks.annotation.known import annotate_known as annotate

    annotate(adata, CellColumns(layer="X", counts=counts, species=species), unknown=unknown, top_k=top_k)


def known_types() -> dict[str, list[str]]:
    """Return the names of these types and their ids in the Cell Ontology, by column."""
    from celloquy.tasks.annotation import known_types as types

    return {str(name): list(column) for name, column in types().items()}


def provenance(adata: AnnData, key: str) -> dict[str, Any]:
    """Return how the result under a key was made, in plain data."""
    return dict(adata.uns[names.PROVENANCE][key])
