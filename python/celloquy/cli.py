"""The ``celloquy`` command: the verbs of the package on files, with the same names and defaults."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from celloquy import __version__
from celloquy.errors import CelloquyError

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


@app.command()
def embed(
    file: Input,
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .h5ad or .zarr.", show_default=False)],
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Cells computed at a time; the result does not depend on it."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(help="Memory to use, e.g. '4 GB'. By default half of what is free."),
    ] = None,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Embed the cells of a file of any size.

    Writes obs and obsm["X_celloquy"], without the counts; with the file itself as --out the embedding is added to it.
    Every cell is read together with all cells of its tissue. After an interruption the same command goes on.

    Example:  celloquy embed pbmc.h5ad --model model/ --tissue-key donor -o embedded.h5ad
    """
    import celloquy

    with plain_errors():
        celloquy.embed(
            file,
            model=model,
            out=out,
            layer=layer,
            tissue_key=tissue_key,
            spatial_key=spatial_key,
            batch_size=batch_size,
            max_memory=max_memory,
            precision=precision,  # type: ignore[arg-type]  # checked there
            device=device,
            progress=not quiet,
        )
        typer.echo(f"embedded: {out}")


@app.command()
def pretrain(
    files: Annotated[
        list[Path], typer.Argument(help="h5ad files or zarr directories with raw counts.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write the model to.", show_default=False)],
    config: Annotated[str, typer.Option(help="mini, small or base.")] = "mini",
    layer: Layer = None,
    tissue_key: TissueKey = None,
    spatial_key: SpatialKey = None,
    batch_key: Annotated[
        str | None,
        typer.Option(help="Column of obs with the experimental batch, which the decoder is told."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the cells; by default by their number."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model on one machine.")] = 0,
    precision: Precision = "auto",
    device: Device = "auto",
    quiet: Quiet = False,
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
            layer=layer,
            tissue_key=tissue_key,
            spatial_key=spatial_key,
            batch_key=batch_key,
            epochs=epochs,
            seed=seed,
            precision=precision,  # type: ignore[arg-type]  # checked there
            device=device,
            progress=not quiet,
        )
        typer.echo(f"model: {out}")


@app.command()
def genes(
    file: Input,
    species: Annotated[
        str | None,
        typer.Option(help="human or mouse; by default told from the names."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file with what became of every name."),
    ] = None,
) -> None:
    """Show what each gene name of a file is taken for.

    Species, matches and by which rule, what is unknown or ambiguous.

    Example:  celloquy genes pbmc.h5ad -o genes.csv
    """
    import celloquy
    from celloquy.data.store import open_store

    with plain_errors():
        with open_store(file) as adata:
            names = adata.var_names
        identified = celloquy.identify_genes(names, species=species)  # type: ignore[arg-type]  # checked there
        typer.echo(str(identified))
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            identified.frame.to_csv(out, index=False)


@app.command()
def info(model: Annotated[Path, typer.Argument(help="Directory of a saved model.", show_default=False)]) -> None:
    """Show what a saved model is and how it was made.

    Example:  celloquy info model/
    """
    import celloquy

    with plain_errors():
        loaded = celloquy.CellModel.from_pretrained(model)
        config = loaded.config
        lines = {
            "genes": f"{len(loaded.vocabulary):,}",
            "species": ", ".join(sorted({s for s in loaded.vocabulary.species if s})) or "unknown",
            "parameters": f"{sum(p.numel() for p in loaded.parameters()):,}",
            "embedding": f"{config.latent_width} wide, {config.latent} latent",
            "encoder": f"{config.layers} layers, {config.width} wide, {config.attention} attention",
            "positions": "used" if config.positions else "not used",
            "fingerprint": loaded.fingerprint,
            **loaded.provenance,
        }
        for key, value in lines.items():
            typer.echo(f"{key:<12} {value}")


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


if __name__ == "__main__":
    sys.exit(app())
