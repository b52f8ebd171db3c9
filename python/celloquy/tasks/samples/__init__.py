"""Samples: what the cells of a patient, or of any sample, say of it."""

from celloquy.tasks.samples.predictor import SamplePredictor
from celloquy.tasks.samples.verb import predict_samples

__all__ = ["SamplePredictor", "predict_samples"]
