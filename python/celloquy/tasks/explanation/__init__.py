"""Genes behind labels: how much each gene adds to what tells a label from the others."""

from celloquy.tasks.explanation.verb import explain

__all__ = ["explain"]
