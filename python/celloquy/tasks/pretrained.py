"""The pretrained model of a task: read where it is, and not told what it does not read."""

from __future__ import annotations

from os import PathLike

from celloquy.errors import ArgumentError
from celloquy.models import Model


def resolve_model(model: Model | str | PathLike[str]) -> Model:
    """Return a model, or read the one that a name or a directory stands for.

    Raises
    ------
    ArgumentError, CheckpointError
        If it is neither, or can't be read.
    """
    if isinstance(model, str | PathLike):
        return Model.from_pretrained(model)
    if not isinstance(model, Model):
        raise ArgumentError(
            "`model` can't be used.",
            found=f"an object of type {type(model).__name__}",
            expected="a celloquy model, or directory or name of a saved one",
            remedy="read it with Model.from_pretrained(directory).",
            argument="model",
        )
    return model


def refuse_unread(model: Model, **given: str | None) -> None:
    """Refuse a ``spatial_key`` or ``tissue_key`` of what the model does not read, which would change nothing."""
    for name, what in (("spatial_key", "positions"), ("tissue_key", "tissue")):
        if given[name] is not None and what not in model.reads:
            raise ArgumentError(
                f"`{name}` has no use with this model.",
                found=f"a {type(model).__name__} that does not read the {what} of cells",
                expected="a model that does, such as a CellModel",
                remedy=f"leave `{name}` out, or pass another `model`.",
                argument=name,
            )
