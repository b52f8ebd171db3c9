"""``celloquy embed``."""

from __future__ import annotations

from typing import Annotated

import typer

from celloquy.cli.app import (
    Device,
    Input,
    Layer,
    Model,
    Out,
    Precision,
    Quiet,
    SpatialKey,
    TissueKey,
    app,
    plain_errors,
)


@app.command()
def embed(
    file: Input,
    model: Model,
    out: Out,
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Cells computed at a time; the result does not depend on it."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(help="Memory to use, e.g. '4 GB'. By default half of what is free."),
    ] = None,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Embed the cells of a file of any size.

    Writes obs and obsm["X_celloquy"], without the counts; with the file itself as --out the embedding is added to it.
    Every cell is read together with all cells of its tissue. After an interruption the same command goes on.

    Example:  celloquy embed pbmc.h5ad --model model/ --tissue-key donor -o embedded.h5ad
    """
    import celloquy

    with plain_errors():
        celloquy.embed(
            file,
            model=model,
            out=out,
            layer=layer,
            tissue_key=tissue_key,
            spatial_key=spatial_key,
            batch_size=batch_size,
            max_memory=max_memory,
            precision=precision,  # type: ignore[arg-type]  # the call checks it
            device=device,
            progress=not quiet,
        )
        typer.echo(f"embedded: {out}")
