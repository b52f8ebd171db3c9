"""Folds of genes: whole families, so that no paralogue of a held-out gene is learned from, or genes at random."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from celloquy.genes import GeneVocabulary, gene_families

Folds = Literal["family", "random"]
FOLDS: Final = ("family", "random")
MOST_FOLDS: Final = 5


def held_out(
    vocabulary: GeneVocabulary, labels: NDArray[np.generic], kind: Folds, seed: int, folds: int = MOST_FOLDS
) -> NDArray[np.int64]:
    """Return the fold of each gene, ``(genes,)``, each with about the same share of every label.

    Parameters
    ----------
    vocabulary
        The genes.
    labels
        ``(genes,)``: their classes, whole numbers, or numbers, of which fifths are then spread alike.
    kind
        ``"family"`` keeps :func:`celloquy.genes.gene_families` together, ``"random"`` does not.
    seed
        Seed of the draw.
    folds
        Number of folds; fewer where a class has fewer genes, or there are fewer families.
    """
    strata = labels if labels.dtype.kind == "i" else _fifths(labels.astype(np.float64))
    families = gene_families(vocabulary) if kind == "family" else np.arange(len(vocabulary))
    folds = max(2, min(folds, int(np.unique(strata, return_counts=True)[1].min()), len(np.unique(families))))
    if kind == "family" and len(np.unique(families)) > 1:
        return grouped_folds(families, strata, folds, seed)
    fold = np.zeros(len(strata), dtype=np.int64)
    drawn = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held) in enumerate(drawn.split(np.zeros((len(strata), 1)), strata)):
        fold[held] = number
    return fold


def grouped_folds(groups: NDArray[np.int64], strata: NDArray[np.generic], folds: int, seed: int) -> NDArray[np.int64]:
    """Return folds that keep groups together, each with about the same share of every stratum.

    Parameters
    ----------
    groups, strata
        ``(n,)``: group and stratum of each gene, or sample.
    folds
        Number of folds.
    seed
        Seed of the draw.
    """
    _, codes = np.unique(groups, return_inverse=True)
    # scikit-learn below 1.7 loses the strata where it shuffles groups, so they are shuffled here, in the same way.
    place = np.random.RandomState(seed).permutation(codes.max() + 1)
    codes = np.argsort(place)[codes]
    fold = np.zeros(len(codes), dtype=np.int64)
    for number, (_, held) in enumerate(StratifiedGroupKFold(folds).split(np.zeros((len(codes), 1)), strata, codes)):
        fold[held] = number
    return fold


def _fifths(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """The fifth of each number; equal numbers are in the same."""
    bounds = np.unique(np.quantile(numbers, [0.2, 0.4, 0.6, 0.8]))
    fifth = np.searchsorted(bounds, numbers)
    # A fifth of one gene alone can't be spread.
    sizes = np.bincount(fifth)
    return fifth if sizes[sizes > 0].min() >= 2 else np.zeros(len(numbers), dtype=np.int64)
