"""CellPLM: cells are tokens, a tissue is a sentence."""

from celloquy.models.cellplm.config import CellModelConfig
from celloquy.models.cellplm.model import CellModel
from celloquy.models.cellplm.released import read_cellplm

__all__ = ["CellModel", "CellModelConfig", "read_cellplm"]
