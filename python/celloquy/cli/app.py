"""The ``celloquy`` command itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from celloquy.errors import CelloquyError
from celloquy.version import VERSION

app = typer.Typer(
    name="celloquy",
    help="Cell language models: cells are tokens, a tissue is a sentence.",
    epilog="Start with: celloquy pretrain cells.h5ad -o model/",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"celloquy {VERSION}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """Cell language models: cells are tokens, a tissue is a sentence."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with the message alone where the user can mend it, and quietly on Ctrl-C."""
    try:
        yield
    except CelloquyError as error:
        typer.echo(f"celloquy: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("celloquy: interrupted.", err=True)
        raise typer.Exit(130) from None
