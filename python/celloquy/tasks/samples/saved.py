"""A fitted predictor of samples as files: its model, JSON and safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from celloquy.checks import check_path
from celloquy.models import Model
from celloquy.models.checkpoint import check_files, save_files
from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.samples.attention import Attention
from celloquy.tasks.samples.features import KINDS
from celloquy.tasks.samples.targets import Targets
from celloquy.tasks.samples.trained import LinearReading, Reading, Trained
from celloquy.tasks.saved import TASK, TENSORS, none_there
from celloquy.version import VERSION

NAME: Final = "samples"
KIND: Final = "SamplePredictor"


@dataclass(frozen=True, eq=False)
class Saved:
    """A predictor as it was saved."""

    model: Model
    trained: Trained
    targets: Targets
    parameters: dict[str, Any]
    scale: tuple[float, float]


def write_predictor(
    directory: str | PathLike[str], model: Model, trained: Trained, targets: Targets, parameters: Mapping[str, Any],
    scale: tuple[float, float], *, overwrite: bool,
) -> None:  # fmt: skip
    """Write a predictor to a directory, whole or not at all, see :meth:`celloquy.SamplePredictor.save`."""
    tensors: dict[str, NDArray[Any]] = {
        "weights": trained.blend.weights, "offset": trained.blend.offset, "held_out": trained.held_out,
        "labels": targets.labels, "groups": targets.groups, "known": targets.known,
    }  # fmt: skip
    texts: dict[str, list[str]] = {}
    for name, reading in trained.readings.items():
        for part, values in _arrays(reading).items():
            if values.dtype.kind == "U":
                texts[f"{name}.{part}"] = values.tolist()
            else:
                tensors[f"{name}.{part}"] = values
    described = {
        "task": NAME,
        "version": VERSION,
        "parameters": dict(parameters),
        "samples": list(targets.names),
        "classes": list(targets.classes),
        "readings": list(trained.readings),
        "texts": texts,
        "scale": list(scale),
        "report": trained.report.reset_index().to_dict("list"),
    }

    def write(folder: Path) -> None:
        model.write(folder)
        (folder / TASK).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, folder / TENSORS)

    save_files(directory, write, overwrite=overwrite)


def read_predictor(directory: str | PathLike[str]) -> Saved:
    """Read what :func:`write_predictor` wrote.

    Raises
    ------
    ArgumentError
        If it is no path.
    CheckpointError
        If there is no such predictor, it is damaged, or its files are not those that were saved together.
    """
    folder = check_path("directory", directory, "the path of a directory")
    try:
        described = json.loads((folder / TASK).read_text(encoding="utf-8"))
        if described["task"] != NAME:
            raise ValueError(f"one for the task {described['task']!r}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error
    model = Model.from_pretrained(folder)
    check_files(folder, (TASK, TENSORS))
    try:
        return _saved(folder, model, described)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error


def _saved(folder: Path, model: Model, described: dict[str, Any]) -> Saved:
    tensors = load_file(folder / TENSORS)
    tensors |= {name: np.array(text, dtype=np.str_) for name, text in described["texts"].items()}
    readings: dict[str, Reading] = {}
    for name in described["readings"]:
        own = {key.removeprefix(f"{name}."): one for key, one in tensors.items() if key.startswith(f"{name}.")}
        if name == Attention.name:
            readings[name] = Attention(**own)
        else:
            kind = next(one for one in KINDS if one.name == name)
            weights, offset = own.pop("reading.weights"), own.pop("reading.offset")
            readings[name] = LinearReading(kind(**own), weights, offset)
    trained = Trained(
        readings, Blend(tensors["weights"], tensors["offset"]),
        pd.DataFrame(described["report"]).set_index("way"), tensors["held_out"],
    )  # fmt: skip
    targets = Targets(
        tuple(described["samples"]), tensors["known"], tuple(described["classes"]), tensors["labels"],
        tensors["groups"],
    )  # fmt: skip
    first, second = described["scale"]
    return Saved(model, trained, targets, dict(described["parameters"]), (float(first), float(second)))


def _arrays(reading: Reading) -> dict[str, NDArray[Any]]:
    """The arrays of a reading by name."""
    if isinstance(reading, Attention):
        return {one.name: getattr(reading, one.name) for one in fields(reading)}
    own = {one.name: getattr(reading.features, one.name) for one in fields(reading.features)}  # type: ignore[arg-type]
    return own | {"reading.weights": reading.weights, "reading.offset": reading.offset}
