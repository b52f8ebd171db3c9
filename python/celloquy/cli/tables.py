"""Tables that a command reads, shows or writes, lists of names, and options that it can't do without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from celloquy.cli.options import names_in
from celloquy.errors import ArgumentError, some

if TYPE_CHECKING:
    import pandas as pd


def needed(value: Any, name: str, why: str) -> Any:
    """Return an option that must be given."""
    if value is None:
        raise ArgumentError(
            f"`{name}` is missing.",
            found="nothing",
            expected=f"a value, as {why}",
            remedy=f"pass `{name}`.",
            argument=name,
        )
    return value


def listed_in(text: str | None, argument: str, what: str = "genes") -> list[str] | None:
    """Return the names of a list with commas, or of a file with one a line."""
    if text is None or not Path(text).is_file():
        return names_in(text)
    try:
        return [line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(
            f"{text!r} is not a list of {what}.",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            expected="a text file with a name on each line",
            remedy=f"name the {what} with commas, or write such a file.",
            argument=argument,
        ) from error


def numbers_in(text: str | None, argument: str) -> list[float] | None:
    """Return the numbers of a list with commas."""
    try:
        return None if text is None else [float(one) for one in names_in(text) or []]
    except ValueError as error:
        raise ArgumentError(
            f"`{argument}` is no list of numbers.",
            found=text or "",
            expected="numbers with commas, such as 0.1,1,10",
            remedy=f"correct `{argument}`.",
            argument=argument,
        ) from error


def read_table(file: Path, argument: str, index: Sequence[str] = ()) -> pd.DataFrame:
    """Return the table of a CSV file.

    Parameters
    ----------
    file
        The file.
    argument
        Name of the argument that names it, for messages.
    index
        Columns that name the rows; by default the first.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{str(file)!r} is no table.",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            expected="a CSV file with a line of column names",
            remedy="check the path.",
            argument=argument,
        ) from error
    if missing := [name for name in index if name not in table]:
        raise ArgumentError(
            f"{str(file)!r} has no column {missing[0]!r}.",
            found=some(map(repr, table.columns)),
            expected="columns " + ", ".join(map(repr, index)) + ", and one for each gene",
            remedy="correct the names of the columns.",
            argument=argument,
        )
    return table.set_index(list(index) or [str(table.columns[0])])


def show_table(table: pd.DataFrame, out: Path | None) -> None:
    """Write a table, or show it where no file is named."""
    if out is None:
        typer.echo(table.to_string(index=False))
    else:
        write_table(table, out)
        typer.echo(f"table: {out}")


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table as CSV."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False)
    except OSError as error:
        raise ArgumentError(
            f"{str(out)!r} can't be written.",
            found=error.strerror or str(error),
            remedy="choose another name as `out`.",
            argument="out",
        ) from error
