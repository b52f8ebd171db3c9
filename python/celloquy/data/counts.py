"""Find the raw counts of an AnnData, check them, and read them a run of cells at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from celloquy import keys
from celloquy.checks import check_choice
from celloquy.data.matrix import CountRows, CountsPlace, Owner, RoundedRows, counts_places
from celloquy.data.normalisation import looks_transformed, recognise
from celloquy.errors import CountsError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

Array = NDArray[Any]
Result = TypeVar("Result")

ALMOST_WHOLE = 1e-3
"""Distance from a whole number up to which a value is a count with a rounding error."""

EXPECTED = "raw counts: whole numbers of at least 0"

MOSTLY = 0.5
"""Share of the sampled cells that must fit a normalisation before an error names it."""


@dataclass(frozen=True)
class Counts:
    """The raw counts of an AnnData, cells × genes. All values that are read have been checked.

    Examples
    --------
    >>> import celloquy as cq
    >>> counts = cq.data.choose_counts(adata)
    >>> counts.place
    """

    place: CountsPlace
    """Place in the AnnData."""
    cell_names: Array = field(repr=False)
    """``(cells,)``: names of the cells."""
    rows: CountRows = field(repr=False)
    """The matrix."""
    rounded: bool = False
    """True if values that are not whole are rounded as they are read."""

    @property
    def source(self) -> str:
        """How the counts are had, e.g. ``"layers['counts']"``, or ``"X, rounded"``."""
        return f"{self.place.label}, rounded" if self.rounded else self.place.label

    @property
    def var(self) -> pd.DataFrame:
        """Annotation of the columns, which for ``raw`` is not that of the AnnData."""
        return self.place.var

    @property
    def var_names(self) -> Array:
        """``(genes,)``: names of the columns."""
        return self.place.var_names

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.rows.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of columns."""
        return self.rows.shape[1]

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Return a run of cells as float32: columns in rising order, no column twice, no zeros.

        Counts above 2²⁴ are rounded to seven digits, as float32 does.

        Raises
        ------
        CountsError
            If a value is not a count; a matrix on disk is checked as it is read.
        """
        block = self.rows.read(start, stop)
        if self.rows.on_disk:
            self._check(block, start)
        return block.astype(np.float32, copy=False)

    def genes_total(self) -> NDArray[np.float64]:
        """Return the sum of every column, ``(genes,)``, in one pass."""
        total = np.zeros(self.n_genes)

        def total_of(run: tuple[int, int]) -> NDArray[np.float64]:
            block = self.rows.read(*run)
            if self.rows.on_disk:
                self._check(block, run[0])
            # Several times as fast as to count by numbers of columns.
            return np.ones(block.shape[0]) @ block

        for one in self._each_run(total_of):
            total += one
        return total

    def _each_run(self, task: Callable[[tuple[int, int]], Result]) -> Iterator[Result]:
        """Yield what a task gives for every run of cells, in order; those in memory are read by several threads."""
        threads = 1 if self.rows.on_disk else torch.get_num_threads()
        if threads == 1:
            yield from map(task, self.rows.runs())
            return
        runs, coming = self.rows.runs(), deque[Future[Result]]()
        with ThreadPoolExecutor(threads) as pool:
            for run in runs:
                coming.append(pool.submit(task, run))
                if len(coming) > 2 * threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def check(self) -> None:
        """Check all values of a matrix in memory, or the first run of one on disk, whose others are checked when read.

        Raises
        ------
        CountsError
            If a value is not a count; the error names what was found, where, and what to do.
        """
        if self.rows.on_disk:
            start, stop = next(self.rows.runs())
            self._check(self.rows.read(start, stop), start)
            return
        for _ in self._each_run(lambda run: self._check(self.rows.read(*run), run[0])):
            pass

    def round(self) -> Counts:
        """Return the counts rounded, if a value is not whole, or a matrix on disk, which can't be known before.

        Raises
        ------
        CountsError
            If they are no counts even so: missing, negative, normalised.
        """
        fractional = self.rows.on_disk
        for start, stop in self.rows.runs():
            block = self.rows.read(start, stop)
            self._check_sign(block, start)
            fractions = not np.array_equal(block.data, np.rint(block.data))
            if fractions:
                # One run shows whether they can be counts.
                self._refuse_fractions(block, start, rounding=True)
            if fractions or fractional:
                fractional = True
                break
        return replace(self, rows=RoundedRows(self.rows), rounded=True) if fractional else self

    def _check(self, block: sparse.csr_matrix, start: int) -> None:
        values = block.data
        if values.dtype.kind == "u":
            return
        # One look for the rule, as what is missing is never equal; what is wrong is looked for only if something is.
        if values.dtype.kind == "f" and _all_counts(values):
            return
        self._check_sign(block, start)
        if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
            self._refuse_fractions(block, start)

    def _check_sign(self, block: sparse.csr_matrix, start: int) -> None:
        values = block.data
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            self._refuse_missing(block, start)
        if values.min(initial=0) < 0:
            self._refuse_negative(block, start)

    def _refuse_missing(self, block: sparse.csr_matrix, start: int) -> None:
        missing = ~np.isfinite(block.data)
        kinds = {"NaN": np.isnan(block.data).sum(), "infinity": np.isinf(block.data).sum()}
        occurrences = " and ".join(f"{name} {count:,} times" for name, count in kinds.items() if count)
        raise CountsError(
            f"{self.place} holds values that are not finite.",
            found=f"{occurrences}, first at {self._where(block, start, missing)}",
            expected=EXPECTED,
            remedy="check the step that made them; put 0 where 0 is meant, or pass "
            f"`{self.place.owner.argument}` of other counts.",
        )

    def _refuse_negative(self, block: sparse.csr_matrix, start: int) -> None:
        negative = block.data < 0
        block = block.astype(np.float64)
        where = f"{int(negative.sum()):,} negative values, first {self._where(block, start, negative)}"
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.asarray(block.mean(axis=0)).ravel()
            square = np.asarray(block.multiply(block).mean(axis=0)).ravel()
            deviation = np.sqrt(np.maximum(square - mean**2, 0))
        varied = deviation > 0
        if varied.any() and np.median(np.abs(mean[varied])) < 0.25 and 0.5 < np.median(deviation[varied]) < 1.5:
            raise CountsError(
                f"{self.place} is scaled, not raw counts.",
                found=f"{where}; the genes have means of about 0 and standard deviations of about 1",
                expected=EXPECTED,
                remedy=f"start from the counts: pass `{self.place.owner.argument}`, or put them into "
                f"{self.place.owner.name}.layers['counts'].",
            )
        raise CountsError(
            f"{self.place} holds negative values.",
            found=where,
            expected=EXPECTED,
            remedy="start from the counts before any correction or scaling: pass "
            f"`{self.place.owner.argument}`, or {self.place.owner.name}.layers['counts'].",
        )

    def _refuse_fractions(self, block: sparse.csr_matrix, start: int, *, rounding: bool = False) -> None:
        fractions = block.data != np.rint(block.data)
        where = f"{int(fractions.sum()):,} values that are not whole, first {self._where(block, start, fractions)}"
        almost = np.abs(block.data - np.rint(block.data)).max() < ALMOST_WHOLE
        whole = 1 - float(fractions.mean())
        if not almost and whole < MOSTLY:
            self._refuse_transformed(block, where)
        if rounding:
            return
        if almost:
            raise CountsError(
                f"{self.place} holds values that are almost counts.",
                found=f"{where}; all lie within {ALMOST_WHOLE:g} of a whole number, as rounding errors leave them",
                expected=EXPECTED,
                remedy=f'pass counts="round" to have them rounded, or `{self.place.owner.argument}` of the raw counts.',
            )
        raise CountsError(
            f"{self.place} holds estimated or corrected counts, not raw ones.",
            found=f"{where}; {whole:.0%} are whole, as "
            + ("RSEM, Salmon and kallisto" if whole > MOSTLY else "SoupX, decontX and CellBender")
            + " leave them",
            expected=EXPECTED,
            remedy=f'pass counts="round" to have them rounded, or `{self.place.owner.argument}` of the counts before '
            "the correction.",
        )

    def _refuse_transformed(self, block: sparse.csr_matrix, where: str) -> None:
        owner = self.place.owner
        transform, _, share = recognise(_Block(block))
        if share > MOSTLY:
            kind = "normalised" if transform.base is None else "log-normalised"
            raise CountsError(
                f"{self.place} is {kind}, not raw counts.",
                found=f"{where}; they are counts divided by the depth of the cell ({transform.name})",
                expected=EXPECTED,
                remedy=f"pass `{owner.argument}` of the raw counts, or restore them: {owner.name} = "
                f"celloquy.recover_counts({owner.name}).",
            )
        if reason := looks_transformed(block):
            raise CountsError(
                f"{self.place} holds values that are no counts.",
                found=f"{where}; {reason}",
                expected=EXPECTED,
                remedy=f"pass `{owner.argument}` of the raw counts.",
            )

    def _where(self, block: sparse.csr_matrix, start: int, which: Array) -> str:
        entry = int(np.flatnonzero(which)[0])
        cell = int(np.searchsorted(block.indptr, entry, side="right")) - 1
        gene = self.var_names[block.indices[entry]]
        value = float(block.data[entry])
        # Six digits, unless a rounding error lies beyond them.
        shown = f"{value:g}" if value == np.rint(value) or float(f"{value:g}") != np.rint(value) else repr(value)
        return f"{shown} in cell {str(self.cell_names[start + cell])!r}, gene {str(gene)!r}"


def choose_counts(
    adata: AnnData,
    *,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    owner: Owner = Owner(),  # noqa: B008 -- frozen
) -> Counts:
    """Find the raw counts of an AnnData, without changing it.

    Parameters
    ----------
    adata
        The object, in memory or backed; any container and numeric type, whole numbers as floats too.
    layer
        Place of the counts: a layer, ``"X"`` or ``"raw"``; by default the first of ``layers["counts"]``, ``X``, ``raw``
        that holds counts.
    counts
        ``"round"`` rounds estimated or corrected counts (RSEM, kallisto, SoupX, decontX); by default they are an error.
    owner
        Object and argument, for messages.

    Raises
    ------
    CountsError
        If no place holds raw counts; the error names what each of them holds.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.data.choose_counts(adata).place
    """
    check_choice("counts", counts, ("round", None))
    refused: list[tuple[str, CountsError]] = []
    for place in counts_places(adata, layer, owner=owner):
        try:
            return open_counts(adata, place, rounding=counts == "round")
        except CountsError as error:
            refused.append((place.label, error))
    elsewhere = _other_places(adata, {label for label, _ in refused}, owner)
    problem, found, expected, remedy, argument = _no_matrix(owner) if not refused else _said(*refused)
    if elsewhere:
        names = " or ".join(f"{owner.argument}={name!r}" for name in elsewhere)
        remedy = f"pass {names}, which holds whole numbers, if these are the counts you mean; or {remedy}"
        if {"spliced", "unspliced"} <= set(elsewhere):
            layers = f"{owner.name}.layers"
            remedy = f"add up spliced and unspliced counts, {layers}['counts'] = {layers}['spliced'] + " + (
                f"{layers}['unspliced']; or {remedy}"
            )
    raise CountsError(problem, found=found, expected=expected, remedy=remedy, argument=argument)


def _no_matrix(owner: Owner) -> tuple[str, str, str, str, str]:
    return (
        f"{owner.name} has no matrix of counts.",
        f"X is None, no layers['{keys.COUNTS_LAYER}'], no raw",
        "raw counts, cells × genes",
        f"put the raw counts into {owner.name}.X or {owner.name}.layers['counts'].",
        owner.argument,
    )


def _said(first: tuple[str, CountsError], *others: tuple[str, CountsError]) -> tuple[str, str, str, str, str]:
    """The parts of the first of several errors, which tells what is wrong in the other places, too."""
    error = first[1]
    found = "; ".join([error.found, *(other.problem.rstrip(".") for _, other in others)])
    return error.problem, found, error.expected, error.remedy, error.argument


def _other_places(adata: AnnData, tried: set[str], owner: Owner) -> list[str]:
    """Names of the other places that hold counts, such as layers of spliced and unspliced ones."""
    found = []
    for place in counts_places(adata, None, others=True, owner=owner):
        if place.label not in tried:
            try:
                open_counts(adata, place)
            except CountsError:
                continue
            found.append(place.label.removeprefix("layers['").removesuffix("']"))
    return found


def open_counts(adata: AnnData, place: CountsPlace, *, rounding: bool = False) -> Counts:
    """Return the checked counts of one place.

    Raises
    ------
    CountsError
        If the place holds no counts.
    """
    counts = Counts(place, np.asarray(adata.obs_names), place.open())
    if rounding and counts.rows.dtype.kind == "f":
        return counts.round()
    counts.check()
    return counts


def _all_counts(values: Array) -> bool:
    """Whether all floating-point values are finite whole numbers of at least 0."""
    whole = np.array_equal(values, np.rint(values))
    return bool(whole and values.min(initial=0) >= 0 and values.max(initial=0) < np.inf)


class _Block:
    """A block of cells that can be read as a whole matrix is."""

    on_disk = False

    def __init__(self, block: sparse.csr_matrix) -> None:
        self.shape, self.dtype, self._block = (block.shape[0], block.shape[1]), block.dtype, block

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        return self._block[start:stop]

    def runs(self) -> Any:
        return iter([(0, self.shape[0])])
