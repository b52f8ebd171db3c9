"""Training: the one loop, the pretraining objective, and what is read for it."""

from celloquy.training.pretraining import pretrain

__all__ = ["pretrain"]
