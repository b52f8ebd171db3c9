"""``celloquy pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Devices, NumNodes, Overwrite, Reading, Running, Training, verb


@verb(app)
def pretrain(
    corpus: Annotated[
        list[str],
        typer.Argument(
            help="h5ad files or zarr directories with raw counts, folders or patterns of these, or manifests (.tsv, "
            ".csv: one file a line).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write the model to.", show_default=False)],
    reading: Reading,
    training: Training,
    running: Running,
    config: Annotated[
        str, typer.Option(help="mini, small or base; of gene models, genecompass/mini and so on.")
    ] = "mini",
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier call was interrupted or killed.")
    ] = False,
    temperature: Annotated[
        float, typer.Option(help="1: every cell once an epoch; higher: small files come more often, large ones less.")
    ] = 1.0,
    skip_bad_files: Annotated[
        bool, typer.Option("--skip-bad-files", help="Leave out files that can't be used, with a warning.")
    ] = False,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory for the cells, e.g. 4GB; by default half of the free memory.")
    ] = None,
    devices: Devices = None,
    num_nodes: NumNodes = None,
) -> None:
    """Pretrain a model on the cells of files, which may be larger than the memory.

    The model learns by filling in counts that are masked.

    Example:  celloquy pretrain pbmc.h5ad lung.h5ad --config small -o model/
    """
    import celloquy

    with plain_errors():
        celloquy.pretrain(
            list(corpus),
            config=config,
            out=out,
            overwrite=overwrite,
            resume=resume,
            **reading.arguments(),
            temperature=temperature,
            skip_bad_files=skip_bad_files,
            max_memory=max_memory,
            devices=devices,
            num_nodes=num_nodes,
            epochs=training.epochs,
            training=training.options(celloquy.TrainingOptions()),
            **running.arguments(),
        )
        typer.echo(f"model: {out}")
