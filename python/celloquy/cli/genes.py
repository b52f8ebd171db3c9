"""``celloquy genes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Input


@app.command()
def genes(
    file: Input,
    species: Annotated[
        str | None,
        typer.Option(help="human or mouse; by default told from the names."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file with what became of every name."),
    ] = None,
) -> None:
    """Show what each gene name of a file is taken for.

    Species, matches and by which rule, what is unknown or ambiguous.

    Example:  celloquy genes pbmc.h5ad -o genes.csv
    """
    import celloquy
    from celloquy.data.store import open_store

    with plain_errors():
        with open_store(file) as adata:
            names = adata.var_names
        identified = celloquy.identify_genes(names, species=species)  # type: ignore[arg-type]  # the call checks it
        typer.echo(str(identified))
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            identified.frame.to_csv(out, index=False)
