"""``celloquy annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.files import changed_file, read_whole
from celloquy.cli.options import (
    Input,
    KeyAdded,
    Modelling,
    Out,
    Overwrite,
    Reading,
    Reference,
    Running,
    Training,
    fit_or_load,
    refuse_idle,
    verb,
)


@verb(app)
def annotate(
    file: Input,
    out: Out,
    modelling: Modelling,
    reading: Reading,
    training: Training,
    running: Running,
    reference: Reference = None,
    label_key: Annotated[
        str | None, typer.Option("--label-key", "-l", help="Column of the reference's obs with the labels.")
    ] = None,
    annotator: Annotated[
        Path | None, typer.Option(help="Directory of a fitted annotator: read instead of a reference, or written.")
    ] = None,
    false_unknown_rate: Annotated[
        float, typer.Option(help="Share of held-out reference cells that may be called unknown.")
    ] = 0.02,
    drop_missing: Annotated[
        bool, typer.Option(help="Leave out reference cells whose label is missing, 'unknown' and the like.")
    ] = True,
    drop_rare: Annotated[
        int | None, typer.Option(help="Smallest number of reference cells of a label; rarer labels are left out.")
    ] = None,
    reference_layer: Annotated[str | None, typer.Option(help="Place of the reference's raw counts.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Number of the most probable labels to give, too.")] = None,
    return_evidence: Annotated[
        bool, typer.Option("--return-evidence", help="Give the nearest reference cells, too.")
    ] = False,
    overwrite: Overwrite = False,
    key_added: KeyAdded = None,
) -> None:
    """Annotate cells with the cell types of a labelled reference, or with coarse ones without a reference.

    Writes the file with obs["celloquy_label"], ["celloquy_confidence"] and obsm["celloquy_probability"],
    whose labels uns["celloquy"] names.

    Example:  celloquy annotate cells.h5ad -o annotated.h5ad
    Example:  celloquy annotate query.h5ad --reference atlas.h5ad --label-key cell_type -o annotated.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if reference is None and label_key is None and annotator is None:
            refuse_idle(
                ("counts", "layer", "species", "top_k", "key_added"),
                "There is no reference.",
                "pass --reference FILE --label-key COLUMN, or leave these options out.",
            )
            with changed_file(file, out) as (adata, write):
                asked = {name: reading.arguments()[name] for name in ("layer", "counts", "species")}
                celloquy.annotate(adata, **asked, top_k=top_k, key_added=key_added)
                write()
            typer.echo(f"annotated: {out}")
            return
        if (reference is None) != (label_key is None):
            raise ArgumentError(
                "There is nothing to learn the labels from.",
                found=f"--reference {reference or ''}, --label-key {label_key or ''}, --annotator {annotator or ''}",
                expected="a reference and its column of labels, or a fitted annotator",
                remedy="pass --reference FILE --label-key COLUMN, or --annotator DIRECTORY.",
            )

        def fit(task: celloquy.Annotator) -> None:
            cells = read_whole(reference, "reference")
            task.check_request(adata, cells, top_k=top_k, key_added=key_added)
            task.fit(cells, query=adata)

        with changed_file(file, out) as (adata, write):
            task = fit_or_load(
                lambda: celloquy.Annotator(
                    label_key=str(label_key),
                    false_unknown_rate=false_unknown_rate,
                    drop_missing=drop_missing,
                    drop_rare=drop_rare,
                    reference_layer=reference_layer,
                    **modelling.arguments(),
                    **reading.arguments(),
                    epochs=training.epochs,
                    training=training.options(celloquy.Annotator.usual_training),
                    **running.arguments(),
                ),
                fit,
                kind=celloquy.Annotator,
                saved=annotator,
                overwrite=overwrite,
                load=reference is None,
                reading=reading,
                running=running,
                used=("top_k", "return_evidence"),
                unused=("batch_key",),
            )
            with task.kept():
                task.predict(adata, top_k=top_k, return_evidence=return_evidence, key_added=key_added)
                write()
        typer.echo(f"annotated: {out}")
