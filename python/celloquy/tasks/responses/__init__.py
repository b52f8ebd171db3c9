"""Responses: what perturbations, drugs and doses do to expression, learned from some and told of others."""

from celloquy.tasks.responses.predictor import ResponsePredictor
from celloquy.tasks.responses.verb import predict_response

__all__ = ["ResponsePredictor", "predict_response"]
