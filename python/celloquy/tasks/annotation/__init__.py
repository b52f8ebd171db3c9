"""Annotation: the cell types of a labelled reference, given to other cells."""

from celloquy.tasks.annotation.annotator import Annotator, annotate

__all__ = ["Annotator", "annotate"]
