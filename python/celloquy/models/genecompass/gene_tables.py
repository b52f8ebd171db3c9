"""Tables of genes that come beside a foreign checkpoint: TSV, parquet, or a pickle of which nothing is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, NoReturn

import pandas as pd

from celloquy.errors import CheckpointError

GeneTable = str | PathLike[str] | pd.DataFrame | Mapping[str, Any]
"""A table of genes: a file, a DataFrame, or a value for each gene."""

PICKLES = (".pickle", ".pkl", ".p")

HARMLESS = {(module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "complex")}
"""Containers and numbers that a pickle names, rather than holds."""


class PlainUnpickler(pickle.Unpickler):
    """Reads a pickle of containers, text and numbers; whatever else it names is refused, and nothing is executed."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle names, if it is harmless."""
        if (module, name) in HARMLESS:
            return {"set": set, "frozenset": frozenset, "complex": complex}[name]
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse what lies elsewhere."""
        raise _RefusedError(f"the persistent object {pid!r}")


class _RefusedError(Exception):
    """Something in a pickle that is not plain."""


def read_table(table: GeneTable, columns: tuple[str, str], argument: str) -> pd.DataFrame:
    """Return a table of genes with the columns that are asked for, and those that it has beside them.

    Parameters
    ----------
    table
        A file with a header, ``.tsv``, ``.csv`` or ``.parquet``; a pickle of a dictionary; a DataFrame; a mapping.
    columns
        Names of the columns for the keys and the values of a dictionary, which any table must have.
    argument
        Argument that the table was given as, for messages.

    Raises
    ------
    CheckpointError
        If the file can't be read, names something that is no plain value, or lacks a column.
    """
    found: Any = table
    if isinstance(table, str | PathLike):
        path = Path(table)
        try:
            found = _read(path)
        except _RefusedError as error:
            raise CheckpointError(
                f"The pickle {str(path)!r} holds more than a table.",
                found=f"{error}, which would be executed or built",
                expected="containers, text and numbers alone",
                remedy="take the file from where it was published; pass a table as TSV instead.",
                argument=argument,
            ) from error
        # A damaged file raises what it likes.
        except Exception as error:
            _refuse(path, (str(error).splitlines() or [type(error).__name__])[0], columns, argument)
    if isinstance(found, Mapping):
        found = pd.DataFrame({columns[0]: list(found.keys()), columns[1]: list(found.values())})
    if not isinstance(found, pd.DataFrame):
        _refuse(table, f"a {type(found).__name__}", columns, argument)
    missing = [name for name in columns if name not in found.columns]
    if missing:
        _refuse(table, f"no column {', '.join(missing)}; {', '.join(map(str, found.columns))}", columns, argument)
    return found


def read_pickle(stream: IO[bytes]) -> Any:
    """Return what a pickle of containers, text and numbers holds."""
    return PlainUnpickler(stream).load()


def _read(path: Path) -> Any:
    ending = path.suffix.lower()
    if ending in PICKLES:
        with path.open("rb") as stream:
            return read_pickle(stream)
    if ending == ".parquet":
        return pd.read_parquet(path)
    # "NA" and "nan" may be symbols of genes.
    return pd.read_csv(path, sep="," if ending == ".csv" else "\t", keep_default_na=False, na_values={"median": [""]})


def _refuse(table: Any, found: str, columns: tuple[str, str], argument: str) -> NoReturn:
    what = repr(str(table)) if isinstance(table, str | PathLike) else f"`{argument}`"
    raise CheckpointError(
        f"The table of genes {what} can't be read.",
        found=found,
        expected=f"a table with the columns {' and '.join(columns)}: TSV, CSV, parquet, a DataFrame; or a dictionary, "
        "which may be in a pickle",
        remedy="pass such a table.",
        argument=argument,
    )
