"""``celloquy network``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors
from celloquy.cli.options import Input, Reading, Running, names_in, verb
from celloquy.cli.tables import listed_in


@verb(app, without=("tissue_key", "spatial_key", "batch_key"))
def network(
    file: Input,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .graphml, .sif or .csv.", show_default=False)
    ],
    reading: Reading,
    running: Running,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Gene model for the methods that ask one: a directory, or a name."),
    ] = None,
    regulators: Annotated[
        str | None,
        typer.Option(help="Genes with commas, or a file with one a line; by default all transcription factors."),
    ] = None,
    targets: Annotated[str | None, typer.Option(help="Genes likewise; by default all.")] = None,
    by: Annotated[str | None, typer.Option(help="Column of obs: a network for each of its groups.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto, or pearson, spearman, partial, ridge, boosting, cosine, attention, deletion, prior, "
            "coexpression; several with commas are combined."
        ),
    ] = "auto",
    n_edges: Annotated[int, typer.Option(help="Edges of each group, at most; 0: all.")] = 10_000,
    max_cells: Annotated[int, typer.Option(help="Cells of each group that are read, at most.")] = 5000,
    normalised: Annotated[
        bool, typer.Option("--normalised", help="Take the values as they are, such as log-normalised ones.")
    ] = False,
    n_jobs: Annotated[int, typer.Option(help="Processes for boosting; -1: all cores.")] = 1,
) -> None:
    """Infer which genes regulate which, and write the edges, the surest first.

    Example:  celloquy network pbmc.h5ad --by cell_type -o network.graphml
    A gene's targets:  celloquy network pbmc.h5ad --regulators GATA1 --method boosting -o gata1.csv
    """
    import celloquy
    from celloquy.tasks.networks.files import check_ending

    with plain_errors():
        # Before the work, not after it.
        check_ending(out)
        edges = celloquy.infer_network(
            file,
            model=model,
            regulators=listed_in(regulators, "regulators"),
            targets=listed_in(targets, "targets"),
            by=by,
            method=names_in(method) if "," in method else method,  # type: ignore[arg-type]  # the call checks it
            n_edges=n_edges or None,
            max_cells=max_cells,
            normalised=normalised,
            n_jobs=n_jobs,
            **reading.arguments(without=("tissue_key", "spatial_key", "batch_key")),
            **running.arguments(),
        )
        celloquy.write_network(edges, out)
    typer.echo(f"network: {out}")
