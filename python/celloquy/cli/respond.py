"""``celloquy respond``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celloquy.cli.app import app, option_name, plain_errors
from celloquy.cli.options import (
    Out,
    Overwrite,
    Reading,
    Running,
    check_kept,
    given_options,
    names_in,
    refuse_idle,
    verb,
)
from celloquy.cli.tables import listed_in, needed, numbers_in, read_table
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.tasks.responses import ResponsePredictor

NOT_READ = ("tissue_key", "spatial_key", "batch_key", "species")
TABLES = ("effects", "ranks")
"""Values that a CSV file may hold."""


@verb(app, without=(*NOT_READ, "precision"))
def respond(
    out: Out,
    reading: Reading,
    running: Running,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="What is learned from: h5ad, h5mu, zarr or Cell Ranger matrix; of effects or ranks also CSV, with a "
            "row for each condition. With a fitted predictor, control cells of other contexts.",
            show_default=False,
        ),
    ] = None,
    perturbations: Annotated[
        str | None,
        typer.Option(
            help="What is asked for, with commas (A,B+C), or a file with one a line; by default all that were "
            "measured alone."
        ),
    ] = None,
    perturbation_key: Annotated[str | None, typer.Option(help="Column of obs with the perturbation.")] = None,
    control: Annotated[str, typer.Option(help="Name of the controls in it; several with commas.")] = "control",
    covariate_key: Annotated[
        str | None, typer.Option(help="Column of obs with the context: a cell type, a line, a patient.")
    ] = None,
    dose_key: Annotated[str | None, typer.Option(help="Column of obs with the dose, a number above 0.")] = None,
    replicate_key: Annotated[str | None, typer.Option(help="Column of obs with the replicate.")] = None,
    contexts: Annotated[
        str | None, typer.Option(help="Contexts that are asked for, with commas; by default all that have controls.")
    ] = None,
    doses: Annotated[
        str | None, typer.Option(help="Doses that are asked for, with commas; by default all that were measured.")
    ] = None,
    separator: Annotated[
        str, typer.Option(help='Text between the perturbations of a combination; "" if a name is never split.')
    ] = "+",
    values: Annotated[
        str, typer.Option(help="counts, expression (logarithms), effects (changes), or ranks of genes.")
    ] = "counts",
    described: Annotated[
        Path | None,
        typer.Option(
            help="CSV of what is known of perturbations, named by the first column: smiles, targets, mechanism, and "
            "columns of numbers."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model whose vectors of genes describe perturbed genes. By default those in the box."
        ),
    ] = None,
    priors: Annotated[
        str, typer.Option(help="auto, or what describes genes, with commas: family, function, domains, ….")
    ] = "auto",
    predictor: Annotated[
        Path | None, typer.Option(help="Directory of a fitted predictor: read without --perturbation-key, or written.")
    ] = None,
    sample_cells: Annotated[
        bool, typer.Option("--sample-cells", help="With a fitted predictor: write FILE's cells as they would be.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict how expression answers to perturbations, drugs and doses that were not measured.

    Writes conditions × genes: X the expected expression, layers change, lower and upper, and in obs the situation, the
    method and the reliability of each.

    Example:  celloquy respond screen.h5ad --perturbation-key gene --perturbations KLF1,CEBPA+KLF1 -o told.h5ad
    Keep what was learned:  … --predictor responses/
    Ask again:  celloquy respond --predictor responses/ --perturbations GATA1 -o gata1.h5ad
    """
    from celloquy.data.store import write_whole
    from celloquy.runtime.resume import resumable_output

    with plain_errors():
        named, amounts = listed_in(perturbations, "perturbations", "perturbations"), numbers_in(doses, "doses")
        if perturbation_key is None and predictor is None:
            raise ArgumentError(
                "There is nothing to learn from.",
                found=f"neither {option_name('perturbation_key')} nor {option_name('predictor')}",
                expected="a file with a column of perturbations, or a fitted predictor",
                remedy="pass FILE --perturbation-key COLUMN, or --predictor DIRECTORY.",
            )
        with resumable_output(out) as output:
            if perturbation_key is None:
                assert predictor is not None
                fitted = _loaded(predictor, reading, running)
                if sample_cells:
                    result = _sampled(fitted, file, named, names_in(contexts), amounts)
                else:
                    result = fitted.predict(named, contexts=names_in(contexts), doses=amounts, controls=file)
            else:
                from celloquy.tasks.responses import ResponsePredictor

                _check_fit(predictor, sample_cells=sample_cells, overwrite=overwrite)
                keys = [perturbation_key, covariate_key, dose_key, replicate_key]
                data = _data(needed(file, "file", "perturbations are learned from it"), values, keys)
                given: dict[str, Any] = {
                    "control": names_in(control) or [], "covariate_key": covariate_key, "dose_key": dose_key,
                    "replicate_key": replicate_key, "separator": separator, "values": values, "model": model,
                    "described": None if described is None else read_table(described, "described"),
                    "priors": priors if priors == "auto" else names_in(priors),
                }  # fmt: skip
                fitted = ResponsePredictor(
                    perturbation_key=perturbation_key, **given, **reading.arguments(without=NOT_READ),
                    **running.arguments(without=("precision",)),
                )  # fmt: skip
                fitted.fit(data)
                if predictor is not None:
                    fitted.save(predictor, overwrite=overwrite)
                result = fitted.predict(named, contexts=names_in(contexts), doses=amounts)
            write_whole(result, output.result)
        typer.echo(f"{'cells' if sample_cells else 'responses'}: {out}")


def _data(file: Path, values: str, keys: list[str | None]) -> Path | pd.DataFrame:
    """What is learned from: a file of cells, or the table of a CSV file."""
    if file.suffix.lower() == ".csv" and values in TABLES:
        return read_table(file, "file", [key for key in keys if key is not None])
    return file


def _check_fit(predictor: Path | None, *, sample_cells: bool, overwrite: bool) -> None:
    """Refuse, before the work, cells of a predictor that is not fitted yet, and a directory that can't keep it."""
    if sample_cells:
        raise ArgumentError(
            "Cells are drawn by a predictor that is fitted already.",
            found=f"{option_name('sample_cells')} with {option_name('perturbation_key')}",
            expected="a fitted predictor, and a file of control cells",
            remedy=f"keep the predictor with {option_name('predictor')} first, and leave `perturbation_key` out then.",
        )
    check_kept(predictor, option_name("predictor"), overwrite=overwrite)


def _loaded(predictor: Path, reading: Reading, running: Running) -> ResponsePredictor:
    from celloquy.tasks.responses import ResponsePredictor

    refuse_idle(
        {"perturbations", "contexts", "doses", "predictor", "sample_cells", "layer", "counts", "seed", "quiet"},
        f"The predictor in {str(predictor)!r} is fitted already.",
        "leave these options out, or name a column of perturbations to fit anew.",
    )
    fitted, asked = ResponsePredictor.load(predictor), given_options()
    fitted.progress = not running.quiet
    for name, value in (*reading.arguments(without=NOT_READ).items(), ("seed", running.seed)):
        # What is left out is as the predictor was fitted.
        if name in asked:
            setattr(fitted, name, value)
    return fitted


def _sampled(
    fitted: ResponsePredictor, file: Path | None, named: list[str] | None, contexts: list[str] | None,
    amounts: list[float] | None,
) -> AnnData:  # fmt: skip
    """Cells of a file as one perturbation would leave them."""
    cells = needed(file, "file", "its cells are those that change")
    if len(named or []) != 1 or len(amounts or [1.0]) != 1 or contexts:
        raise ArgumentError(
            "Cells are drawn under one condition.",
            found=f"{len(named or [])} perturbations, {len(amounts or [])} doses, {len(contexts or [])} contexts",
            expected="one perturbation, one dose at most, and no contexts, since the cells have theirs",
            remedy="pass one name as `perturbations`, and leave `contexts` out.",
            argument="perturbations",
        )
    return fitted.sample_cells(cells, (named or [])[0], dose=amounts[0] if amounts else None)
