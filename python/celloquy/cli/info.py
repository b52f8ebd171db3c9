"""``celloquy info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celloquy.cli.app import app, plain_errors


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
            # The file keeps no order.
            **dict(sorted(loaded.provenance.items())),
        }
        width = max(map(len, lines))
        for key, value in lines.items():
            typer.echo(f"{key:<{width}} {value}")
