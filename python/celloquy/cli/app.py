"""The ``celloquy`` command itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated

import typer

from celloquy.errors import CelloquyError
from celloquy.version import VERSION

CONTEXT: ContextVar[typer.Context] = ContextVar("context")
"""The call of a verb, which knows what was given on the command line."""

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
        typer.echo(f"celloquy: {_in_words_of_the_command(str(error))}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("celloquy: interrupted.", err=True)
        raise typer.Exit(130) from None


def _in_words_of_the_command(message: str) -> str:
    """A message with the names of arguments, which it has in backticks, as options of the command line."""
    context = CONTEXT.get(None)
    options = {} if context is None else context.params

    def option(match: re.Match[str]) -> str:
        return f"--{match[1].replace('_', '-')}" if match[1] in options else match[0]

    return re.sub(r"`([a-z][a-z0-9_]*)`", option, message)
