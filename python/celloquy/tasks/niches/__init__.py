"""Niches: what surrounds a cell in its tissue, as an embedding and as clusters."""

from celloquy.tasks.niches.verb import niches

__all__ = ["niches"]
