"""A fitted predictor of responses as files: JSON, safetensors, and tables of the features that do not ship."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from celloquy.checks import check_path
from celloquy.errors import CelloquyError
from celloquy.models.checkpoint import check_files, save_files
from celloquy.models.directory import CONFIG
from celloquy.tasks.properties.kept import described_blocks, read_blocks, read_described, write_blocks
from celloquy.tasks.responses.conditions import Condition
from celloquy.tasks.responses.descriptions import Describer
from celloquy.tasks.responses.profiles import Profiles
from celloquy.tasks.responses.trials import REPORTED, Trial
from celloquy.tasks.saved import TASK, TENSORS, none_there

FAMILY: Final = "response predictor"
NAME: Final = "responses"
KIND: Final = "ResponsePredictor"
TABLE: Final = "perturbations.json"
ARRAYS: Final = ("means", "errors", "n_cells", "baseline", "control", "n_control")


@dataclass(frozen=True, eq=False)
class Saved:
    """A predictor as it was saved."""

    profiles: Profiles
    describer: Describer
    trials: dict[str, Trial]
    parameters: dict[str, Any]


def write_predictor(
    directory: str | PathLike[str], profiles: Profiles, describer: Describer, trials: Mapping[str, Trial],
    parameters: Mapping[str, Any], *, overwrite: bool,
) -> None:  # fmt: skip
    """Write a predictor to a directory, whole or not at all, see :meth:`celloquy.ResponsePredictor.save`."""
    tensors = {name: getattr(profiles, name) for name in ARRAYS}
    for place, trial in enumerate(trials.values()):
        for name in ("width", "predicted", "observed"):
            tensors[f"trial.{place}.{name}"] = getattr(trial, name)
    described = {
        "task": NAME,
        "parameters": dict(parameters),
        "genes": list(profiles.genes),
        "conditions": [_written(one) for one in profiles.conditions],
        "contexts": list(profiles.contexts),
        "of_genes": describer.of_genes,
        "depth": profiles.depth,
        "blocks": described_blocks(describer.blocks),
        "trials": [
            {
                "situation": trial.situation,
                "chosen": trial.chosen,
                "weights": trial.weights,
                "report": trial.report.to_dict("list"),
                "conditions": [_written(one) for one in trial.conditions],
            }
            for trial in trials.values()
        ],
    }

    def write(folder: Path) -> None:
        (folder / TASK).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        table = describer.table
        split = {"index": list(table.index), "columns": list(table), "data": table.to_numpy(dtype=object).tolist()}
        (folder / TABLE).write_text(json.dumps(split) + "\n", encoding="utf-8")
        save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, folder / TENSORS)
        write_blocks(folder, describer.blocks)
        (folder / CONFIG).write_text(json.dumps({"family": FAMILY}), encoding="utf-8")

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
        described, files = read_described(folder, NAME)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error
    check_files(folder, (TASK, TABLE, TENSORS, *files))
    try:
        return _saved(folder, described)
    except (OSError, SafetensorError, CelloquyError, ValueError, TypeError, KeyError) as error:
        raise none_there(KIND, folder, error) from error


def _saved(folder: Path, described: dict[str, Any]) -> Saved:
    tensors = load_file(folder / TENSORS)
    profiles = Profiles(
        genes=tuple(described["genes"]), conditions=tuple(map(_read, described["conditions"])),
        contexts=tuple(described["contexts"]), depth=float(described["depth"]),
        **{name: tensors[name] for name in ARRAYS},
    )  # fmt: skip
    blocks = read_blocks(folder, described["blocks"])
    split = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    table = pd.DataFrame(split["data"], index=pd.Index(split["index"], dtype=object), columns=split["columns"])
    trials = {}
    for place, one in enumerate(described["trials"]):
        width, predicted, observed = (tensors[f"trial.{place}.{name}"] for name in ("width", "predicted", "observed"))
        report = pd.DataFrame(one["report"], columns=REPORTED) if one["report"] else pd.DataFrame()
        trials[one["situation"]] = Trial(
            one["situation"], one["chosen"], one["weights"], report, width, tuple(map(_read, one["conditions"])),
            predicted, observed,
        )  # fmt: skip
    return Saved(profiles, Describer(blocks, table, bool(described["of_genes"])), trials, dict(described["parameters"]))


def _written(condition: Condition) -> list[Any]:
    return [list(condition.parts), condition.context, condition.dose]


def _read(written: list[Any]) -> Condition:
    parts, context, dose = written
    return Condition(tuple(parts), context, float(dose))
