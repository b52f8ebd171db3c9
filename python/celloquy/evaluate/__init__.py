"""The published metrics of each task."""

from celloquy.evaluate.annotation import annotation, calibration, calibration_error, unknown_auroc
from celloquy.evaluate.integration import integration

__all__ = ["annotation", "calibration", "calibration_error", "integration", "unknown_auroc"]
