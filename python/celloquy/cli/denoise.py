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
    Pretrained,
    Quiet,
    Seed,
    SpatialKey,
    Species,
    TissueKey,
    app,
    fitting_of,
    listed,
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
        Path | None, typer.Option(help="Directory of a fitted denoiser: read if it is there, else written.")
    ] = None,
    model: Pretrained = None,
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    batch_key: BatchKey = None,
    species: Species = None,
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
    from celloquy.tasks.denoising import check_request

    names = listed(genes)
    with plain_errors(), open_store(file) as adata:
        # Before the training, not after it.
        check_request(adata, unit, names, out=out)
        if denoiser is not None and denoiser.exists():
            fitted = celloquy.Denoiser.load(denoiser)
        else:
            fitting = fitting_of(
                celloquy.Denoiser, epochs=epochs, seed=seed, precision=precision, device=device, quiet=quiet
            )
            fitted = celloquy.Denoiser(
                model=model, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key,
                species=species, fitting=fitting,  # type: ignore[arg-type]  # the call checks it
            )  # fmt: skip
            fitted.fit(adata)
            if denoiser is not None:
                fitted.save(denoiser)
        fitted.predict(
            adata,
            unit=unit,  # type: ignore[arg-type]  # the call checks it
            genes=names,
            uncertainty=uncertainty,
            out=out,
        )
        typer.echo(f"denoised: {out}")
