"""Scores by boosted trees in the manner of GRNBoost2: how much a regulator helps to predict a target."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.utils.parallel import Parallel, delayed

from celloquy.tasks.networks.moments import Array

# The settings of GRNBoost2 (Moerman et al. 2019) in arboreto.
_TREES, _RATE, _SHARE_OF_GENES, _SHARE_OF_CELLS = 5000, 0.01, 0.1, 0.9
PATIENCE = 25
"""Trees whose mean gain in cells that they were not grown on ends the boosting when it falls below 0."""


def boosted_trees(
    values: sparse.csc_matrix,
    regulators: NDArray[np.int64],
    targets: NDArray[np.int64],
    names: Sequence[str],
    *,
    seed: int,
    n_jobs: int,
) -> Iterator[tuple[int, Array]]:
    """Yield the place of each target and the importance of every regulator to it, ``(regulators,)``.

    A target is regressed on all other regulators by trees of depth 3 at a rate of 0.01; importances are the gains of
    the trees, summed over all of them, so that a target that can't be predicted has small ones.

    Parameters
    ----------
    values
        ``(cells, genes)``: expression.
    regulators, targets
        Columns of either.
    names
        Names of all genes; together with the seed the name of a target is the seed of its trees.
    seed
        The seed.
    n_jobs
        Processes that share the targets.
    """
    inputs = values[:, regulators].toarray().astype(np.float32)

    def work() -> Iterator[tuple[int, Array]]:
        grown = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(_importances)(
                inputs, values[:, [target]].toarray().ravel(), np.flatnonzero(regulators == target),
                zlib.crc32(names[target].encode()) ^ seed,
            )
            for target in targets
        )  # fmt: skip
        yield from enumerate(grown)

    return work()


def _importances(inputs: NDArray[np.float32], target: NDArray[np.float32], own: NDArray[np.int64], seed: int) -> Array:
    usable = np.setdiff1d(np.arange(inputs.shape[1]), own)
    found = np.zeros(inputs.shape[1])
    if not len(usable) or target.std() < 1e-9:
        return found
    trees = GradientBoostingRegressor(
        learning_rate=_RATE, n_estimators=_TREES, max_features=_SHARE_OF_GENES, subsample=_SHARE_OF_CELLS,
        random_state=seed % 2**31,
    )  # fmt: skip
    trees.fit(inputs[:, usable], target, monitor=_no_gain)
    found[usable] = trees.feature_importances_ * len(trees.estimators_)
    return found


def _no_gain(number: int, trees: GradientBoostingRegressor, _: object) -> bool:
    """Whether the last trees gained nothing in the cells that each was not grown on."""
    last = trees.oob_improvement_[max(0, number - PATIENCE + 1) : number + 1]
    return number >= PATIENCE - 1 and bool(np.mean(last) < 0)
