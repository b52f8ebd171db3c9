"""``celloquy pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Reading, Running, Training, verb


@verb(app)
def pretrain(
    files: Annotated[
        list[Path], typer.Argument(help="h5ad files or zarr directories with raw counts.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write the model to.", show_default=False)],
    reading: Reading,
    training: Training,
    running: Running,
    config: Annotated[str, typer.Option(help="mini, small or base.")] = "mini",
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
            **reading.arguments(),
            epochs=training.epochs,
            training=training.options(celloquy.TrainingOptions()),
            **running.arguments(),
        )
        typer.echo(f"model: {out}")
