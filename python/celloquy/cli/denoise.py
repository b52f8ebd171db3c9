"""``celloquy denoise``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
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
    names_in,
    verb,
)


@verb(app)
def denoise(
    file: Input,
    out: Out,
    modelling: Modelling,
    reading: Reading,
    training: Training,
    running: Running,
    unit: Annotated[
        str, typer.Option(help="counts: at the cell's own depth; lognorm: log1p of counts per 10,000.")
    ] = "counts",
    genes: Annotated[str | None, typer.Option(help="Names of genes, with commas; by default all.")] = None,
    return_std: Annotated[bool, typer.Option("--return-std", help="Give standard deviations, too.")] = False,
    n_neighbors: Annotated[
        int, typer.Option(help="Nearest cells that the decoder is averaged with; 0: the decoder alone.")
    ] = 30,
    denoiser: Annotated[
        Path | None, typer.Option(help="Directory of a fitted denoiser: read if it is there, else written.")
    ] = None,
    overwrite: Overwrite = False,
    key_added: KeyAdded = None,
) -> None:
    """Denoise the expression of cells.

    Writes obs, var and layers["celloquy_denoised"] by blocks of cells, without the counts.

    Example:  celloquy denoise pbmc.h5ad --batch-key donor -o denoised.h5ad
    """
    import celloquy
    from celloquy.data.store import open_store
    from celloquy.tasks.denoising.request import check_request, reserve_output

    began = time.perf_counter()
    with plain_errors(), ExitStack() as stack:
        adata = stack.enter_context(open_store(file))
        # Before the training, not after it.
        request = check_request(
            adata,
            unit,  # type: ignore[arg-type]  # the call checks it
            names_in(genes),
            return_std=return_std,
            out=out,
            key_added=key_added or keys.DENOISED,
        )
        output = reserve_output(adata, request, stack, source=file)
        task = fit_or_load(
            lambda: celloquy.Denoiser(
                n_neighbors=n_neighbors,
                **modelling.arguments(),
                **reading.arguments(),
                epochs=training.epochs,
                training=training.options(celloquy.Denoiser.usual_training),
                **running.arguments(),
            ),
            lambda task: task.fit(adata),
            kind=celloquy.Denoiser,
            saved=denoiser,
            overwrite=overwrite,
            load=denoiser is not None and denoiser.exists() and not overwrite,
            reading=reading,
            running=running,
            used=("unit", "genes", "return_std"),
        )
        with task.kept():
            task.answer(adata, request, output, began)
    typer.echo(f"denoised: {out}")
