"""Measure results: the published scores of each task, and the protocols that hold out data to predict."""

from celloquy.evaluate.annotation import calibration, calibration_error, score_annotation, unknown_auroc
from celloquy.evaluate.denoising import HeldOutCounts, hold_out_counts
from celloquy.evaluate.integration import score_integration
from celloquy.evaluate.responses import score_responses
from celloquy.evaluate.spatial import HeldOutGenes, hold_out_genes

__all__ = [
    "HeldOutCounts",
    "HeldOutGenes",
    "calibration",
    "calibration_error",
    "hold_out_counts",
    "hold_out_genes",
    "score_annotation",
    "score_integration",
    "score_responses",
    "unknown_auroc",
]
