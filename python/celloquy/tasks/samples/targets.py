"""What is known of samples: one class or one number each, and which samples belong together."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.data.columns import column
from celloquy.errors import ArgumentError, FewSamplesWarning, some
from celloquy.tasks.samples.cells import sample_codes

if TYPE_CHECKING:
    from anndata import AnnData

FEW: Final = 5
"""Samples of a class, or of a number, below which a warning says what can be claimed."""
LEAST_NUMBERS: Final = 4
"""Samples from which a number is learned, at least."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What is known of samples.

    Attributes
    ----------
    names
        Names of all samples, sorted.
    known
        ``(samples,)``: whether the target is known.
    classes
        Names of the classes; none where the target is a number.
    labels
        ``(known samples,)``: classes from 0, or numbers.
    groups
        ``(known samples,)``: samples of one group are held out together.
    """

    names: tuple[str, ...]
    known: NDArray[np.bool_]
    classes: tuple[str, ...]
    labels: NDArray[Any]
    groups: NDArray[np.int64]


def read_targets(adata: AnnData, sample_key: str, target: str, group_key: str | None) -> Targets:
    """Return what the columns of an object say of its samples.

    Raises
    ------
    ArgumentError
        If a column is missing, the target or the group varies within a sample, or too few samples have one.
    """
    names, codes = sample_codes(adata, sample_key)
    first = np.unique(codes, return_index=True)[1]
    told = column(adata, target, "target", optional=False, missing=True)
    _check_one_each(told, codes, names, target, "target")
    given = told.iloc[first]
    known = given.notna().to_numpy()
    values = given[known]
    if group_key is None:
        groups = np.arange(len(values))
    else:
        grouped = column(adata, group_key, "group_key").astype(str)
        _check_one_each(grouped, codes, names, group_key, "group_key")
        groups = np.unique(grouped.iloc[first][known].to_numpy(dtype=object), return_inverse=True)[1]
    if not len(values):
        raise ArgumentError(
            f"Column {target!r} of adata.obs tells nothing of any sample.",
            found=f"{len(names):,} samples with missing values",
            expected="a class or a number for the samples to learn from",
            remedy="fill it in for these samples.",
            argument="target",
        )
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=np.float64)
        _check_numbers(numbers, groups, target)
        return Targets(names, known, (), numbers, groups)
    texts = values.astype(str)
    there = set(texts)
    ordered = values.cat.categories.astype(str) if isinstance(values.dtype, pd.CategoricalDtype) else sorted(there)
    classes = tuple(one for one in ordered if one in there)
    labels = np.array([classes.index(one) for one in texts], dtype=np.int64)
    _check_classes(classes, labels, groups, target)
    return Targets(names, known, classes, labels, groups)


def warn_of_few(targets: Targets) -> None:
    """Warn of fewer than five samples of a class, or of a number, and say what can be claimed.

    Warns
    -----
    FewSamplesWarning
        With the smallest p that a test by permutation of the targets can have.
    """
    groups, labels = targets.groups, targets.labels
    what = "groups of samples" if len(np.unique(groups)) < len(groups) else "samples"
    if targets.classes:
        sizes = {one: len(np.unique(groups[labels == code])) for code, one in enumerate(targets.classes)}
    else:
        sizes = {"a number": len(np.unique(groups))}
    few = [f"{size} of {name!r}" if targets.classes else f"{size}" for name, size in sizes.items() if size < FEW]
    if few:
        number = arrangements(groups, labels)
        warnings.warn(
            f"There are fewer than {FEW} {what} to learn from: {some(few)}. Their targets have {number:,} arrangements,"
            f" so even predictions without an error would have p = {1 / number:.2g}: nothing smaller can be claimed.",
            FewSamplesWarning,
            stacklevel=4,
        )


def arrangements(groups: NDArray[np.int64], labels: NDArray[Any]) -> int:
    """Return in how many ways the targets can be dealt out to the samples.

    They are dealt out within groups whose samples differ, as in a design of pairs; else to whole groups.
    """
    own = [labels[groups == one] for one in np.unique(groups)]
    if any(len(np.unique(one)) > 1 for one in own):
        return math.prod(_permutations(one) for one in own)
    return _permutations(np.array([one[0] for one in own]))


def _permutations(values: NDArray[Any]) -> int:
    """Number of different orders of values."""
    same = math.prod(math.factorial(int(times)) for times in np.unique(values, return_counts=True)[1])
    return math.factorial(len(values)) // same


def _check_one_each(
    values: pd.Series, codes: NDArray[np.int64], names: tuple[str, ...], key: str, argument: str
) -> None:
    """Check that all cells of a sample have the same value, or that it is missing in all."""
    said = values.map(repr, na_action="ignore")  # a value may be of any type, a list among them
    level = pd.factorize(said.astype(object), use_na_sentinel=True)[0]
    pairs = np.unique(np.stack([codes, level]), axis=1)[0]
    several = np.unique(pairs[:-1][pairs[1:] == pairs[:-1]])
    if len(several):
        first = said[codes == several[0]].astype(object).unique()
        raise ArgumentError(
            f"Column {key!r} of adata.obs has several values within a sample.",
            found=f"{some(map(str, first))} in {names[several[0]]!r}; in all "
            f"{len(several):,} of {len(names):,} samples: {some(repr(names[one]) for one in several)}",
            expected="one value for all cells of a sample",
            remedy="correct the column, or pass as `sample_key` one whose samples have one value each.",
            argument=argument,
        )


def _check_numbers(numbers: NDArray[np.float64], groups: NDArray[np.int64], target: str) -> None:
    if not np.isfinite(numbers).all():
        raise ArgumentError(
            f"Column {target!r} of adata.obs has numbers that are not finite.",
            found=str(numbers[~np.isfinite(numbers)][0]),
            expected="a number for each sample, or a missing value where none is known",
            remedy="correct these numbers.",
            argument="target",
        )
    there = len(np.unique(groups))
    if there < LEAST_NUMBERS or len(np.unique(numbers)) == 1:
        raise ArgumentError(
            f"Column {target!r} of adata.obs has too few numbers to learn from.",
            found=f"{there:,} samples or groups, {len(np.unique(numbers)):,} different numbers",
            expected=f"at least {LEAST_NUMBERS} samples, or groups of samples, that differ",
            remedy="add samples; where the numbers stand for classes, make them text.",
            argument="target",
        )


def _check_classes(classes: tuple[str, ...], labels: NDArray[np.int64], groups: NDArray[np.int64], target: str) -> None:
    if len(classes) == 1:
        raise ArgumentError(
            f"Column {target!r} of adata.obs has one class alone.",
            found=f"{classes[0]!r} for {len(labels):,} samples",
            expected="samples of at least two classes",
            remedy="add samples of another class, or pass another column as `target`.",
            argument="target",
        )
    alone = [one for code, one in enumerate(classes) if len(np.unique(groups[labels == code])) < 2]
    if alone:
        raise ArgumentError(
            f"Column {target!r} of adata.obs has classes of one sample alone.",
            found=some(map(repr, alone)),
            expected="at least two samples, or groups of samples, of each class: one to learn from while one is "
            "held out",
            remedy="leave these samples out, or join their classes to others.",
            argument="target",
        )
