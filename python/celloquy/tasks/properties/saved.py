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

from celloquy.errors import CelloquyError, CheckpointError
from celloquy.genes import GeneVocabulary, Prior
from celloquy.models.checkpoint import GENES, check_files, save_files
from celloquy.models.directory import CONFIG
from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.properties.features import Block
from celloquy.tasks.properties.forest import Forest
from celloquy.tasks.properties.labelled import LabelledGenes
from celloquy.tasks.properties.reading import Reading
from celloquy.tasks.properties.sources import SHIPPED, shipped_block
from celloquy.tasks.properties.trained import Readings, Trained
from celloquy.tasks.saved import TASK, TENSORS
from celloquy.version import VERSION

FAMILY: Final = "gene classifier"
NAME: Final = "properties"


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
    own = {block.name: f"features-{place}.npz" for place, block in enumerate(blocks) if not _ships(block)}
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
        "blocks": [{"name": block.name, "file": own.get(block.name)} for block in blocks],
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
        for block in blocks:
            if block.name in own:
                block.source.save(folder / own[block.name])
        (folder / CONFIG).write_text(json.dumps({"family": FAMILY}), encoding="utf-8")

    save_files(directory, write, overwrite=overwrite)


def read_classifier(directory: str | PathLike[str]) -> Saved:
    """Read what :func:`write_classifier` wrote.

    Raises
    ------
    CheckpointError
        If there is no such classifier, it is damaged, or its files are not those that were saved together.
    """
    folder = Path(directory)
    try:
        described = json.loads((folder / TASK).read_text(encoding="utf-8"))
        if described["task"] != NAME:
            raise ValueError(f"one for the task {described['task']!r}")
        files = tuple(one["file"] for one in described["blocks"] if one["file"])
        if any(Path(name).name != name for name in files):
            raise ValueError(f"a file outside of the directory, {files[0]!r}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _none_there(folder, error) from error
    check_files(folder, (TASK, TENSORS, GENES, *files))
    try:
        return _saved(folder, described)
    except (OSError, SafetensorError, CelloquyError, ValueError, TypeError, KeyError) as error:
        raise _none_there(folder, error) from error


def _saved(folder: Path, described: dict[str, Any]) -> Saved:
    tensors = load_file(folder / TENSORS)
    blocks = tuple(
        Block(one["name"], Prior.load(folder / one["file"])) if one["file"] else shipped_block(one["name"])
        for one in described["blocks"]
    )
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


def _ships(block: Block) -> bool:
    return block.name in SHIPPED


def _none_there(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"There is no GeneClassifier in {str(folder)!r}.",
        found=(str(error).splitlines() or [type(error).__name__])[0],
        expected="a directory that GeneClassifier.save() wrote",
        remedy="check the path, or fit and save it again.",
    )
