"""Imputation: the genes that a spatial panel lacks, from dissociated cells of the same tissue."""

from celloquy.tasks.imputation.imputer import Imputer
from celloquy.tasks.imputation.verb import impute

__all__ = ["Imputer", "impute"]
