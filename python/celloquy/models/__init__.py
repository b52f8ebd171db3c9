"""The cell model, its configuration and its saved form."""

from celloquy.models.cell_model import CellModel
from celloquy.models.config import CellModelConfig

__all__ = ["CellModel", "CellModelConfig"]
