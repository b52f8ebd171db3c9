"""How alike conditions are: by what is known of their perturbations, by context and by dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.tasks.responses.conditions import Condition

Matrix = NDArray[np.float64]

OTHER_CONTEXT = 0.25
"""What a condition of another context counts, where one of the same context counts 1."""


@dataclass(frozen=True, eq=False)
class Kinship:
    """Likeness of perturbations, by source.

    Attributes
    ----------
    names
        Names of the perturbations.
    features
        By source, ``(names, features)``, see :meth:`celloquy.tasks.responses.descriptions.Describer.describe`.
    """

    names: tuple[str, ...]
    features: dict[str, sparse.csr_matrix]

    def of(self, source: str, conditions: Sequence[Condition]) -> sparse.csr_matrix:
        """Return the features of conditions, ``(conditions, features)``; of combinations the mean of their parts."""
        return self._members(conditions) @ self.features[source]

    def _members(self, conditions: Sequence[Condition]) -> sparse.csr_matrix:
        place = {name: at for at, name in enumerate(self.names)}
        rows = [row for row, condition in enumerate(conditions) for _ in condition.parts]
        columns = [place[part] for condition in conditions for part in condition.parts]
        weights = [1 / len(condition.parts) for condition in conditions for _ in condition.parts]
        return sparse.csr_matrix((weights, (rows, columns)), shape=(len(conditions), len(self.names)))


def circumstances(some_conditions: Sequence[Condition], others: Sequence[Condition]) -> Matrix:
    """Return how alike the circumstances of conditions are, ``(some, others)``: 1 of the same context and dose."""
    here, there = (np.array([one.context for one in listed], dtype=object) for listed in (some_conditions, others))
    first, second = (np.log10([one.dose for one in listed]) for listed in (some_conditions, others))
    apart = np.abs(first[:, None] - second[None])
    alike: Matrix = np.where(here[:, None] == there[None], 1.0, OTHER_CONTEXT) / (1 + apart)
    return alike
