"""``celloquy convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Overwrite, verb
from celloquy.errors import ArgumentError


@verb(app)
def convert(
    released: Annotated[
        Path,
        typer.Argument(
            help="Directory of a released GeneCompass, or path of a released CellPLM without endings.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write the model to.", show_default=False)],
    tokens: Annotated[
        Path | None,
        typer.Option(help="Token of each gene of a GeneCompass: TSV, CSV, parquet, or the released pickle."),
    ] = None,
    medians: Annotated[
        Path | None, typer.Option(help="Median of each gene of a GeneCompass, in a file of the same kinds.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a released checkpoint of another code as a model of celloquy; no pickled code is executed.

    Example:  celloquy convert GeneCompass_Base/ --tokens human_mouse_tokens.pickle --medians medians.tsv -o model/
    """
    import celloquy

    with plain_errors():
        model: celloquy.Model
        if tokens is None and not released.is_dir():
            model = celloquy.read_cellplm(released)
        elif tokens is None:
            raise ArgumentError(
                "`tokens` is missing.",
                found=f"{str(released)!r} is a directory, and a GeneCompass does not name its genes",
                expected="the table of the token of each gene",
                remedy="pass `tokens`, such as prior_knowledge/human_mouse_tokens.pickle.",
                argument="tokens",
            )
        else:
            model = celloquy.read_genecompass(released, tokens=tokens, medians=medians)
        model.save(out, overwrite=overwrite)
        typer.echo(f"model: {out}")
