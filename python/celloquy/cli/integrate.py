"""``celloquy integrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
from celloquy.cli.files import changed_file
from celloquy.cli.options import (
    Input,
    KeyAdded,
    Modelling,
    Out,
    Overwrite,
    Reading,
    Running,
    Training,
    fit_or_load,
    verb,
)


@verb(app)
def integrate(
    file: Input,
    out: Out,
    modelling: Modelling,
    reading: Reading,
    training: Training,
    running: Running,
    integrator: Annotated[
        Path | None, typer.Option(help="Directory of a fitted integrator: read instead of fitting one, or written.")
    ] = None,
    batch_mixing: Annotated[
        float, typer.Option(help="Weight, in nats a cell, with which batches are drawn together.")
    ] = 100.0,
    n_top_genes: Annotated[
        int, typer.Option(help="Most variable genes for a model trained from scratch; 0: all genes.")
    ] = 2000,
    overwrite: Overwrite = False,
    key_added: KeyAdded = None,
) -> None:
    """Embed cells of several batches such that the batch does not show.

    Writes the file with obsm["X_celloquy"].

    Example:  celloquy integrate cells.h5ad --batch-key donor -o integrated.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if reading.batch_key is None and integrator is None:
            raise ArgumentError(
                "There are no batches to integrate.",
                found="no --batch-key and no --integrator",
                expected="a column of batches, or a fitted integrator",
                remedy="pass --batch-key COLUMN, or --integrator DIRECTORY.",
            )

        def fit(task: celloquy.Integrator) -> None:
            task.check_request(adata, key_added=key_added)
            task.fit(adata)

        with changed_file(file, out) as (adata, write):
            task = fit_or_load(
                lambda: celloquy.Integrator(
                    batch_mixing=batch_mixing,
                    n_top_genes=n_top_genes or None,
                    **modelling.arguments(),
                    **reading.arguments(),
                    epochs=training.epochs,
                    training=training.options(celloquy.Integrator.usual_training),
                    **running.arguments(),
                ),
                fit,
                kind=celloquy.Integrator,
                saved=integrator,
                overwrite=overwrite,
                load=reading.batch_key is None,
                reading=reading,
                running=running,
            )
            with task.kept():
                task.predict(adata, key_added=key_added or keys.EMBEDDING)
                write()
        typer.echo(f"integrated: {out}")
