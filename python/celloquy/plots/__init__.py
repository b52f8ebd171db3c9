"""Pictures of results, drawn by scanpy and matplotlib."""

from celloquy.plots.annotation import confidence, confusion
from celloquy.plots.embedding import integration, umaps
from celloquy.plots.training import loss

__all__ = ["confidence", "confusion", "integration", "loss", "umaps"]
