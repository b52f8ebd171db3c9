"""The models: one folder a family, of which all else sees :class:`Model` alone."""

from celloquy.models.base import Model, register_family
from celloquy.models.cellplm import CellModel, CellModelConfig, read_cellplm
from celloquy.models.config import ModelConfig

__all__ = ["CellModel", "CellModelConfig", "Model", "ModelConfig", "read_cellplm", "register_family"]
