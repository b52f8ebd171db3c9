"""Random genes that are expressed like others, and how far a value stands out from theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from celloquy.tasks.perturbation.changes import GeneChange

NEAR = 2
"""Random genes are drawn from so many times their number of genes that are expressed most alike."""
LEAST_MATCHED = 5
"""Random genes below which nothing stands out."""


class MatchedGenes:
    """Draws genes whose mean expression in each group is most like that of a gene.

    Parameters
    ----------
    means
        ``(k, g)``: mean counts per 10,000 of each gene in each group.
    left_out
        Places of genes that are never drawn, unless too few others are expressed.
    n
        Genes that are drawn for each gene.
    seed
        Seed of the draws.
    """

    def __init__(self, means: NDArray[np.float64], left_out: NDArray[np.int64], n: int, seed: int) -> None:
        self._level = np.log1p(means)
        self._n, self._seed = n, seed
        expressed = np.flatnonzero(means.any(0))
        others = np.setdiff1d(expressed, left_out)
        self._from = others if len(others) >= n else expressed
        self._drawn: dict[int, NDArray[np.int64]] = {}

    def of(self, place: int) -> NDArray[np.int64]:
        """Return the genes that are drawn for one, which it is not among; the same at every call."""
        if place not in self._drawn:
            near = self._nearest(place)
            # Each gene has its own draws, whatever others are asked for.
            random = np.random.default_rng([self._seed, place])
            drawn = random.choice(near, min(self._n, len(near)), replace=False)
            self._drawn[place] = np.sort(drawn).astype(np.int64)
        return self._drawn[place]

    def sets(self, places: Sequence[int]) -> list[tuple[int, ...]]:
        """Return sets of genes, each member drawn for one of several genes."""
        random = np.random.default_rng([self._seed, *places])
        near = [np.setdiff1d(self._nearest(place), places) for place in places]
        drawn = []
        for _ in range(self._n):
            one: list[int] = []
            for some in near:
                left = np.setdiff1d(some, one)
                if len(left):
                    one.append(int(random.choice(left)))
            if len(one) == len(places):
                drawn.append(tuple(one))
        return drawn

    def _nearest(self, place: int) -> NDArray[np.int64]:
        others = self._from[self._from != place]
        distance = np.square(self._level[:, others] - self._level[:, [place]]).sum(0)
        nearest: NDArray[np.int64] = others[np.argsort(distance, kind="stable")[: NEAR * self._n]]
        return nearest


def standing_out(value: float, others: NDArray[np.float64]) -> tuple[float, float]:
    """Return z and the one-sided p of a value among those of random genes.

    The z is in standard deviations of the others from their mean. The p is that of a further draw from a normal
    distribution of unknown mean and variance (Student's t with ``n - 1`` degrees of freedom, the spread widened by
    ``sqrt(1 + 1/n)``), because an empirical p of fifty genes could not fall below 1/51. Without a spread, or with fewer
    than five others, they are NaN and 1.
    """
    known = others[np.isfinite(others)]
    spread = float(known.std(ddof=1)) if len(known) >= LEAST_MATCHED else 0.0
    if not np.isfinite(value) or spread <= 1e-12 * max(1.0, float(np.abs(known).max(initial=0.0))):
        return float("nan"), 1.0
    z = (value - float(known.mean())) / spread
    return z, float(stats.t.sf(z / np.sqrt(1 + 1 / len(known)), len(known) - 1))


def false_discovery(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return q of some p (Benjamini & Hochberg 1995)."""
    return np.asarray(stats.false_discovery_control(p)) if len(p) else p


def random_changes(matched: MatchedGenes, change: GeneChange) -> list[GeneChange]:
    """Return the same change of random genes that are expressed like those that are changed."""
    if len(change.places) == 1:
        return [GeneChange((int(place),), change.how) for place in matched.of(change.places[0])]
    return [GeneChange(places, change.how) for places in matched.sets(change.places)]
