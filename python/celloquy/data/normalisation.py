"""The unit of each cell: the number of which all its normalised values are whole multiples.

``log1p(counts / library * target)`` keeps the counts up to one factor a cell, ``target / library``. Every value lies in
an interval as wide as its rounding; the unit is the largest number of which each interval holds a whole multiple.
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
"""Cells looked at to tell how a matrix was made."""
SMALLEST_COUNT = 1000
"""The smallest non-zero count of a cell is looked for up to here."""
CHANCE = 0.05
"""A unit is believed if values that are no counts would fit it less often than this."""
_TOGETHER = 256
_LARGEST_LOG = 100.0
_FINE = 1e-11


@dataclass(frozen=True)
class Transform:
    """What was done to normalised counts: ``log1p`` to some base, or nothing."""

    name: str
    base: float | None

    def undo(self, values: Array) -> Array:
        """Return the values before the logarithm."""
        return values if self.base is None else np.expm1(values * np.log(self.base))

    def could_make(self, values: Array) -> bool:
        """Whether values may be logarithms to this base: exponentials beyond any count can't."""
        return self.base is None or bool(np.max(values, initial=0) * np.log(self.base) < _LARGEST_LOG)


TRANSFORMS = (
    Transform("natural log", math.e),
    Transform("log2", 2.0),
    Transform("log10", 10.0),
    Transform("no log", None),
)


@dataclass(frozen=True)
class Rounding:
    """How far a stored value may be from the exact one."""

    relative: float
    """Of the stored value."""
    absolute: float
    """Of the stored value: half of its last decimal where it was rounded to decimals."""
    product: float
    """Of the normalised value before its logarithm, relative."""

    @staticmethod
    def of(values: Array, dtype: np.dtype[Any]) -> Rounding:
        """Tell it from the type of a matrix and some of its values ``(n,)``."""
        single = float(np.finfo(np.float32).eps)
        values = np.unique(values.astype(np.float64))
        stored = single / 2
        if dtype.type is np.float16:
            stored = float(np.finfo(np.float16).eps) / 2
        elif dtype.itemsize > 4 and not np.array_equal(values, values.astype(np.float32)):
            # Slack for sums and logarithms in another order; far below what tells two counts apart.
            return Rounding(_FINE, _half_of_last_decimal(values, 1e-15), _FINE)
        # Single precision arithmetic: a quotient, a product, a logarithm and its change of base.
        return Rounding(stored + 4 * single, _half_of_last_decimal(values, stored), 2 * single)

    def bounds(self, values: Array, transform: Transform) -> tuple[Array, Array]:
        """Return the least and the greatest normalised value that is stored like this, ``(n,)`` each."""
        slack = self.relative * values + self.absolute
        low = transform.undo(np.maximum(values - slack, np.finfo(np.float64).tiny)) * (1 - self.product)
        return low, transform.undo(values + slack) * (1 + self.product)


def _half_of_last_decimal(values: Array, stored: float) -> float:
    """Half a unit of the last decimal where all values have few decimals, else 0."""
    for decimals in range(1, 9):
        shifted = values * 10.0**decimals
        slack = shifted * stored + 1e-9
        # Where the stored precision is near the decimal itself, any value looks rounded.
        telling = slack < 0.1
        if telling.sum() >= 10 and bool(np.all(np.abs(shifted - np.rint(shifted)) <= slack, where=telling)):
            return float(0.5 * 10.0**-decimals)
    return 0.0


@dataclass(frozen=True)
class Solution:
    """Counts of some cells, as far as they could be told."""

    counts: sparse.csr_matrix
    """``(cells, genes)`` float64; of no meaning where a cell failed."""
    unit: Array
    """``(cells,)`` normalised value of one count; NaN where a cell is empty or failed."""
    inconsistent: Array
    """``(cells,)`` bool: no unit of which all values are whole multiples."""
    coarse: Array
    """``(cells,)`` bool: several, for the values are rounded too much."""
    single: Array
    """``(cells,)`` bool: all values are equal, and taken to be one count each."""
    evidence: Array
    """``(cells,)``: log of how often values that are no counts would fit; 0 where a cell failed."""
    deviation: float
    """Greatest distance of a value, in units of its cell, from its count."""


def solve(block: sparse.csr_matrix, transform: Transform, rounding: Rounding) -> Solution:
    """Tell the counts of each cell, which are taken to have no common factor.

    Parameters
    ----------
    block
        ``(cells, genes)`` normalised values, not negative.
    transform
        What was done to them.
    rounding
        How exact they are.
    """
    values, first, entry = _distinct(block)
    low, high = rounding.bounds(values, transform)
    size = np.diff(first)
    cells = len(size)
    unit_low, unit_high = np.full(cells, np.nan), np.full(cells, np.nan)
    evidence, failed, coarse = np.zeros(cells), size > 0, np.zeros(cells, dtype=bool)
    # One count in some gene is by far the most common case, so the other divisors are tried on what is left.
    for divisors, together in ((np.array([1.0]), cells), (np.arange(2.0, SMALLEST_COUNT + 1), _TOGETHER)):
        left = np.flatnonzero(failed & ~coarse)
        for start in range(0, len(left), max(together, 1)):
            some = left[start : start + together]
            fit = _fit(low, high, first[some], size[some], divisors)
            # Not by chance, and of several the smallest divisor: the largest unit.
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
    """Return the distinct values of each cell, rising, where each cell's begin, and which of them each entry is."""
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
    """How each divisor ``d`` fits each cell ``c``; all ``(c, d)``."""

    low: Array
    high: Array
    """The unit lies between the two."""
    possible: Array
    """Every interval holds a whole multiple of the unit ..."""
    certain: Array
    """... and only one."""
    log_chance: Array
    """Log of how often so many intervals, placed at random, would hold one, times the divisors tried till here."""


def _fit(low: Array, high: Array, first: Array, size: Array, divisors: Array) -> _Fit:
    """Try units such that the smallest value of a cell is ``divisor`` units, narrowing them value by value."""
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
            # A value that can be only one multiple tells the unit more closely; larger ones need that.
            one = few == many
            unit_low[at] = np.where(one, np.maximum(unit_low[at], least / np.maximum(few, 1)), unit_low[at])
            unit_high[at] = np.where(one, np.minimum(unit_high[at], most / np.maximum(few, 1)), unit_high[at])
    return _Fit(unit_low, unit_high, possible, certain & possible, log_chance)


def recognise(rows: CountRows, also: Iterable[Transform] = ()) -> tuple[Transform, Rounding, float]:
    """Tell how normalised values were made from counts, from a few cells of the whole range.

    Parameters
    ----------
    rows
        Finite values, not negative.
    also
        Transforms to try besides the usual ones.

    Returns
    -------
    The transform that fits best, the rounding, and the share of the cells looked at (those with at least two different
    values) that it fits; 0 where there are none.
    """
    sample = [rows.read(cell, cell + 1) for cell in np.unique(np.linspace(0, rows.shape[0] - 1, SAMPLE, dtype=int))]
    block = sparse.csr_matrix(sparse.vstack(sample))
    rounding = Rounding.of(block.data, rows.dtype)
    best, most, share = TRANSFORMS[0], 0.0, 0.0
    for transform in (*also, *TRANSFORMS):
        if not transform.could_make(block.data):
            continue
        solution = solve(block, transform, rounding)
        telling = ~solution.single & (np.diff(block.indptr) > 0)
        evidence = -float(solution.evidence[telling].sum())
        if evidence > most:
            failed = (solution.inconsistent | solution.coarse)[telling]
            best, most, share = transform, evidence, 1 - float(failed.mean())
    return best, rounding, share
