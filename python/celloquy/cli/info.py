"""``celloquy info``."""

from __future__ import annotations

from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors


@app.command()
def info(
    model: Annotated[
        str,
        typer.Argument(
            help="Directory of a saved model, cells-mini, genes-mini, or org/name on the hub.", show_default=False
        ),
    ],
) -> None:
    """Show what a saved model is and how it was made.

    Example:  celloquy info model/
    """
    import celloquy

    with plain_errors():
        loaded = celloquy.Model.from_pretrained(model)
        # The file keeps no order.
        lines = loaded.describe() | {"fingerprint": loaded.fingerprint} | dict(sorted(loaded.provenance.items()))
        width = max(map(len, lines))
        for key, value in lines.items():
            typer.echo(f"{key:<{width}} {value}")
