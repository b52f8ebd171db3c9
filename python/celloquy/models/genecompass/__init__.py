"""GeneCompass: genes are tokens, a cell is a sentence."""

from celloquy.models.genecompass.config import GeneModelConfig
from celloquy.models.genecompass.model import GeneModel
from celloquy.models.genecompass.released import read_genecompass

__all__ = ["GeneModel", "GeneModelConfig", "read_genecompass"]
