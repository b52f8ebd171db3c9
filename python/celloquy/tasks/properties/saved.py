"""A fitted classifier of genes as files: JSON, safetensors, and tables of the features that do not ship."""

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
from celloquy.errors import CelloquyError
from celloquy.genes import GeneVocabulary
from celloquy.models.checkpoint import GENES, check_files, save_files
from celloquy.models.directory import CONFIG
from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.properties.forest import Forest
from celloquy.tasks.properties.kept import described_blocks, read_blocks, read_described, write_blocks
from celloquy.tasks.properties.labelled import LabelledGenes
from celloquy.tasks.properties.reading import Reading
from celloquy.tasks.properties.trained import Readings, Trained
from celloquy.tasks.saved import TASK, TENSORS, none_there
from celloquy.version import VERSION

FAMILY: Final = "gene classifier"
NAME: Final = "properties"
KIND: Final = "GeneClassifier"


@dataclass(frozen=True, eq=False)
class Saved:
    """A classifier as it was saved."""

    trained: Trained
    labelled: LabelledGenes
    parameters: dict[str, Any]
    scale: tuple[float, float]


def write_classifier(
    directory: str | PathLike[str], trained: Trained, labelled: LabelledGenes, parameters: Mapping[str, Any],
    scale: tuple[float, float], *, overwrite: bool,
) -> None:  # fmt: skip
    """Write a classifier to a directory, whole or not at all, see :meth:`celloquy.GeneClassifier.save`."""
    readings = trained.readings
    blocks = readings.blocks
    tensors = {"weights": trained.blend.weights, "offset": trained.blend.offset}
    tensors |= {"held_out": trained.held_out, "labels": labelled.labels}
    for place, reading in enumerate(readings.linear.values()):
        tensors |= {f"reading.{place}.weights": reading.weights, f"reading.{place}.offset": reading.offset}
    if readings.forest is not None:
        tensors |= {f"axes.{place}": one for place, one in enumerate(readings.axes)}
        tensors |= {f"forest.{one.name}": getattr(readings.forest, one.name) for one in fields(Forest)}
    described = {
        "task": NAME,
        "version": VERSION,
        "parameters": dict(parameters),
        "blocks": described_blocks(blocks),
        "readings": list(readings.linear),
        "chosen": list(trained.chosen),
        "way": trained.way,
        "classes": list(labelled.classes),
        "scale": list(scale),
        "report": trained.report.reset_index().to_dict("list"),
    }

    def write(folder: Path) -> None:
        labelled.vocabulary.save(folder / GENES)
        (folder / TASK).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, folder / TENSORS)
        write_blocks(folder, blocks)
        (folder / CONFIG).write_text(json.dumps({"family": FAMILY}), encoding="utf-8")

    save_files(directory, write, overwrite=overwrite)


def read_classifier(directory: str | PathLike[str]) -> Saved:
    """Read what :func:`write_classifier` wrote.

    Raises
    ------
    CheckpointError
        If there is no such classifier, it is damaged, or its files are not those that were saved together.
    """
    folder = check_path("directory", directory, "the path of a directory")
    try:
        described, files = read_described(folder, NAME)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error
    check_files(folder, (TASK, TENSORS, GENES, *files))
    try:
        return _saved(folder, described)
    except (OSError, SafetensorError, CelloquyError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error


def _saved(folder: Path, described: dict[str, Any]) -> Saved:
    tensors = load_file(folder / TENSORS)
    blocks = read_blocks(folder, described["blocks"])
    linear = {
        name: Reading(tensors[f"reading.{place}.weights"], tensors[f"reading.{place}.offset"])
        for place, name in enumerate(described["readings"])
    }
    forest: Forest | None = None
    axes: tuple[NDArray[np.float64], ...] = ()
    if "forest.roots" in tensors:
        axes = tuple(tensors[f"axes.{place}"] for place in range(len(blocks)))
        forest = Forest(**{one.name: tensors[f"forest.{one.name}"] for one in fields(Forest)})
    trained = Trained(
        Readings(blocks, linear, forest, axes), Blend(tensors["weights"], tensors["offset"]),
        tuple(described["chosen"]), described["way"], pd.DataFrame(described["report"]).set_index("way"),
        tensors["held_out"],
    )  # fmt: skip
    labelled = LabelledGenes(GeneVocabulary.load(folder / GENES), tuple(described["classes"]), tensors["labels"])
    first, second = described["scale"]
    return Saved(trained, labelled, dict(described["parameters"]), (float(first), float(second)))
