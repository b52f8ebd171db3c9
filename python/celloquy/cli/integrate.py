"""``celloquy integrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import (
    Device,
    Epochs,
    Input,
    Layer,
    Out,
    Precision,
    Pretrained,
    Quiet,
    Seed,
    SpatialKey,
    TissueKey,
    app,
    fitting_of,
    plain_errors,
)
from celloquy.cli.files import changed_file


@app.command()
def integrate(
    file: Input,
    out: Out,
    batch_key: Annotated[
        str | None, typer.Option("--batch-key", "-b", help="Column of obs with the batch to be rid of.")
    ] = None,
    integrator: Annotated[
        Path | None, typer.Option(help="Directory of a fitted integrator: read instead of fitting one, or written.")
    ] = None,
    model: Pretrained = None,
    mixing: Annotated[float, typer.Option(help="How strongly batches are drawn together, in nats a cell.")] = 100.0,
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Embed cells of several batches such that the batch does not show.

    Writes the file with obsm["X_celloquy"].

    Example:  celloquy integrate cells.h5ad --batch-key donor -o integrated.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if batch_key is None and integrator is None:
            raise ArgumentError(
                "There are no batches to integrate.",
                found="no --batch-key and no --integrator",
                expected="a column of batches, or a fitted integrator",
                remedy="pass --batch-key COLUMN, or --integrator DIRECTORY.",
            )
        with changed_file(file, out) as adata:
            if batch_key is None:
                assert integrator is not None
                fitted = celloquy.Integrator.load(integrator)
            else:
                fitting = fitting_of(
                    celloquy.Integrator, epochs=epochs, seed=seed, precision=precision, device=device, quiet=quiet
                )
                fitted = celloquy.Integrator(
                    batch_key=batch_key, model=model, mixing=mixing, layer=layer, tissue_key=tissue_key,
                    spatial_key=spatial_key, fitting=fitting,
                )  # fmt: skip
                fitted.fit(adata)
                if integrator is not None:
                    fitted.save(integrator)
            fitted.predict(adata)
        typer.echo(f"integrated: {out}")
