"""Training: the one loop, its options, the objectives of pretraining, and what is read for it."""

from celloquy.training.options import TrainingOptions
from celloquy.training.pretraining import pretrain

__all__ = ["TrainingOptions", "pretrain"]
