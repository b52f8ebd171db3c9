"""``celloquy impute``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import (
    Device,
    Epochs,
    Layer,
    Out,
    Precision,
    Pretrained,
    Quiet,
    Seed,
    Species,
    TissueKey,
    app,
    fitting_of,
    listed,
    plain_errors,
)
from celloquy.cli.files import changed_file, whole


@app.command()
def impute(
    file: Annotated[Path, typer.Argument(help="h5ad file or zarr directory of the spatial panel.", show_default=False)],
    out: Out,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="h5ad file or zarr directory of dissociated cells of the tissue."),
    ] = None,
    genes: Annotated[
        str | None, typer.Option(help="Names of genes, with commas; by default all that the panel lacks.")
    ] = None,
    imputer: Annotated[
        Path | None, typer.Option(help="Directory of a fitted imputer: read instead of fitting one, or written.")
    ] = None,
    model: Pretrained = None,
    layer: Layer = None,
    reference_layer: Annotated[str | None, typer.Option(help="Where the reference's raw counts are.")] = None,
    tissue_key: TissueKey = None,
    spatial_key: Annotated[str, typer.Option(help="Key of obsm with the cells' positions.")] = "spatial",
    species: Species = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Impute genes that a spatial panel lacks.

    Writes the file with obsm["celloquy_imputed"], and in uns["celloquy"] how far each gene can be trusted.

    Example:  celloquy impute starmap.h5ad --reference cortex.h5ad --genes Pvalb,Sst --tissue-key slice -o imputed.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if reference is None and imputer is None:
            raise ArgumentError(
                "There is nothing to impute from.",
                found="no --reference and no --imputer",
                expected="dissociated cells of the same tissue, or a fitted imputer",
                remedy="pass --reference FILE, or --imputer DIRECTORY.",
            )
        with changed_file(file, out) as adata:
            if reference is None:
                assert imputer is not None
                fitted = celloquy.Imputer.load(imputer)
            else:
                fitting = fitting_of(
                    celloquy.Imputer, epochs=epochs, seed=seed, precision=precision, device=device, quiet=quiet
                )
                fitted = celloquy.Imputer(
                    model=model, layer=layer, reference_layer=reference_layer, tissue_key=tissue_key,
                    spatial_key=spatial_key, species=species, fitting=fitting,  # type: ignore[arg-type]  # the call checks it
                )  # fmt: skip
                fitted.fit(adata, whole(reference), genes=listed(genes))
                if imputer is not None:
                    fitted.save(imputer)
            fitted.predict(adata)
        typer.echo(f"imputed: {out}")
