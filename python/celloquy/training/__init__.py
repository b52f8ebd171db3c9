"""Training: the one loop, its options, and the objective and the data of pretraining."""

from celloquy.training.options import TrainingOptions
from celloquy.training.pretraining import pretrain

__all__ = ["TrainingOptions", "pretrain"]
