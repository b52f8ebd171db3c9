"""``celloquy impute``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
from celloquy.cli.files import changed_file, read_whole
from celloquy.cli.options import (
    KeyAdded,
    Modelling,
    Out,
    Overwrite,
    Reading,
    Reference,
    Running,
    Training,
    fit_or_load,
    names_in,
    verb,
)


@verb(app, without=("batch_key", "spatial_key"))
def impute(
    file: Annotated[Path, typer.Argument(help="Spatial panel: h5ad, h5mu, zarr or Cell Ranger.", show_default=False)],
    out: Out,
    modelling: Modelling,
    reading: Reading,
    training: Training,
    running: Running,
    reference: Reference = None,
    genes: Annotated[
        str | None, typer.Option(help="Names of genes, with commas; by default all that the panel lacks.")
    ] = None,
    imputer: Annotated[
        Path | None, typer.Option(help="Directory of a fitted imputer: read instead of fitting one, or written.")
    ] = None,
    spatial_key: Annotated[str, typer.Option(help="Key of obsm with positions; empty for none.")] = "spatial",
    reference_layer: Annotated[str | None, typer.Option(help="Place of the reference's raw counts.")] = None,
    n_models: Annotated[int, typer.Option(help="Models, from each of which other genes are held out.")] = 4,
    batch_mixing: Annotated[
        float, typer.Option(help="Weight, in nats a cell, with which panel and reference are drawn together.")
    ] = 0.0,
    overwrite: Overwrite = False,
    key_added: KeyAdded = None,
) -> None:
    """Impute genes that a spatial panel lacks.

    Writes the file with obsm["celloquy_imputed"], whose genes uns["celloquy"] names, with how far each can be trusted.

    Example:  celloquy impute starmap.h5ad --reference cortex.h5ad --genes Pvalb,Sst --tissue-key slice -o imputed.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    reading = replace(reading, spatial_key=spatial_key or None)
    with plain_errors():
        if reference is None and imputer is None:
            raise ArgumentError(
                "There is nothing to impute from.",
                found="no --reference and no --imputer",
                expected="dissociated cells of the same tissue, or a fitted imputer",
                remedy="pass --reference FILE, or --imputer DIRECTORY.",
            )

        def fit(task: celloquy.Imputer) -> None:
            task.check_request(adata, key_added=key_added)
            task.fit(adata, read_whole(reference, "reference"), genes=names_in(genes))

        with changed_file(file, out) as (adata, write):
            task = fit_or_load(
                lambda: celloquy.Imputer(
                    reference_layer=reference_layer,
                    n_models=n_models,
                    batch_mixing=batch_mixing,
                    **modelling.arguments(),
                    **reading.arguments(),
                    epochs=training.epochs,
                    training=training.options(celloquy.Imputer.usual_training),
                    **running.arguments(),
                ),
                fit,
                kind=celloquy.Imputer,
                saved=imputer,
                overwrite=overwrite,
                load=reference is None,
                reading=reading,
                running=running,
            )
            with task.kept():
                task.predict(adata, key_added=key_added or keys.IMPUTED)
                write()
        typer.echo(f"imputed: {out}")
