"""``celloquy genes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from celloquy.cli.app import app, option_name, plain_errors
from celloquy.cli.options import Reading, Running, names_in, refuse_idle, verb
from celloquy.cli.tables import needed, show_table, write_table
from celloquy.errors import ArgumentError

SHOWN = 20
"""Genes that are shown as the most similar."""


@verb(app, without=("tissue_key", "spatial_key", "batch_key", "species", "seed"))
def genes(
    reading: Reading,
    running: Running,
    file: Annotated[
        Path | None, typer.Argument(help="h5ad, h5mu, zarr or Cell Ranger matrix.", show_default=False)
    ] = None,
    species: Annotated[
        str | None,
        typer.Option(
            help="human or mouse, of the names; by default told from them. For cells auto: map genes of the other "
            "species through orthologs."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Gene model that describes genes: a directory, or org/name on the hub."),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Write the vectors of genes: of the model, or of FILE's cells.")
    ] = False,
    similar: Annotated[str | None, typer.Option(help="Show the genes whose vectors are most like that of one.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Show how much --genes read of one another in FILE's cells.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Column of obs: vectors or attention in each of its groups.")] = None,
    genes: Annotated[
        str | None, typer.Option("--genes", help="Genes to describe, with commas; by default all.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Number of similar genes.")] = SHOWN,
    encoder_layer: Annotated[
        int | None, typer.Option(help="Layer of the attention, counted from 1; by default the last.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write: h5ad or zarr for --embed, else CSV."),
    ] = None,
) -> None:
    """Show what each gene name of a file is taken for, or what a gene model knows of genes.

    Without a model: species, matches and by which rule, what is unknown or ambiguous. With --embed, --similar or
    --attention: vectors of genes, the nearest genes, how much genes read of one another.

    Example:  celloquy genes pbmc.h5ad -o genes.csv
    Vectors of genes in cells:  celloquy genes pbmc.h5ad --embed --model model/ --by cell_type -o vectors.h5ad
    Similar genes:  celloquy genes --similar GATA4 --model model/
    """
    import celloquy

    with plain_errors():
        asked = [name for name, one in (("embed", embed), ("similar", similar), ("attention", attention)) if one]
        if len(asked) > 1:
            raise ArgumentError(
                "One thing can be done at a time.",
                found=" and ".join(map(option_name, asked)),
                expected=", ".join(map(option_name, ("embed", "similar", "attention"))) + ", or none of them",
                remedy="leave all but one out.",
                argument=asked[0],
            )
        if not asked:
            refuse_idle({"species"}, "Names of genes are looked up without a model.", "leave these options out.")
            _show_names(needed(file, "file", "names are those of a file"), species, out)
            return
        (what,) = asked
        own: set[str] = {"embed": set(), "similar": {"n"}, "attention": {"encoder_layer"}}[what]
        shared = {"model", what, "by", "genes", "species", "layer", "counts", "precision", "device", "quiet"}
        refuse_idle(shared | own, f"{option_name(what)} has no use for these options.", "leave them out.")
        model = str(needed(model, "model", f"{option_name(what)} asks a gene model"))
        arguments: dict[str, Any] = {
            **reading.arguments(without=("tissue_key", "spatial_key", "batch_key", "species")),
            **running.arguments(without=("seed",)),
            "species": species, "by": by,
        }  # fmt: skip
        if attention:
            cells = needed(file, "file", "attention is that in cells")
            named = needed(names_in(genes), "genes", "attention is between named genes")
            table = celloquy.gene_attention(model, cells, named, encoder_layer=encoder_layer, **arguments)
            show_table(table, out)
            return
        if similar is not None:
            vectors = celloquy.gene_embeddings(model, file, genes=names_in(genes), **arguments)
            show_table(celloquy.similar_genes(similar, vectors, n=n).rename_axis("name").reset_index(), out)
            return
        from celloquy.data.store import write_whole
        from celloquy.runtime.resume import resumable_output

        with resumable_output(needed(out, "out", "vectors are written to a file")) as output:
            write_whole(celloquy.gene_embeddings(model, file, genes=names_in(genes), **arguments), output.result)
        typer.echo(f"vectors: {out}")


def _show_names(file: Path, species: str | None, out: Path | None) -> None:
    """Show what each name of a file is taken for."""
    import celloquy
    from celloquy.data.features import genes_among
    from celloquy.data.store import open_store
    from celloquy.errors import some

    with open_store(file) as adata:
        genes = genes_among(adata.var, f"the features of {file}")
        names = adata.var_names[genes]
        others = adata.var_names[~genes]
    identified = celloquy.identify_genes(names, species=species)  # type: ignore[arg-type]  # the call checks it
    typer.echo(str(identified))
    if len(others):
        typer.echo(f"  {len(others):>7,} features that are no genes, left out: {some(others)}")
    if out is not None:
        write_table(identified.frame, out)
