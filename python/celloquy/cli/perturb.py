"""``celloquy perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from celloquy.cli.app import app, option_name, plain_errors
from celloquy.cli.options import Input, Reading, Running, names_in, refuse_idle, verb
from celloquy.cli.tables import needed, show_table

if TYPE_CHECKING:
    from celloquy.tasks.perturbation.changes import How


@verb(app, without=("tissue_key", "spatial_key", "batch_key"))
def perturb(
    file: Input,
    reading: Reading,
    running: Running,
    genes: Annotated[str | None, typer.Option("--genes", help="Genes to change, with commas.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model that reads changed counts: a directory, org/name on the hub, genes-mini (usual "
            "for --genes) or cells-mini (usual for drivers).",
        ),
    ] = None,
    how: Annotated[
        str | None,
        typer.Option(help="delete, overexpress, or a factor of the counts. By default delete; of drivers both."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column of obs with groups, or with the states.")] = None,
    together: Annotated[bool, typer.Option("--together", help="Change all genes at once.")] = False,
    of: Annotated[str, typer.Option(help="cells, or genes: what moves.")] = "cells",
    source: Annotated[str | None, typer.Option(help="State to leave: ranks the genes that lead to --target.")] = None,
    target: Annotated[str | None, typer.Option(help="State to reach.")] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Genes to rank, with commas; by default all that are expressed.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Rank pairs of the best, too.")] = False,
    n_cells: Annotated[int | None, typer.Option(help="Cells of a group that are read, at most.")] = None,
    n_random: Annotated[int, typer.Option(help="Random genes to which each is compared.")] = 50,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write, CSV.")] = None,
) -> None:
    """Change genes of cells in silico, or rank the genes that lead from one state of cells to another.

    Example:  celloquy perturb cells.h5ad --genes GATA1,KLF1 --by cell_type -o shifts.csv
    Drivers:  celloquy perturb cells.h5ad --source HSC --target erythroid --by cell_type -o drivers.csv
    """
    import celloquy

    with plain_errors():
        drivers = source is not None or target is not None
        own = {"source", "target", "candidates", "pairs"} if drivers else {"genes", "together", "of"}
        shared = {"model", "how", "by", "n_cells", "n_random", "layer", "counts", "species", "precision", "device"}
        refuse_idle(
            shared | own | {"seed", "quiet"},
            "Drivers and changed genes have options of their own.",
            f"leave these options out; {option_name('source')} and {option_name('target')} rank drivers.",
        )
        asked: dict[str, Any] = {
            **reading.arguments(without=("tissue_key", "spatial_key", "batch_key")), **running.arguments(),
            "n_random": n_random,
        }  # fmt: skip
        asked |= {name: one for name, one in (("model", model), ("n_cells", n_cells)) if one is not None}
        if how is not None:
            asked["how"] = _how(how)
        if drivers:
            why = "drivers lead from one state to another"
            table = celloquy.rank_drivers(
                file, source=needed(source, "source", why), target=needed(target, "target", why),
                by=needed(by, "by", why), candidates=names_in(candidates), pairs=pairs, **asked,
            )  # fmt: skip
        else:
            named = cast("list[str]", needed(names_in(genes), "genes", "these are changed"))
            moved = cast('Literal["cells", "genes"]', of)
            table = celloquy.perturb(file, named, by=by, together=together, of=moved, **asked)
        show_table(table, out)


def _how(text: str) -> How:
    """A factor where it is one, else the text, which the function checks."""
    try:
        return float(text)
    except ValueError:
        return cast("How", text)
