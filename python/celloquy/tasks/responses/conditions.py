"""Conditions: which perturbation, at which dose, in which context; and how a column of names is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.data.columns import column
from celloquy.errors import ArgumentError, some

if TYPE_CHECKING:
    from anndata import AnnData

NO_DOSE: Final = 1.0
"""Dose where none is told, so that the logarithms of all doses are alike."""


@dataclass(frozen=True, order=True)
class Condition:
    """A perturbation, or several at once, at a dose and in a context.

    Attributes
    ----------
    parts
        Names of what is done at once, sorted.
    context
        Cell type, line, patient or species; empty where none is told.
    dose
        Dose in the user's unit.
    """

    parts: tuple[str, ...]
    context: str = ""
    dose: float = NO_DOSE

    @property
    def single(self) -> bool:
        """True of one perturbation alone."""
        return len(self.parts) == 1

    def alone(self, part: str) -> Condition:
        """Return the condition of one of the parts alone."""
        return Condition((part,), self.context, self.dose)


@dataclass(frozen=True)
class Naming:
    """How columns of ``obs`` name conditions.

    Attributes
    ----------
    perturbation_key
        Column with the perturbation.
    control
        Names of controls in it.
    covariate_key, dose_key, replicate_key
        Columns with the context, the dose and the replicate; None where there is none.
    separator
        Text between the parts of a combination; empty if names are never split.
    """

    perturbation_key: str
    control: tuple[str, ...]
    covariate_key: str | None = None
    dose_key: str | None = None
    replicate_key: str | None = None
    separator: str = "+"

    def parts(self, name: str) -> tuple[str, ...]:
        """Return the parts of a perturbation, without controls that fill up a combination, sorted."""
        split = [part.strip() for part in name.split(self.separator)] if self.separator else [name]
        return tuple(sorted(set(split) - set(self.control) - {""}))

    def name(self, parts: Sequence[str]) -> str:
        """Return the name of a perturbation."""
        return (self.separator or "+").join(parts)

    def read(self, adata: AnnData, *, all_control: bool = False) -> tuple[list[Condition | None], NDArray[np.object_]]:
        """Return the condition of each row, None of a control, and the name of its context.

        Raises
        ------
        ArgumentError
            If a column is missing or has missing values, or a dose is no number.
        """
        contexts = (
            np.full(adata.n_obs, "", dtype=object)
            if self.covariate_key is None
            else column(adata, self.covariate_key, "covariate_key").astype(str).to_numpy(dtype=object)
        )
        if all_control:
            return [None] * adata.n_obs, contexts
        names = column(adata, self.perturbation_key, "perturbation_key", optional=False).astype(str)
        part_of = {name: self.parts(name) for name in names.unique()}
        treated = names.map(lambda name: bool(part_of[name])).to_numpy()
        doses = self._doses(adata, treated)
        made: dict[tuple[str, str, float], Condition] = {}
        rows: list[Condition | None] = []
        for name, context, dose in zip(names, contexts, doses.tolist(), strict=True):
            if not part_of[name]:
                rows.append(None)
            else:
                key = name, context, dose
                rows.append(made.setdefault(key, Condition(part_of[name], context, dose)))
        return rows, contexts

    def replicates(self, adata: AnnData) -> NDArray[np.object_]:
        """Return the replicate of each row.

        Raises
        ------
        ArgumentError
            If the column is missing, has missing values, or one value alone.
        """
        if self.replicate_key is None:
            return np.full(adata.n_obs, "", dtype=object)
        values = column(adata, self.replicate_key, "replicate_key").astype(str).to_numpy(dtype=object)
        if len(set(values.tolist())) < 2:
            raise ArgumentError(
                f"Column {self.replicate_key!r} of adata.obs names one replicate alone.",
                found=some(map(repr, set(values.tolist()))),
                expected="at least two replicates, whose controls are compared with their own perturbed cells",
                remedy="leave `replicate_key` out.",
                argument="replicate_key",
            )
        return values

    def _doses(self, adata: AnnData, treated: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self.dose_key is None:
            return np.full(adata.n_obs, NO_DOSE)
        given = column(adata, self.dose_key, "dose_key", missing=True)
        doses = pd.to_numeric(given.astype(object), errors="coerce").to_numpy(dtype=np.float64)
        wrong = treated & ~(np.isfinite(doses) & (doses > 0))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ArgumentError(
                f"Column {self.dose_key!r} of adata.obs has doses that are no numbers above 0.",
                found=f"{given.iloc[first]!r} of {str(adata.obs_names[first])!r}, one of {int(wrong.sum()):,}",
                expected="a number for each perturbed cell, in one unit",
                remedy="make the column numbers, in one unit, or leave `dose_key` out.",
                argument="dose_key",
            )
        return np.where(treated, doses, NO_DOSE)


def doses_of(conditions: Iterable[Condition]) -> list[float]:
    """Return the doses of conditions, sorted."""
    return sorted({condition.dose for condition in conditions})
