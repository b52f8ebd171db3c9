"""What a classifier of genes has learned: readings of blocks, a forest beside them, and the weights of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celloquy.genes import GeneVocabulary
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.properties.blending import Blend
from celloquy.tasks.properties.choice import TOGETHER, choose
from celloquy.tasks.properties.features import Block
from celloquy.tasks.properties.forest import Forest, grow
from celloquy.tasks.properties.reading import Matrix, Reading, axes_of, beside, read

TREES: Final = "trees"
"""Name of the forest among the readings."""
FEW: Final = 16
"""Features of a block up to which the forest reads them as they are; of wider ones it reads principal components."""
COMPONENTS: Final = 15
"""Of each of these blocks. Of all side by side, 50 components served a little less."""


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings that were fitted to some genes, of blocks and of all side by side.

    Attributes
    ----------
    blocks
        The blocks, in the order in which they stand side by side.
    linear
        Reading of each block by name, and of all side by side.
    forest
        The forest; None where it has no part.
    axes
        ``(width, components)`` of each block: what the forest reads of it; none where it has no part.
    """

    blocks: tuple[Block, ...]
    linear: dict[str, Reading]
    forest: Forest | None
    axes: tuple[Matrix, ...]

    def only(self, names: Sequence[str]) -> Readings:
        """Return some of the readings; the blocks stay."""
        linear = {name: one for name, one in self.linear.items() if name in names}
        if TREES in names:
            return replace(self, linear=linear)
        return replace(self, linear=linear, forest=None, axes=())

    def scores(self, vocabulary: GeneVocabulary, classes: int) -> tuple[dict[str, Matrix], NDArray[np.int64]]:
        """Return the scores of some genes by each reading ``(rows, k)``, and how many blocks know each ``(rows,)``."""
        parts = [block.over(vocabulary) for block in self.blocks]
        together = beside(parts) if parts else sparse.csr_matrix((len(vocabulary), 0))
        features = {block.name: part for block, part in zip(self.blocks, parts, strict=True)} | {TOGETHER: together}
        found = {name: one.scores(features[name], classes) for name, one in self.linear.items()}
        if self.forest is not None:
            found[TREES] = self.forest.scores(_few(parts, self.axes), classes)
        known = np.zeros(len(vocabulary), dtype=np.int64)
        for part in parts:
            known += np.diff(part.indptr) > 0
        return found, known


@dataclass(frozen=True, eq=False)
class Trained:
    """What was learned and chosen.

    Attributes
    ----------
    readings
        The readings that have a part.
    blend
        Their weights.
    chosen
        Their names, in the order of the weights.
    way
        Name of what was chosen, a row of ``report``.
    report
        What was tried, on held-out genes.
    held_out
        ``(genes, k)``: scores of the labelled genes by readings of other folds.
    """

    readings: Readings
    blend: Blend
    chosen: tuple[str, ...]
    way: str
    report: pd.DataFrame
    held_out: Matrix

    def scores(self, vocabulary: GeneVocabulary, classes: int) -> tuple[Matrix, NDArray[np.int64]]:
        """Return log probabilities of the classes of some genes ``(rows, classes)``, or the number ``(rows, 1)``.

        And how many blocks know each gene, ``(rows,)``.
        """
        found, known = self.readings.scores(vocabulary, classes)
        listed = [found[name] for name in self.chosen] or [np.zeros((len(vocabulary), max(1, classes)))]
        return self.blend.scores(listed, classes), known


def fit_readings(
    blocks: Sequence[Block],
    vocabulary: GeneVocabulary,
    labels: NDArray[np.generic],
    classes: int,
    fold: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: bool = False,
    known: Mapping[str, tuple[Reading, Matrix]] | None = None,
) -> tuple[Readings, dict[str, Matrix]]:
    """Fit all readings; return them, and their scores of genes ``(genes, k)`` that they were not fitted to.

    Parameters
    ----------
    blocks
        Blocks of features; one that knows none of the genes is left out.
    vocabulary
        The genes with a label.
    labels
        ``(genes,)``: classes from 0, or numbers of mean 0 and variance 1.
    classes
        Number of classes; 0 for numbers.
    fold
        ``(genes,)``: fold of each gene.
    seed
        Seed of the forest.
    progress
        Show a progress bar.
    known
        Readings of single blocks that were fitted to these genes and folds before, with their scores.
    """
    whole = [block.over(vocabulary) for block in blocks]
    useful = [place for place, part in enumerate(whole) if part.nnz]
    kept, parts = tuple(blocks[place] for place in useful), [whole[place] for place in useful]
    linear: dict[str, Reading] = {}
    held: dict[str, Matrix] = {}
    axes: tuple[Matrix, ...] = ()
    forest = None
    with ProgressBar(total=len(parts) + 2 * (len(parts) > 1), desc="Reading genes", disable=not progress) as bar:
        for block, part in zip(kept, parts, strict=True):
            before = (known or {}).get(block.name)
            linear[block.name], held[block.name] = before or read(part, labels, classes, fold)
            bar.update(1)
        if len(parts) > 1:
            together = beside(parts)
            linear[TOGETHER], held[TOGETHER] = read(together, labels, classes, fold)
            bar.update(1)
            axes = tuple(axes_of(one, COMPONENTS if one.shape[1] > FEW else one.shape[1]) for one in parts)
            few = _few(parts, axes)
            forest = grow(few, labels, classes, seed)
            held[TREES] = np.zeros_like(held[TOGETHER])
            for number in np.unique(fold):
                own = fold == number
                held[TREES][own] = grow(few[~own], labels[~own], classes, seed).scores(few[own], classes)
            bar.update(1)
    return Readings(kept, linear, forest, axes), held


def train(
    blocks: Sequence[Block],
    vocabulary: GeneVocabulary,
    labels: NDArray[np.generic],
    classes: int,
    fold: NDArray[np.int64],
    *,
    seed: int = 0,
    progress: bool = False,
    known: Mapping[str, tuple[Reading, Matrix]] | None = None,
) -> Trained:
    """Fit all readings, compare them on held-out genes, and choose; parameters as of :func:`fit_readings`."""
    readings, held = fit_readings(blocks, vocabulary, labels, classes, fold, seed=seed, progress=progress, known=known)
    choice = choose(held, labels, classes, fold)
    return Trained(
        readings.only(choice.readings), choice.blend, choice.readings, choice.name, choice.report, choice.held_out
    )


def _few(parts: Sequence[sparse.csr_matrix], axes: Sequence[Matrix]) -> Matrix:
    """What the forest reads: narrow blocks as they are, and principal components of wide ones."""
    return np.hstack([np.asarray(part @ own) for part, own in zip(parts, axes, strict=True)])
