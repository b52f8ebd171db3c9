"""How good a result is: the published metrics of each task, and the protocols that make the tasks."""

from celloquy.evaluate.annotation import annotation, calibration, calibration_error, unknown_auroc
from celloquy.evaluate.denoising import DenoisingTask, denoising
from celloquy.evaluate.integration import integration
from celloquy.evaluate.spatial import ImputationTask, spatial_imputation

__all__ = [
    "DenoisingTask",
    "ImputationTask",
    "annotation",
    "calibration",
    "calibration_error",
    "denoising",
    "integration",
    "spatial_imputation",
    "unknown_auroc",
]
