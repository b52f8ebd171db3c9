"""What a user trains on: objects, files, folders, patterns and manifests, as a list of inputs."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from celloquy.data import CellColumns
from celloquy.data.foreign import is_10x_folder
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

READING = ("layer", "counts", "tissue_key", "spatial_key", "batch_key", "species")
"""Columns of a manifest that are reading options of :class:`CellColumns`."""

MANIFEST = ("path", *READING, "weight", "label_key")
"""All columns that a manifest can have."""

EXPECTED = (
    "an AnnData, an h5ad file, a zarr directory, a folder or a pattern of such files, a manifest (.tsv, .csv), or a "
    "list of these"
)


@dataclass(frozen=True, slots=True)
class Input:
    """One object or file to train on."""

    name: str
    """Name of the input, for messages and batches."""
    data: AnnData | Path
    """The cells, in memory or as the path of a file."""
    columns: CellColumns
    """Place of the counts, and columns of tissue, position and batch."""
    label_key: str | None = None
    """Column of ``obs`` with labels; the same share of every label is held out."""
    weight: float = 1.0
    """Factor of the input's share of an epoch."""


def list_inputs(corpus: Any, columns: CellColumns) -> list[Input]:
    """Return the inputs of a corpus, files of folders and patterns in the order of their names.

    Parameters
    ----------
    corpus
        One or several objects, files, folders, patterns or manifests.
    columns
        Reading options, which a manifest may change for a file.

    Raises
    ------
    ArgumentError
        If there is no input, or one is none of these.
    """
    several = corpus if isinstance(corpus, Sequence) and not isinstance(corpus, str) else [corpus]
    found = [one for number, given in enumerate(several, start=1) for one in _inputs(given, number, columns)]
    if not found:
        raise ArgumentError(
            "There is nothing to train on.",
            found="no AnnData and no file",
            expected=EXPECTED,
            remedy="pass at least one.",
            argument="corpus",
        )
    names = [one.name for one in found]
    # Files of one name in two folders are told apart by their paths.
    return [replace(one, name=str(one.data)) if names.count(one.name) > 1 else one for one in found]


def _inputs(given: Any, number: int, columns: CellColumns) -> Iterator[Input]:
    from anndata import AnnData

    if isinstance(given, AnnData):
        yield Input(f"input {number}", given, columns)
        return
    if not isinstance(given, str | PathLike):
        raise ArgumentError(
            f"Input {number} can't be trained on.",
            found=f"an object of type {type(given).__name__}",
            expected=EXPECTED,
            remedy="wrap counts in an AnnData: cells × genes, genes named in `var_names`.",
            argument="corpus",
        )
    path = Path(given)
    if path.suffix in (".tsv", ".csv"):
        yield from _read_manifest(path, columns)
        return
    for file in _files(path):
        yield Input(file.stem, file, columns)


def _files(path: Path) -> list[Path]:
    """Return the files that a path or a pattern names."""
    if path.is_dir() and not _is_store(path) and not is_10x_folder(path):
        found = [file for file in path.rglob("*") if file.suffix in (".h5ad", ".zarr", ".h5mu") or is_10x_folder(file)]
        kinds = "h5ad files, zarr directories or matrices of Cell Ranger"
    elif path.exists() or not glob.has_magic(str(path)):
        return [path]
    else:
        found, kinds = [Path(file) for file in glob.glob(str(path), recursive=True)], "files"
    if not found:
        raise ArgumentError(
            "There is nothing to train on.",
            found=f"no {kinds} in {str(path)!r}",
            expected=EXPECTED,
            remedy="check the path.",
            argument="corpus",
        )
    return sorted(found)


def _is_store(path: Path) -> bool:
    return path.suffix == ".zarr" or any((path / name).exists() for name in (".zgroup", "zarr.json"))


def _read_manifest(path: Path, columns: CellColumns) -> Iterator[Input]:
    """Yield the files of a manifest; paths are relative to it, and an empty place takes the option of the call."""
    if not path.is_file():
        _refuse_manifest(path, "no such file", "a table with one line for each file")
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        _refuse_manifest(path, str(error).splitlines()[0], "a table with one line for each file")
    unknown = [str(name) for name in table.columns if name not in MANIFEST]
    if unknown or "path" not in table.columns:
        found = f"the columns {', '.join(map(str, table.columns))}"
        _refuse_manifest(path, found, f"the column path, and any of {', '.join(MANIFEST[1:])}")
    for line, row in enumerate(table.to_dict("records"), start=2):
        own = {str(name): str(value).strip() for name, value in row.items() if str(value).strip()}
        try:
            file, weight = path.parent / own["path"], float(own.get("weight", 1))
            options = replace(columns, **{name: own[name] for name in READING if name in own})  # type: ignore[arg-type]
        except KeyError:
            _refuse_manifest(path, f"no path in line {line}", "a path in every line")
        except ValueError as error:
            _refuse_manifest(path, f"{str(error).splitlines()[-1]} in line {line}", "a weight above 0, known options")
        if not 0 < weight < float("inf"):
            _refuse_manifest(path, f"the weight {weight:g} in line {line}", "a weight above 0")
        yield Input(file.stem, file, options, own.get("label_key"), weight)


def _refuse_manifest(path: Path, found: str, expected: str) -> NoReturn:
    raise ArgumentError(
        f"The manifest {str(path)!r} can't be read.",
        found=found,
        expected=expected,
        remedy=f"write one line for each file, with the columns {', '.join(MANIFEST)}; only path is needed.",
        argument="corpus",
    )
