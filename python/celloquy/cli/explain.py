"""``celloquy explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Input, Reading, Running, verb
from celloquy.cli.tables import listed_in, needed, show_table

NOT_READ = ("tissue_key", "spatial_key", "batch_key")


@verb(app, without=(*NOT_READ, "precision", "device"))
def explain(
    file: Input,
    reading: Reading,
    running: Running,
    labels: Annotated[
        str | None, typer.Option("--labels", "-l", help="Column of obs with labels, such as clusters.")
    ] = None,
    annotator: Annotated[
        Path | None, typer.Option("--annotator", help="Directory of a fitted annotator, whose labels are explained.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column of obs with groups; by default each label is one.")] = None,
    cells: Annotated[
        str | None, typer.Option(help="Cells to explain one by one: names with commas, or a file with one a line.")
    ] = None,
    n_genes: Annotated[int, typer.Option(help="Genes of each group; 0: all.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write, CSV.")] = None,
) -> None:
    """Explain labels, clusters or single cells by their genes.

    Example:  celloquy explain pbmc.h5ad --labels leiden -o genes.csv
    By an annotator that was fitted before:  celloquy explain pbmc.h5ad --annotator annotator/ -o genes.csv
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if labels is not None and annotator is not None:
            raise ArgumentError(
                "`labels` has no use with an annotator.",
                found=f"labels={labels!r}, and an annotator",
                expected="one of the two",
                remedy="leave one of them out.",
                argument="labels",
            )
        what = (
            needed(labels, "labels", "these are explained") if annotator is None else celloquy.Annotator.load(annotator)
        )
        table = celloquy.explain(
            file, labels=what, by=by, cells=listed_in(cells, "cells", "cells"), n_genes=n_genes or None,
            **reading.arguments(without=NOT_READ), **running.arguments(without=("precision", "device")),
        )  # fmt: skip
        show_table(table, out)
