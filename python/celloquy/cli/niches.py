"""``celloquy niches``."""

from __future__ import annotations

from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
from celloquy.cli.files import changed_file
from celloquy.cli.options import Input, KeyAdded, Out, Reading, Running, verb


@verb(app, without=("batch_key", "spatial_key"))
def niches(
    file: Input,
    out: Out,
    reading: Reading,
    running: Running,
    spatial_key: Annotated[str, typer.Option(help="Key of obsm with positions, which every cell has.")] = "spatial",
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Directory of a saved model, org/name of one on the hub, or cells-mini."),
    ] = keys.CELLS_MINI,
    adapt: Annotated[
        bool | None, typer.Option(help="Let the model learn from these cells first; by default if it can.")
    ] = None,
    n_neighbors: Annotated[
        int | None, typer.Option(help="Cells of a neighbourhood; by default those that predict a cell best.")
    ] = None,
    n_niches: Annotated[int | None, typer.Option(help="Number of niches; by default Leiden decides.")] = None,
    resolution: Annotated[float, typer.Option(help="Resolution of Leiden: the higher, the more niches.")] = 0.2,
    composition: Annotated[
        float, typer.Option(help="Weight of the composition beside the mean of the embedding; 0 leaves it out.")
    ] = 0.0,
    center_tissues: Annotated[
        bool, typer.Option(help="Take the mean of its tissue off every cell, so that slices share their niches.")
    ] = True,
    key_added: KeyAdded = None,
) -> None:
    """Find the niches of a tissue: what surrounds a cell, as an embedding and as clusters.

    Writes the file with obsm["X_niche"] and obs["niche"].

    Example:  celloquy niches slices.h5ad --tissue-key slice -o niches.h5ad
    """
    import celloquy

    with plain_errors():
        with changed_file(file, out) as (adata, write):
            celloquy.niches(
                adata,
                spatial_key=spatial_key,
                model=model,
                adapt=adapt,
                n_neighbors=n_neighbors,
                n_niches=n_niches,
                resolution=resolution,
                composition=composition,
                center_tissues=center_tissues,
                **reading.arguments(without=("batch_key", "spatial_key")),
                **running.arguments(),
                key_added=key_added or keys.NICHE,
            )
            write()
        typer.echo(f"niches: {out}")
