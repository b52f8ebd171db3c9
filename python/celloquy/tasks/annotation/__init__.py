"""Annotation: the cell types of a labelled reference, or coarse ones that come with the package, given to cells."""

from celloquy.tasks.annotation.annotator import Annotator
from celloquy.tasks.annotation.known import known_types
from celloquy.tasks.annotation.verb import annotate

__all__ = ["Annotator", "annotate", "known_types"]
