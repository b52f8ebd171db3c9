"""``celloquy samples``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celloquy import keys
from celloquy.cli.app import app, option_name, plain_errors
from celloquy.cli.options import Input, Overwrite, Reading, Running, check_kept, given_options, refuse_idle, verb
from celloquy.cli.tables import needed, write_table
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from celloquy.tasks.samples import SamplePredictor

NOT_READ = ("tissue_key", "spatial_key", "batch_key")


@verb(app, without=NOT_READ)
def samples(
    file: Input,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV to write, a row for each sample.", show_default=False)],
    reading: Reading,
    running: Running,
    sample_key: Annotated[
        str | None, typer.Option(help="Column of obs with the sample: a patient, an animal, a biopsy.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Column of obs with a class or a number, one for each sample; missing where it is unknown."),
    ] = None,
    group_key: Annotated[
        str | None, typer.Option(help="Column of obs with groups that are held out together; by default each sample.")
    ] = None,
    label_key: Annotated[
        str | None, typer.Option(help="Column of obs with types of cells; by default clusters of the embedding.")
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Directory of a saved model, org/name of one on the hub, or cells-mini."),
    ] = keys.CELLS_MINI,
    cells: Annotated[Path | None, typer.Option(help="CSV to write, too: which cells decide.")] = None,
    predictor: Annotated[
        Path | None, typer.Option(help="Directory of a fitted predictor: read without --target, or written.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Predict the class or the number of samples, such as patients, from their cells.

    Writes a row for each sample. Samples with a target are learned from, and each is told without itself.

    Example:  celloquy samples cohort.h5ad --sample-key patient --target response -o told.csv
    Keep what was learned:  … --predictor response/
    Ask again:  celloquy samples new.h5ad --predictor response/ -o told.csv --cells cells.csv
    """
    from celloquy.data.store import opened
    from celloquy.tasks.samples import SamplePredictor
    from celloquy.tasks.samples.verb import learn_and_tell

    with plain_errors():
        if target is None:
            fitted = _loaded(predictor, reading, running, sample_key)
            table = fitted.predict(file)
            deciding = None if cells is None else fitted.deciding_cells(file)
        else:
            check_kept(predictor, option_name("predictor"), overwrite=overwrite)
            fitted = SamplePredictor(
                sample_key=needed(sample_key, "sample_key", "it says which cells are of one sample"), target=target,
                group_key=group_key, label_key=label_key, model=model, **reading.arguments(without=NOT_READ),
                **running.arguments(),
            )  # fmt: skip
            with opened(file, "file") as adata:
                table, deciding, _ = learn_and_tell(fitted, adata, deciding=cells is not None)
            if predictor is not None:
                fitted.save(predictor, overwrite=overwrite)
        if cells is not None and deciding is not None:
            write_table(deciding.rename_axis("cell").reset_index(), cells)
        write_table(table.reset_index(), out)
        typer.echo(f"samples: {out}")


def _loaded(predictor: Path | None, reading: Reading, running: Running, sample_key: str | None) -> SamplePredictor:
    from celloquy.tasks.samples import SamplePredictor

    if predictor is None:
        raise ArgumentError(
            "There is nothing to learn from.",
            found=f"neither {option_name('target')} nor {option_name('predictor')}",
            expected="a column with what is to be told, or a fitted predictor",
            remedy="pass --target COLUMN, or --predictor DIRECTORY.",
        )
    refuse_idle(
        {"sample_key", "cells", "predictor", "layer", "counts", "species", "precision", "device", "quiet"},
        f"The predictor in {str(predictor)!r} is fitted already.",
        "leave these options out, or name a column as `target` to fit anew.",
    )
    fitted, asked = SamplePredictor.load(predictor), given_options()
    fitted.progress, fitted.device = not running.quiet, running.device
    fitted.sample_key = sample_key or fitted.sample_key
    for name, value in {**reading.arguments(without=NOT_READ), "precision": running.precision}.items():
        # What is left out is as the predictor was fitted.
        if name in asked:
            setattr(fitted, name, value)
    return fitted
