"""What is learned from samples: readings of several kinds, compared and blended on samples that are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax

from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.properties.folds import grouped_folds
from celloquy.tasks.properties.reading import STRENGTHS, loss_of_genes, regression
from celloquy.tasks.samples.attention import Attention
from celloquy.tasks.samples.cells import SampleCells
from celloquy.tasks.samples.features import KINDS, Features
from celloquy.tasks.samples.weighing import weigh

Matrix = NDArray[np.float64]
MOST_FOLDS: Final = 10
"""Folds, at most. There are as many as the smallest class has groups of samples, so that each fold has the classes as
they are: of one sample left out by itself the others know too little, as its class is then the rarer one."""


@dataclass(frozen=True, eq=False)
class LinearReading:
    """A linear reading of features.

    Attributes
    ----------
    features
        The features.
    weights, offset
        ``(width, k)`` and ``(k,)``.
    """

    features: Features
    weights: Matrix
    offset: Matrix

    def scores(self, cells: SampleCells) -> Matrix:
        """Return the scores of samples, ``(samples, k)``."""
        return np.asarray(self.features.of_samples(cells) @ self.weights + self.offset)

    def evidence(self, cells: SampleCells) -> Matrix:
        """Return what each cell adds to the score of its sample, less that of the usual one, ``(cells, k)``."""
        size = cells.sizes.clip(1)[cells.sample]
        return np.asarray(self.features.of_cells(cells, self.weights) * ((cells.sample >= 0) / size)[:, None])


Reading = LinearReading | Attention


@dataclass(frozen=True, eq=False)
class Trained:
    """What was learned.

    Attributes
    ----------
    readings
        The readings that have a part, by name.
    blend
        Their weights.
    report
        What was tried, on samples that were held out.
    held_out
        ``(samples, k)``: scores of the samples by readings that were fitted without them.
    """

    readings: dict[str, Reading]
    blend: Blend
    report: pd.DataFrame
    held_out: Matrix

    def scores(self, cells: SampleCells, classes: int) -> Matrix:
        """Return log probabilities of the classes ``(samples, classes)``, or the number ``(samples, 1)``."""
        found = [_told(one.scores(cells), classes) for one in self.readings.values()]
        return self.blend.scores(found, classes)

    def evidence(self, cells: SampleCells, classes: int) -> Matrix:
        """Return what each cell adds to the score of its sample, ``(cells, k)``, against the mean of all classes."""
        total = np.zeros((len(cells.sample), max(1, classes)))
        for weight, one in zip(self.blend.weights, self.readings.values(), strict=True):
            total += weight * one.evidence(cells)
        return total - total.mean(1, keepdims=True) if classes else total


def folds_of(groups: NDArray[np.int64], labels: NDArray[np.generic], seed: int) -> NDArray[np.int64]:
    """Return the fold of each sample, each with about the same share of every class, or of high and low numbers.

    Parameters
    ----------
    groups
        ``(samples,)``: samples of one group are in one fold.
    labels
        ``(samples,)``: classes from 0, or numbers.
    seed
        Seed of the draw.
    """
    strata = labels
    if labels.dtype.kind == "f":
        numbers = labels.astype(np.float64)
        strata = (numbers > np.median(numbers)).astype(np.int64)
    sizes = [len(np.unique(groups[strata == one])) for one in np.unique(strata)]
    if labels.dtype.kind == "f" and min(sizes) < 2:  # nearly all have one number
        strata, sizes = np.zeros_like(strata), [len(np.unique(groups))]
    return grouped_folds(groups, strata, max(2, min(MOST_FOLDS, *sizes)), seed)


def train(
    cells: SampleCells, labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64], *, seed: int = 0,
    progress: bool = False,
) -> Trained:  # fmt: skip
    """Try all readings on held-out samples, weigh them, and fit them; parameters as of :func:`try_readings`."""
    held, strengths = try_readings(cells, labels, classes, fold, seed=seed, progress=progress)
    names, blend, report, together = weigh(held, labels, classes, fold)
    readings = fit_readings({name: strengths[name] for name in names}, cells, labels, classes, seed=seed)
    return Trained(readings, blend, report, together)


def try_readings(
    cells: SampleCells, labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64], *, seed: int = 0,
    progress: bool = False,
) -> tuple[dict[str, Matrix], dict[str, float]]:  # fmt: skip
    """Return what each reading says of held-out samples, ``(samples, k)``, and the strength of its ridge.

    Whatever is learned, down to centres, states and genes, is learned anew for each fold, without its samples.

    Parameters
    ----------
    cells
        The cells of all samples, all of which have a label.
    labels
        ``(samples,)``: classes from 0, or numbers of mean 0 and variance 1.
    classes
        Number of classes; 0 for numbers.
    fold
        ``(samples,)``.
    seed
        Seed of clusters and of the attention's first weights.
    progress
        Show a progress bar.
    """
    everyone, shape = np.arange(len(cells.names)), (len(labels), max(1, classes))
    tried = {kind.name: {strength: np.zeros(shape) for strength in STRENGTHS} for kind in KINDS}
    attended = np.zeros(shape)
    for number in ProgressBar(np.unique(fold), desc="Reading samples", disable=not progress):
        own, rows = fold == number, everyone[fold != number]
        for kind in KINDS:
            values = kind.learned(cells, rows, seed).of_samples(cells)
            for strength, held in tried[kind.name].items():
                weights, offset = regression(values[rows], labels[rows], classes, strength)
                held[own] = _told(values[own] @ weights + offset, classes)
        attended[own] = _told(Attention.learned(cells, rows, labels[rows], classes, seed).scores(cells)[own], classes)
    # Of equals the strongest ridge.
    best = {
        name: min(held, key=lambda one, held=held: float(loss_of_genes(held[one], labels, classes).mean()))  # type: ignore[misc]
        for name, held in tried.items()
    }
    found = {name: tried[name][strength] for name, strength in best.items()}
    return found | {Attention.name: attended}, best | {Attention.name: 0.0}


def fit_readings(
    strengths: Mapping[str, float], cells: SampleCells, labels: NDArray[np.generic], classes: int, *, seed: int = 0
) -> dict[str, Reading]:
    """Fit some readings to all samples.

    Parameters
    ----------
    strengths
        The strength of the ridge of each, by name; the attention has none.
    cells, labels, classes, seed
        As of :func:`try_readings`.
    """
    everyone, readings = np.arange(len(cells.names)), dict[str, Reading]()
    kinds = {kind.name: kind for kind in KINDS}
    for name, strength in strengths.items():
        if name == Attention.name:
            readings[name] = Attention.learned(cells, everyone, labels, classes, seed)
        else:
            features = kinds[name].learned(cells, everyone, seed)
            weights, offset = regression(features.of_samples(cells), labels, classes, strength)
            readings[name] = LinearReading(features, weights, offset)
    return readings


def _told(scores: Matrix, classes: int) -> Matrix:
    return np.asarray(log_softmax(scores, axis=1)) if classes else scores
