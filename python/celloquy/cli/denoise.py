"""``celloquy denoise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import (
    BatchKey,
    Device,
    Epochs,
    Input,
    Layer,
    Out,
    Precision,
    Quiet,
    Seed,
    SpatialKey,
    TissueKey,
    app,
    plain_errors,
)


@app.command()
def denoise(
    file: Input,
    out: Out,
    unit: Annotated[
        str, typer.Option(help="counts, at each cell's depth, or lognorm: log1p of counts per 10,000.")
    ] = "counts",
    genes: Annotated[str | None, typer.Option(help="Names of some genes, with commas; by default all.")] = None,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Write standard deviations, too.")] = False,
    denoiser: Annotated[
        Path | None, typer.Option(help="Directory of a fitted denoiser: read instead of fitting one.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Directory of a pretrained model to fine-tune.")
    ] = None,
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
    """Denoise the expression of cells.

    Writes obs, var and layers["celloquy_denoised"] by blocks of cells, without the counts.

    Example:  celloquy denoise pbmc.h5ad --batch-key donor -o denoised.h5ad
    """
    import celloquy
    from celloquy.data.store import open_store

    names = None if genes is None else [gene.strip() for gene in genes.split(",") if gene.strip()]
    with plain_errors():
        if denoiser is not None:
            with open_store(file) as adata:
                celloquy.Denoiser.load(denoiser).predict(
                    adata,
                    unit=unit,  # type: ignore[arg-type]  # checked there
                    genes=names,
                    uncertainty=uncertainty,
                    out=out,
                )
        else:
            celloquy.denoise(
                file,
                unit=unit,  # type: ignore[arg-type]  # checked there
                genes=names,
                uncertainty=uncertainty,
                out=out,
                model=model,
                layer=layer,
                tissue_key=tissue_key,
                spatial_key=spatial_key,
                batch_key=batch_key,
                epochs=epochs,
                precision=precision,  # type: ignore[arg-type]  # checked there
                device=device,
                seed=seed,
                progress=not quiet,
            )
        typer.echo(f"denoised: {out}")
