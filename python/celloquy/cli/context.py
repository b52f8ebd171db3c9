"""``celloquy context``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Input, Reading, Running, verb
from celloquy.cli.tables import listed_in, numbers_in, show_table


@verb(app, without=("batch_key", "precision", "seed"))
def context(
    file: Input,
    reading: Reading,
    running: Running,
    cells: Annotated[
        str | None,
        typer.Option(help="Cells to ask for: names with commas, or a file with one a line; by default all."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", "-l", help="Column of obs with the types of the cells that are read.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Column of obs with groups of asked cells; by default their labels.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Model whose cells read their tissue: a directory, org/name on the hub, or scratch, which trains one.",
        ),
    ] = keys.SCRATCH,
    distances: Annotated[
        str | None, typer.Option(help="Where intervals of distance end, with commas; by default they double.")
    ] = None,
    n_top: Annotated[int, typer.Option(help="Cells to name that each of --cells read most.")] = 0,
    encoder_layer: Annotated[
        int | None, typer.Option(help="Layer of the encoder, counted from 1; by default the mean over all.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write, CSV.")] = None,
) -> None:
    """Show which cells of its tissue a cell was read with, by type and by distance.

    Example:  celloquy context slices.h5ad --labels cell_type --model model/ --tissue-key slice --spatial-key spatial
    """
    import celloquy

    with plain_errors():
        table = celloquy.context(
            file, cells=listed_in(cells, "cells", "cells"), labels=labels, by=by, model=model,
            distances=numbers_in(distances, "distances"), n_top=n_top, encoder_layer=encoder_layer,
            **reading.arguments(without=("batch_key",)), **running.arguments(without=("precision", "seed")),
        )  # fmt: skip
        show_table(table, out)
