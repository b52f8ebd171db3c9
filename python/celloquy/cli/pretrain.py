"""``celloquy pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import (
    BatchKey,
    Device,
    Epochs,
    Layer,
    Precision,
    Quiet,
    Seed,
    SpatialKey,
    TissueKey,
    app,
    plain_errors,
)


@app.command()
def pretrain(
    files: Annotated[
        list[Path], typer.Argument(help="h5ad files or zarr directories with raw counts.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write the model to.", show_default=False)],
    config: Annotated[str, typer.Option(help="mini, small or base.")] = "mini",
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    batch_key: BatchKey = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Pretrain a model on the cells of files.

    The model learns by filling in counts that are masked.

    Example:  celloquy pretrain pbmc.h5ad lung.h5ad --config small -o model/
    """
    import celloquy

    with plain_errors():
        celloquy.pretrain(
            list(files),
            config=config,
            out=out,
            layer=layer,
            tissue_key=tissue_key,
            spatial_key=spatial_key,
            batch_key=batch_key,
            epochs=epochs,
            seed=seed,
            precision=precision,  # type: ignore[arg-type]  # the call checks it
            device=device,
            progress=not quiet,
        )
        typer.echo(f"model: {out}")
