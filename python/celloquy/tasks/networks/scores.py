"""The scores by which edges are ranked: each a method of its own, and their combination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from celloquy.checks import check_choice, check_names, check_number, refuse
from celloquy.models import Model
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.networks.boosting import boosted_trees
from celloquy.tasks.networks.cells import Expression
from celloquy.tasks.networks.contextual import ModelReader
from celloquy.tasks.networks.knowledge import coexpression_elsewhere, shared_features
from celloquy.tasks.networks.linear import partial_correlation, ridge
from celloquy.tasks.networks.moments import Array, moments

OF_EXPRESSION: Final = ("pearson", "spearman", "partial", "ridge", "boosting")
"""Methods that read the expression of these cells alone."""

OF_MODEL: Final = ("cosine", "attention", "deletion")
"""Methods that ask a gene model."""

OF_KNOWLEDGE: Final = ("prior", "coexpression")
"""Methods that know genes from elsewhere, and read no cell."""

METHODS: Final = (*OF_EXPRESSION, *OF_MODEL, *OF_KNOWLEDGE)
"""All methods."""

AUTO: Final = {"pearson": 1.0, "coexpression": 1.0, "prior": 2.0}
"""Weights of ``"auto"``: what genes share weighs as much as how they vary together, here and elsewhere. With a model
its ``"cosine"`` is there, too, with weight 1."""

SIGNED: Final = frozenset({"pearson", "spearman", "partial", "ridge"})
"""Methods whose scores have a sign of their own; other edges have that of the correlation."""


def weights_of(method: str | Iterable[str] | Mapping[str, float], *, model: bool) -> dict[str, float]:
    """Return the methods that are asked for, and their weights.

    Raises
    ------
    ArgumentError
        If there is none, one is not known, or a weight is no number above 0.
    """
    if isinstance(method, str) and method == "auto":
        return {**AUTO, **({"cosine": 1.0} if model else {})}
    if isinstance(method, Mapping):
        names, weights = list(method), list(method.values())
    else:
        names = check_names("method", method, "the name of a method, or several")
        weights = [1.0] * len(names)
    if not names:
        refuse("method", method, "the name of at least one method")
    for name, weight in zip(names, weights, strict=True):
        check_choice("method", name, ("auto", *METHODS) if len(names) == 1 else METHODS)
        check_number("method", weight, exclude_least=True, remedy="give weights above 0, or leave the method out.")
    return dict(zip(names, map(float, weights), strict=True))


@dataclass(frozen=True, eq=False)
class Scorer:
    """The expression of the groups, and what else edges are scored by."""

    expression: Expression
    regulators: NDArray[np.int64]
    targets: NDArray[np.int64]
    reader: ModelReader | None
    correlator: Model | None
    seed: int
    n_jobs: int
    progress: bool
    _once: dict[str, list[Array]] = field(default_factory=dict)

    def score(self, method: str, group: int) -> Array:
        """Return the scores of a method in a group, ``(regulators, targets)``; nan where it knows nothing."""
        values = self.expression.groups[group].values
        if method in ("pearson", "spearman"):
            return moments(values, self.regulators, self.targets, ranks=method == "spearman").across
        if method in ("partial", "ridge"):
            linear: Callable[..., Array] = partial_correlation if method == "partial" else ridge
            return linear(moments(values, self.regulators, self.targets))
        if method == "boosting":
            return self._boosting(group)
        if method not in self._once:
            self._once[method] = self._of_all_groups(method)
        return self._once[method][group if method in OF_MODEL else 0]

    def _boosting(self, group: int) -> Array:
        found = np.zeros((len(self.regulators), len(self.targets)))
        cells = self.expression.groups[group]
        grown = boosted_trees(
            cells.values, self.regulators, self.targets, self.expression.names, seed=self.seed, n_jobs=self.n_jobs
        )
        what = f"Boosting {cells.name}".strip()
        with ProgressBar(total=len(self.targets), desc=what, unit=" genes", disable=not self.progress) as bar:
            for target, importances in grown:
                found[:, target] = importances
                bar.update()
        return found

    def _of_all_groups(self, method: str) -> list[Array]:
        if method in OF_MODEL:
            assert self.reader is not None, "a method of a model has one"
            found: list[Array] = getattr(self.reader, method)()
            return found
        first, second = ([self.expression.ids[place] for place in some] for some in (self.regulators, self.targets))
        return [
            shared_features(first, second)
            if method == "prior"
            else coexpression_elsewhere(first, second, self.correlator)
        ]


def percentiles(scores: Array, usable: NDArray[np.bool_]) -> Array:
    """Return the share of the usable pairs that score lower, or as high for half of them; nan where there is none."""
    found = np.full(scores.shape, np.nan)
    there = usable & np.isfinite(scores)
    if there.any():
        found[there] = (rankdata(scores[there]) - 0.5) / there.sum()
    return found


def combined(parts: Iterable[tuple[float, Array]], usable: NDArray[np.bool_]) -> Array:
    """Return the evidence of several scores together, as Fisher's method adds up that of several tests.

    Each adds minus the logarithm of the share of pairs that score higher, times its weight; so a pair at the very top
    of one score stays above those in the middle of all. A score that knows nothing of a pair says one half: else pairs
    of which little is known would be at the top.
    """
    total, weight = np.zeros(usable.shape), 0.0
    for size, scores in parts:
        found = percentiles(scores, usable)
        total -= size * np.log1p(-np.where(np.isfinite(found), found, 0.5))
        weight += size
    return total / weight
