"""The ``celloquy`` command itself, and the options that its verbs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celloquy import __version__
from celloquy.errors import CelloquyError

if TYPE_CHECKING:
    from celloquy.tasks.task import Task
    from celloquy.training.fitting import Fitting

app = typer.Typer(
    name="celloquy",
    help="A cell language model: cells are tokens, a tissue is a sentence.",
    epilog="Start with: celloquy pretrain cells.h5ad -o model/",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Input = Annotated[
    Path, typer.Argument(help="h5ad file or zarr directory with raw counts, cells × genes.", show_default=False)
]
Model = Annotated[Path, typer.Option("--model", "-m", help="Directory of a saved model.", show_default=False)]
Pretrained = Annotated[Path | None, typer.Option("--model", "-m", help="Directory of a pretrained model to fine-tune.")]
Layer = Annotated[
    str | None,
    typer.Option(help="Where the raw counts are: a layer, X or raw. By default the first that holds counts."),
]
TissueKey = Annotated[
    str | None,
    typer.Option(help="Column of obs: which cells are read together (a sample, a slice). By default all cells."),
]
SpatialKey = Annotated[
    str | None,
    typer.Option(help="Key of obsm with the cells' positions. By default none."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: a GPU where there is one.")]
Precision = Annotated[str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where the hardware has it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write, .h5ad or .zarr.", show_default=False)]
BatchKey = Annotated[
    str | None,
    typer.Option(help="Column of obs with the experimental batch, which the decoder is told."),
]
Species = Annotated[
    str | None, typer.Option(help="auto: map genes of the other species through orthologs. By default an error.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the cells; by default by their number.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result on one machine.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"celloquy {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """A cell language model: cells are tokens, a tissue is a sentence."""


def listed(names: str | None) -> list[str] | None:
    """Return the names of a list with commas."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def fitting_of(task: type[Task], *, epochs: int | None, seed: int, precision: str, device: str, quiet: bool) -> Fitting:
    """Return how to train a task: as is its own default, but for what the command line says."""
    return replace(
        task.fitting,
        epochs=epochs,
        seed=seed,
        precision=precision,  # type: ignore[arg-type]  # the call checks it
        device=device,
        progress=not quiet,
    )


@contextmanager
def plain_errors() -> Iterator[None]:
    """End with the message alone where the user can mend it, and quietly on Ctrl-C."""
    try:
        yield
    except CelloquyError as error:
        typer.echo(f"celloquy: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("celloquy: interrupted.", err=True)
        raise typer.Exit(130) from None
