"""Tables that a command shows or writes, and options that it can't do without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from celloquy.errors import ArgumentError

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
