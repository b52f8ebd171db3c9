"""``celloquy annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import (
    Device,
    Epochs,
    Input,
    Layer,
    Out,
    Precision,
    Pretrained,
    Quiet,
    Seed,
    Species,
    app,
    fitting_of,
    plain_errors,
)
from celloquy.cli.files import changed_file, whole


@app.command()
def annotate(
    file: Input,
    out: Out,
    reference: Annotated[
        Path | None, typer.Option("--reference", "-r", help="File of labelled cells.", show_default=False)
    ] = None,
    label_key: Annotated[
        str | None, typer.Option("--label-key", "-l", help="Column of the reference's obs with the labels.")
    ] = None,
    annotator: Annotated[
        Path | None, typer.Option(help="Directory of a fitted annotator: read instead of a reference, or written.")
    ] = None,
    model: Pretrained = None,
    unknown: Annotated[
        float, typer.Option(help="Share of held-out reference cells that may be called unknown.")
    ] = 0.02,
    top_k: Annotated[int | None, typer.Option(help="Give the most probable labels, so many, too.")] = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="Give the nearest reference cells, too.")] = False,
    layer: Layer = None,
    species: Species = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Annotate cells with the cell types of a labelled reference.

    Writes the file with obs["celloquy_label"], ["celloquy_confidence"] and obsm["celloquy_probability"].

    Example:  celloquy annotate query.h5ad --reference atlas.h5ad --label-key cell_type -o annotated.h5ad
    """
    import celloquy
    from celloquy.errors import ArgumentError

    with plain_errors():
        if (reference is None) != (label_key is None) or (reference is None and annotator is None):
            raise ArgumentError(
                "There is nothing to learn the labels from.",
                found=f"--reference {reference or ''}, --label-key {label_key or ''}, --annotator {annotator or ''}",
                expected="a reference and its column of labels, or a fitted annotator",
                remedy="pass --reference FILE --label-key COLUMN, or --annotator DIRECTORY.",
            )
        with changed_file(file, out) as adata:
            if reference is None or label_key is None:
                assert annotator is not None
                fitted = celloquy.Annotator.load(annotator)
            else:
                fitting = fitting_of(
                    celloquy.Annotator, epochs=epochs, seed=seed, precision=precision, device=device, quiet=quiet
                )
                fitted = celloquy.Annotator(
                    label_key=label_key,
                    model=model,
                    unknown=unknown,
                    layer=layer,
                    species=species,  # type: ignore[arg-type]  # the call checks it
                    fitting=fitting,
                )
                fitted.fit(whole(reference), query=adata)
                if annotator is not None:
                    fitted.save(annotator)
            fitted.predict(adata, top_k=top_k, return_evidence=evidence)
        typer.echo(f"annotated: {out}")
