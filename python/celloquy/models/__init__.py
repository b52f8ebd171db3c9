"""The models: one folder a family, of which all else sees :class:`Model` alone."""

from celloquy.models.base import Model, register_family
from celloquy.models.cellplm import CellModel, CellModelConfig, read_cellplm
from celloquy.models.config import ModelConfig
from celloquy.models.factors import FactorModel, FactorModelConfig
from celloquy.models.genecompass import GeneModel, GeneModelConfig, read_genecompass

__all__ = [
    "CellModel",
    "CellModelConfig",
    "FactorModel",
    "FactorModelConfig",
    "GeneModel",
    "GeneModelConfig",
    "Model",
    "ModelConfig",
    "read_cellplm",
    "read_genecompass",
    "register_family",
]
