"""Gaussian factors learned from many studies: exact inference under missing genes, refined by the user's cells."""

from celloquy.models.factors.config import FactorModelConfig
from celloquy.models.factors.model import FactorModel

__all__ = ["FactorModel", "FactorModelConfig"]
