"""What a cell was read with: which cells of its tissue, by type and by distance."""

from celloquy.tasks.context.verb import context

__all__ = ["context"]
