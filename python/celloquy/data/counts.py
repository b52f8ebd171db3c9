"""Find the raw counts of an AnnData, check them, and read them a run of cells at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data.matrix import CountRows, CountsPlace, counts_places
from celloquy.data.normalisation import recognise
from celloquy.errors import CountsError

if TYPE_CHECKING:
    from anndata import AnnData

Array = NDArray[Any]

ALMOST_WHOLE = 1e-3
"""Distance from a whole number up to which a value is a count with a rounding error."""

MOSTLY = 0.5
"""Share of the sampled cells that must fit a normalisation before an error names it."""


@dataclass(frozen=True)
class Counts:
    """The raw counts of an AnnData, cells × genes. All values that are read have been checked."""

    source: str
    """Place in the AnnData, e.g. ``"layers['counts']"``."""
    var_names: Array
    """``(genes,)``: names of the columns, which for ``raw`` are not those of the AnnData."""
    cell_names: Array = field(repr=False)
    """``(cells,)``: names of the cells."""
    rows: CountRows = field(repr=False)
    """The matrix."""

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
        for start, stop in self.rows.runs():
            block = self.rows.read(start, stop)
            if self.rows.on_disk:
                self._check(block, start)
            total += np.bincount(block.indices, weights=block.data, minlength=self.n_genes)
        return total

    def check(self) -> None:
        """Check all values of a matrix in memory, or the first run of one on disk, whose others are checked when read.

        Raises
        ------
        CountsError
            If a value is not a count; the error names what was found, where, and what to do.
        """
        for start, stop in self.rows.runs():
            self._check(self.rows.read(start, stop), start)
            if self.rows.on_disk:
                break

    def _check(self, block: sparse.csr_matrix, start: int) -> None:
        values = block.data
        if values.dtype.kind == "u":
            return
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            self._refuse_missing(block, start)
        if values.min(initial=0) < 0:
            self._refuse_negative(block, start)
        if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
            self._refuse_fractions(block, start)

    def _refuse_missing(self, block: sparse.csr_matrix, start: int) -> None:
        missing = ~np.isfinite(block.data)
        kinds = {"NaN": np.isnan(block.data).sum(), "infinity": np.isinf(block.data).sum()}
        occurrences = " and ".join(f"{name} {count:,} times" for name, count in kinds.items() if count)
        raise CountsError(
            f"{self.source} of adata holds values that are not finite.",
            found=f"{occurrences}, first at {self._where(block, start, missing)}",
            expected="raw counts: whole numbers of at least 0",
            remedy="check the step that made them; put 0 where 0 is meant, or pass `layer` of other counts.",
        )

    def _refuse_negative(self, block: sparse.csr_matrix, start: int) -> None:
        negative = block.data < 0
        where = f"{int(negative.sum()):,} negative values, first {self._where(block, start, negative)}"
        mean = np.asarray(block.mean(axis=0)).ravel()
        square = np.asarray(block.multiply(block).mean(axis=0)).ravel()
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        varied = deviation > 0
        if varied.any() and np.median(np.abs(mean[varied])) < 0.25 and 0.5 < np.median(deviation[varied]) < 1.5:
            raise CountsError(
                f"{self.source} of adata is scaled, not raw counts.",
                found=f"{where}; the genes have means of about 0 and standard deviations of about 1",
                expected="raw counts: whole numbers of at least 0",
                remedy="start from the counts: pass `layer`, or put them into adata.layers['counts'].",
            )
        raise CountsError(
            f"{self.source} of adata holds negative values.",
            found=where,
            expected="raw counts: whole numbers of at least 0",
            remedy="start from the counts before any correction or scaling: pass `layer`, or adata.layers['counts'].",
        )

    def _refuse_fractions(self, block: sparse.csr_matrix, start: int) -> None:
        fractions = block.data != np.rint(block.data)
        where = f"{int(fractions.sum()):,} values that are not whole, first {self._where(block, start, fractions)}"
        transform, _, share = recognise(_Block(block))
        if share > MOSTLY:
            kind = "normalised" if transform.base is None else "log-normalised"
            raise CountsError(
                f"{self.source} of adata is {kind}, not raw counts.",
                found=f"{where}; they are counts divided by the depth of the cell ({transform.name})",
                expected="raw counts: whole numbers of at least 0",
                remedy="pass `layer` of the raw counts, or restore them: adata = celloquy.recover_counts(adata).",
            )
        if np.abs(block.data - np.rint(block.data)).max() < ALMOST_WHOLE:
            place = self.source if self.source != "raw" else "raw.X"
            raise CountsError(
                f"{self.source} of adata holds values that are almost counts.",
                found=f"{where}; all lie within {ALMOST_WHOLE:g} of a whole number, as rounding errors leave them",
                expected="raw counts: whole numbers of at least 0",
                remedy=f"round them, e.g. adata.{place}.data = adata.{place}.data.round() where they are sparse, or "
                "pass `layer` of the raw counts.",
            )
        raise CountsError(
            f"{self.source} of adata holds values that are no counts.",
            found=where,
            expected="raw counts: whole numbers of at least 0",
            remedy="pass `layer` of the raw counts; round estimated counts (Salmon, Kallisto).",
        )

    def _where(self, block: sparse.csr_matrix, start: int, which: Array) -> str:
        entry = int(np.flatnonzero(which)[0])
        cell = int(np.searchsorted(block.indptr, entry, side="right")) - 1
        gene = self.var_names[block.indices[entry]]
        value = float(block.data[entry])
        # Six digits, unless a rounding error lies beyond them.
        shown = f"{value:g}" if value == np.rint(value) or float(f"{value:g}") != np.rint(value) else repr(value)
        return f"{shown} in cell {str(self.cell_names[start + cell])!r}, gene {str(gene)!r}"


def choose_counts(adata: AnnData, *, layer: str | None = None) -> Counts:
    """Find the raw counts of an AnnData, without changing it.

    Parameters
    ----------
    adata
        The object, in memory or backed; any container and numeric type, whole numbers as floats too.
    layer
        Place of the counts: a layer, ``"X"`` or ``"raw"``; by default the first of ``layers["counts"]``, ``X``, ``raw``
        that holds counts.

    Raises
    ------
    CountsError
        If no place holds raw counts; the error names what each of them holds.
    """
    refused: list[tuple[str, CountsError]] = []
    for source in counts_places(adata, layer):
        try:
            return open_counts(adata, source)
        except CountsError as error:
            refused.append((source.label, error))
    if not refused:
        raise CountsError(
            "adata has no matrix.",
            found="X is None, no layers['counts'], no raw",
            expected="raw counts, cells × genes",
            remedy="put the raw counts into adata.X or adata.layers['counts'].",
        )
    (_, first), *others = refused
    elsewhere = [] if layer is not None else _other_places(adata, {label for label, _ in refused})
    if not others and not elsewhere:
        raise first
    remedy = first.remedy
    if elsewhere:
        names = " or ".join(f"layer={name!r}" for name in elsewhere)
        remedy = f"pass {names}, which holds whole numbers, if these are the counts you mean; or {remedy}"
    raise CountsError(
        first.problem,
        found="; ".join([first.found, *(error.problem.rstrip(".") for _, error in others)]),
        expected=first.expected,
        remedy=remedy,
        argument=first.argument,
    )


def _other_places(adata: AnnData, tried: set[str]) -> list[str]:
    """Names of the other layers that hold counts, such as spliced and unspliced ones."""
    found = []
    for place in counts_places(adata, None, others=True):
        if place.label not in tried:
            try:
                open_counts(adata, place)
            except CountsError:
                continue
            found.append(place.label.removeprefix("layers['").removesuffix("']"))
    return found


def open_counts(adata: AnnData, source: CountsPlace) -> Counts:
    """Return the checked counts of one place.

    Raises
    ------
    CountsError
        If the place holds no counts.
    """
    counts = Counts(source.label, source.var_names, np.asarray(adata.obs_names), source.open())
    counts.check()
    return counts


class _Block:
    """A block of cells that can be read as a whole matrix is."""

    on_disk = False

    def __init__(self, block: sparse.csr_matrix) -> None:
        self.shape, self.dtype, self._block = (block.shape[0], block.shape[1]), block.dtype, block

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        return self._block[start:stop]

    def runs(self) -> Any:
        return iter([(0, self.shape[0])])
