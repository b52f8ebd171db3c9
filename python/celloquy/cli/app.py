"""The ``celloquy`` command itself."""

from __future__ import annotations

import re
import warnings
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
    """End with the message alone where the user can mend it, and quietly on Ctrl-C; say each warning once."""
    said: set[str] = set()

    def say(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        # The warnings of the libraries below are for their authors.
        if category.__module__.startswith("celloquy") and str(message) not in said:
            said.add(str(message))
            typer.echo(f"celloquy: warning: {_in_words_of_the_command(str(message))}", err=True)

    try:
        with warnings.catch_warnings(action="always"):
            warnings.showwarning = say
            yield
    except CelloquyError as error:
        typer.echo(f"celloquy: {_in_words_of_the_command(str(error))}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("celloquy: interrupted.", err=True)
        raise typer.Exit(130) from None


def option_name(argument: str) -> str:
    """Return the option of the call's verb for an argument, or the argument itself where there is none."""
    context = CONTEXT.get(None)
    options = {} if context is None else {one.name: one.opts[0] for one in context.command.params}
    return options.get(argument, argument)


def _in_words_of_the_command(message: str) -> str:
    """A message with arguments, which stand in backticks or before a value, as options of the command line."""

    def option(match: re.Match[str]) -> str:
        name = option_name(match[1])
        return match[0] if name == match[1] else name

    def value(match: re.Match[str]) -> str:
        name = option_name(match[1])
        return match[0] if name == match[1] else f"{name} {match[3]}"

    message = re.sub(r"`([a-z][a-z0-9_]*)`", option, message)
    return re.sub(r"\b([a-z][a-z0-9_]*)=(['\"])([^'\"]*)\2", value, message)
