"""The pretrained model of a task: read where it is, asked for an embedding, not told what it does not read."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celloquy.errors import ArgumentError
from celloquy.models import Model
from celloquy.models.encoding import EmbeddingOptions
from celloquy.runtime.hardware import Precision, choose_device, choose_precision
from celloquy.runtime.memory import memory_budget

if TYPE_CHECKING:
    from celloquy.data import CellReader


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


def embedded(
    model: Model, reader: CellReader, *, precision: Precision, device: str, progress: bool
) -> NDArray[np.float32]:
    """Return the embedding of cells, ``(n, width)``, in bounded memory."""
    hardware = choose_device(device)
    exact, memory = choose_precision(precision, hardware, model.config.width), memory_budget(None, hardware)
    was_training = model.training
    with ExitStack() as stack:
        folder = None
        if model.bytes_to_embed(len(reader), exact) > memory // 2:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="celloquy-")))
        options = EmbeddingOptions(memory=memory, precision=exact, device=hardware, folder=folder, progress=progress)
        try:
            return np.array(model.embed(reader, options).vectors.open(), dtype=np.float32)
        finally:
            model.cpu().train(was_training)


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
