"""``celloquy embed``."""

from __future__ import annotations

from typing import Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Devices, Input, KeyAdded, NumNodes, Out, Reading, Running, verb


@verb(app, without=("batch_key", "seed"))
def embed(
    file: Input,
    out: Out,
    reading: Reading,
    running: Running,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Directory of a saved model, org/name of one on the hub, cells-mini or genes-mini (in the box), or "
            "scratch.",
        ),
    ] = keys.CELLS_MINI,
    adapt: Annotated[
        bool | None, typer.Option(help="Let the model learn from these cells first; by default if it can.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Cells computed at a time; the result does not depend on it.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory to use, e.g. '4 GB'. By default half of what is free.")
    ] = None,
    devices: Devices = None,
    num_nodes: NumNodes = None,
    key_added: KeyAdded = None,
) -> None:
    """Embed the cells of a file of any size.

    Writes obs and obsm["X_celloquy"], without the counts; with the file itself as --out the embedding is added to it.
    A model of your own reads every cell with all cells of its tissue. After an interruption the same command goes on.

    Example:  celloquy embed pbmc.h5ad -o embedded.h5ad
    With a model of your own:  celloquy embed pbmc.h5ad --model model/ --tissue-key donor -o embedded.h5ad
    """
    import celloquy

    with plain_errors():
        celloquy.embed(
            file,
            model=model,
            adapt=adapt,
            out=out,
            **reading.arguments(without=("batch_key",)),
            batch_size=batch_size,
            max_memory=max_memory,
            devices=devices,
            num_nodes=num_nodes,
            **running.arguments(without=("seed",)),
            key_added=key_added or keys.EMBEDDING,
        )
        typer.echo(f"embedded: {out}")
