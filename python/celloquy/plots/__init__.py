"""Plots of results, drawn by scanpy and matplotlib."""

from celloquy.plots.annotation import confidence, confusion
from celloquy.plots.context import context
from celloquy.plots.embedding import integration, umaps
from celloquy.plots.explanation import explained
from celloquy.plots.expression import denoised, imputed
from celloquy.plots.genes import gene_attention
from celloquy.plots.networks import regulator_targets
from celloquy.plots.niches import niches
from celloquy.plots.perturbation import drivers, perturbed
from celloquy.plots.properties import gene_properties
from celloquy.plots.responses import dose_curve, response_changes, response_reliability, response_volcano
from celloquy.plots.samples import samples
from celloquy.plots.training import loss

__all__ = [
    "confidence",
    "confusion",
    "context",
    "denoised",
    "dose_curve",
    "drivers",
    "explained",
    "gene_attention",
    "gene_properties",
    "imputed",
    "integration",
    "loss",
    "niches",
    "perturbed",
    "regulator_targets",
    "response_changes",
    "response_reliability",
    "response_volcano",
    "samples",
    "umaps",
]
