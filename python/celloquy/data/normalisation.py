"""The unit of each cell: the number of which all its normalised values are whole multiples.

``log1p(counts / library * target)`` keeps the counts up to one factor a cell, ``target / library``. Every exact
value lies in an interval as wide as its rounding; the unit is the largest number of which each interval holds a whole
multiple.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data.matrix import CountRows

Array = NDArray[Any]

SAMPLE = 64
"""Number of cells from which the normalisation of a matrix is recognised."""
SMALLEST_COUNT = 1000
"""Largest value that is tried as the smallest non-zero count of a cell."""
CHANCE = 0.05
"""Probability below which values that are no counts must fit a unit for the unit to be accepted."""
_TOGETHER = 256
_LARGEST_LOG = 100.0
# Cells from which on equal totals are no chance, and how equal; logarithms of counts per million stay below 14.
_CELLS, _ALIKE, _LARGEST_OF_LOGS, _HARDLY = 5, 1e-3, 14.0, 0.05
_FINE = 1e-11


@dataclass(frozen=True)
class Transform:
    """The transform of normalised counts: ``log1p`` to some base, or none."""

    name: str
    base: float | None

    def undo(self, values: Array) -> Array:
        """Return the values before the logarithm."""
        return values if self.base is None else np.expm1(values * np.log(self.base))

    def could_make(self, values: Array) -> bool:
        """Return whether values may be logarithms to this base: their exponentials must not exceed any count."""
        return self.base is None or bool(np.max(values, initial=0) * np.log(self.base) < _LARGEST_LOG)


TRANSFORMS = (
    Transform("natural log", math.e),
    Transform("log2", 2.0),
    Transform("log10", 10.0),
    Transform("no log", None),
)


@dataclass(frozen=True)
class Rounding:
    """The largest distance of a stored value from the exact one."""

    relative: float
    """Relative error of the stored value."""
    absolute: float
    """Absolute error of the stored value: half of its last decimal if it was rounded to decimals."""
    product: float
    """Relative error of the normalised value before its logarithm."""

    @staticmethod
    def of(values: Array, dtype: np.dtype[Any]) -> Rounding:
        """Return the rounding of a matrix, from its type and some of its values ``(n,)``."""
        single = float(np.finfo(np.float32).eps)
        values = np.unique(values.astype(np.float64))
        stored = single / 2
        # Values that were once stored in fewer digits keep their rounding in a type of more.
        with np.errstate(over="ignore"):
            half = np.array_equal(values, values.astype(np.float16))
        if dtype.type is np.float16 or half:
            stored = float(np.finfo(np.float16).eps) / 2
        elif dtype.itemsize > 4 and not np.array_equal(values, values.astype(np.float32)):
            # Slack for sums and logarithms in another order, far below the difference of two counts.
            return Rounding(_FINE, _half_of_last_decimal(values, 1e-15), _FINE)
        # Errors of single precision: a quotient, a product, a logarithm and its change of base.
        return Rounding(stored + 4 * single, _half_of_last_decimal(values, stored), 2 * single)

    def bounds(self, values: Array, transform: Transform) -> tuple[Array, Array]:
        """Return the smallest and the largest normalised value that is stored as these values, ``(n,)`` each."""
        slack = self.relative * values + self.absolute
        low = transform.undo(np.maximum(values - slack, np.finfo(np.float64).tiny)) * (1 - self.product)
        return low, transform.undo(values + slack) * (1 + self.product)


def _half_of_last_decimal(values: Array, stored: float) -> float:
    """Return half a unit of the last decimal if all values have few decimals, else 0."""
    for decimals in range(1, 9):
        shifted = values * 10.0**decimals
        slack = shifted * stored + 1e-9
        # Only values whose stored precision is far finer than the decimal can show whether they were rounded.
        precise = slack < 0.1
        if precise.sum() >= 10 and bool(np.all(np.abs(shifted - np.rint(shifted)) <= slack, where=precise)):
            return float(0.5 * 10.0**-decimals)
    return 0.0


@dataclass(frozen=True)
class Solution:
    """The counts of cells, and for which cells they were found."""

    counts: sparse.csr_matrix
    """``(cells, genes)`` float64: the counts; meaningless for a cell that failed."""
    unit: Array
    """``(cells,)``: the normalised value of one count; NaN for a cell that is empty or failed."""
    inconsistent: Array
    """``(cells,)`` bool: no unit has all values as whole multiples, so the cell failed."""
    coarse: Array
    """``(cells,)`` bool: several units fit, because the values are rounded too much, so the cell failed."""
    single: Array
    """``(cells,)`` bool: all values are equal; each is taken as one count."""
    evidence: Array
    """``(cells,)``: log of the probability that values which are no counts fit; 0 for a cell that failed."""
    deviation: float
    """Largest distance of a value, in units of its cell, from its count."""


def solve(block: sparse.csr_matrix, transform: Transform, rounding: Rounding) -> Solution:
    """Find the counts of each cell, on the assumption that they have no common factor.

    Parameters
    ----------
    block
        Normalised values ``(cells, genes)``, not negative.
    transform
        Transform of the values.
    rounding
        Rounding of the values.
    """
    values, first, entry = _distinct(block)
    low, high = rounding.bounds(values, transform)
    size = np.diff(first)
    cells = len(size)
    unit_low, unit_high = np.full(cells, np.nan), np.full(cells, np.nan)
    evidence, failed, coarse = np.zeros(cells), size > 0, np.zeros(cells, dtype=bool)
    # Nearly all cells have one count in some gene, so the other divisors are tried on the remaining cells alone.
    for divisors, together in ((np.array([1.0]), cells), (np.arange(2.0, SMALLEST_COUNT + 1), _TOGETHER)):
        left = np.flatnonzero(failed & ~coarse)
        for start in range(0, len(left), max(together, 1)):
            some = left[start : start + together]
            fit = _fit(low, high, first[some], size[some], divisors)
            # A unit must not fit by chance; of several the smallest divisor, which is the largest unit, is taken.
            good = fit.possible & (fit.certain & (fit.log_chance <= np.log(CHANCE)) | (size[some] == 1)[:, None])
            best, row = good.argmax(axis=1), np.arange(len(some))
            found = good[row, best]
            unit_low[some[found]] = fit.low[row, best][found]
            unit_high[some[found]] = fit.high[row, best][found]
            evidence[some[found]] = fit.log_chance[row, best][found]
            failed[some[found]] = False
            coarse[some] = ~found & fit.possible.any(axis=1)
    unit = (unit_low + unit_high) / 2
    ratio = transform.undo(values) / np.repeat(unit, size)
    counts = np.rint(ratio)
    deviation = np.abs(ratio - counts)[~np.repeat(failed, size)].max(initial=0.0)
    return Solution(
        counts=sparse.csr_matrix((counts[entry], block.indices, block.indptr), shape=block.shape),
        unit=unit,
        inconsistent=failed & ~coarse,
        coarse=coarse,
        single=size == 1,
        evidence=evidence,
        deviation=float(deviation),
    )


def _distinct(block: sparse.csr_matrix) -> tuple[Array, Array, Array]:
    """Return the distinct values of each cell, rising, the start of each cell, and the distinct value of each entry."""
    cell = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    data = block.data.astype(np.float64)
    order = np.lexsort((data, cell))
    data, cell = data[order], cell[order]
    new = np.ones(len(data), dtype=bool)
    new[1:] = (data[1:] != data[:-1]) | (cell[1:] != cell[:-1])
    entry = np.empty(len(data), dtype=np.int64)
    entry[order] = np.cumsum(new) - 1
    return data[new], np.searchsorted(cell[new], np.arange(block.shape[0] + 1)), entry


@dataclass(frozen=True)
class _Fit:
    """The fit of each divisor ``d`` to each cell ``c``; all ``(c, d)``."""

    low: Array
    """Lower bound of the unit."""
    high: Array
    """Upper bound of the unit."""
    possible: Array
    """True if every interval holds a whole multiple of the unit."""
    certain: Array
    """True if every interval holds exactly one whole multiple of the unit."""
    log_chance: Array
    """Log of the probability that randomly placed intervals all hold a multiple, times the number of divisors tried."""


def _fit(low: Array, high: Array, first: Array, size: Array, divisors: Array) -> _Fit:
    """Try units of which the smallest value of a cell is ``divisor``, and narrow each unit down value by value."""
    unit_low, unit_high = low[first][:, None] / divisors, high[first][:, None] / divisors
    possible = np.ones(unit_low.shape, dtype=bool)
    log_chance = np.zeros(unit_low.shape) + np.log(divisors)
    for narrowing in (True, False):
        certain = np.floor(high[first][:, None] / unit_low) == np.ceil(low[first][:, None] / unit_high)
        for rank in range(1, int(size.max(initial=0))):
            at = np.flatnonzero((size > rank) & possible.any(axis=1))
            if len(at) == 0:
                break
            least, most = low[first[at] + rank][:, None], high[first[at] + rank][:, None]
            width = most / unit_low[at] - least / unit_high[at]
            few, many = np.ceil(least / unit_high[at]), np.floor(most / unit_low[at])
            if narrowing:
                log_chance[at] += np.log(np.minimum(width, 1))
            possible[at] &= few <= many
            certain[at] &= few == many
            # A value that can be only one multiple narrows the unit down, as larger values need.
            one = few == many
            unit_low[at] = np.where(one, np.maximum(unit_low[at], least / np.maximum(few, 1)), unit_low[at])
            unit_high[at] = np.where(one, np.minimum(unit_high[at], most / np.maximum(few, 1)), unit_high[at])
    return _Fit(unit_low, unit_high, possible, certain & possible, log_chance)


def recognise(rows: CountRows, also: Iterable[Transform] = ()) -> tuple[Transform, Rounding, float]:
    """Recognise how normalised values were made from counts, by a few cells of the whole range.

    Parameters
    ----------
    rows
        Values, finite and not negative.
    also
        Transforms to try before the usual ones.

    Returns
    -------
    The transform that fits best, the rounding, and the share of the sampled cells with at least two different values
    that the transform fits; 0 if there are none.
    """
    sample = [rows.read(cell, cell + 1) for cell in np.unique(np.linspace(0, rows.shape[0] - 1, SAMPLE, dtype=int))]
    block = sparse.csr_matrix(sparse.vstack(sample))
    rounding = Rounding.of(block.data, rows.dtype)
    best, most, share = TRANSFORMS[0], 0.0, 0.0
    for transform in (*also, *TRANSFORMS):
        if not transform.could_make(block.data):
            continue
        solution = solve(block, transform, rounding)
        informative = ~solution.single & (np.diff(block.indptr) > 0)
        if transform.base is None and _is_decimal(solution.unit[informative]):
            # Estimates that were written with so many decimals: no depth divides all cells by the same.
            continue
        evidence = -float(solution.evidence[informative].sum())
        if evidence > most:
            failed = (solution.inconsistent | solution.coarse)[informative]
            best, most, share = transform, evidence, 1 - float(failed.mean())
    return best, rounding, share


def _is_decimal(units: Array) -> bool:
    """Return whether the units of cells are all 0.1, 0.01 and so on."""
    known = units[np.isfinite(units)]
    decimal = 10.0 ** np.rint(np.log10(known, where=known > 0, out=np.zeros_like(known)))
    return bool(len(known)) and bool(np.all(decimal < 1)) and bool(np.all(np.abs(known / decimal - 1) < _ALIKE))


def looks_transformed(block: sparse.csr_matrix) -> str:
    """Return why values that are not whole can't be estimated counts either, or an empty text.

    Parameters
    ----------
    block
        Values, finite and not negative.
    """
    for transform in TRANSFORMS:
        if not transform.could_make(block.data):
            continue
        values = sparse.csr_matrix((transform.undo(block.data), block.indices, block.indptr), shape=block.shape)
        depth = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
        depth = depth[depth > 0]
        if len(depth) >= _CELLS and depth.std() < _ALIKE * depth.mean():
            return f"all cells have the same total ({transform.name}), as after normalisation"
    whole = float(np.mean(block.data == np.rint(block.data)))
    if block.data.max(initial=0) < _LARGEST_OF_LOGS and whole < _HARDLY:
        return f"all lie below {_LARGEST_OF_LOGS:g} and hardly any is whole, as logarithms do"
    return ""
