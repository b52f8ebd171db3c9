"""Denoising: the expression that a cell's counts are a noisy draw of."""

from celloquy.tasks.denoising.denoiser import Denoiser, denoise

__all__ = ["Denoiser", "denoise"]
