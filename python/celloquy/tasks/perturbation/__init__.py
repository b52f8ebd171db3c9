"""Perturb cells in silico: how far changed genes move them, and which genes lead from one state to another."""

from celloquy.tasks.perturbation.drivers import rank_drivers
from celloquy.tasks.perturbation.verb import perturb

__all__ = ["perturb", "rank_drivers"]
