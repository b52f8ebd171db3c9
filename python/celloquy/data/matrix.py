"""Read one matrix of an AnnData, in any container, a run of cells at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.checks import check_name
from celloquy.errors import ArgumentError, CountsError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

Array = NDArray[Any]

RUN_ENTRIES = 2**22
"""Number of entries read at a time when a whole matrix on disk is read."""
CACHED_ENTRIES = 2**18
"""Number of entries read at a time in memory: what fits into the cache of a CPU is read several times as fast."""
MEMORY_BYTES = 2**30
"""Default size in bytes up to which a matrix in columns on disk is turned to rows in memory; a larger one is turned to
rows in a temporary file."""


class CountRows(Protocol):
    """Cells × genes that can be read by cells."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    on_disk: bool

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Return a run of cells: columns in rising order, none twice, no zeros. Values may be views of the object."""

    def runs(self) -> Iterator[tuple[int, int]]:
        """Cut all cells into runs of bounded size."""


class CountsPlace:
    """A place of an AnnData where counts may be.

    Parameters
    ----------
    label
        Name of the place as a user writes it: ``"X"``, ``"raw"``, ``"layers['counts']"``.
    matrix
        Matrix at the place.
    var
        Annotation of its columns.
    owner
        Object that the place is in, and the argument that names the place, for messages.
    """

    def __init__(self, label: str, matrix: Any, var: pd.DataFrame, owner: Owner) -> None:
        self.label, self._matrix, self.var, self.owner = label, matrix, var, owner
        self.var_names: Array = np.asarray(var.index, dtype=str)

    def __str__(self) -> str:
        return f"{self.label} of {self.owner.name}"

    def open(self, memory: int = MEMORY_BYTES) -> CountRows:
        """Return the matrix as rows of cells.

        Parameters
        ----------
        memory
            Size in bytes up to which a matrix in columns on disk is turned to rows in memory, not in a file.

        Raises
        ------
        CountsError
            If there is no matrix, or its container or type can't hold counts.
        """
        return _open(self._matrix, self, memory)


def check_anndata(adata: object, argument: str = "adata") -> None:
    """Check that an argument is an AnnData.

    Raises
    ------
    ArgumentError
        If it is something else.
    """
    from anndata import AnnData

    if not isinstance(adata, AnnData):
        raise ArgumentError(
            "This is not an AnnData.",
            found=f"{type(adata).__module__}.{type(adata).__qualname__}",
            expected="an AnnData of cells × genes",
            remedy="read it first, e.g. with anndata.read_h5ad(path); of several modalities pass the RNA.",
            argument=argument,
        )


@dataclass(frozen=True)
class Owner:
    """An object that counts are looked for in, as messages call it."""

    name: str = "adata"
    argument: str = "layer"
    """Name of the argument that names the place of its counts."""


def counts_places(
    adata: AnnData, layer: str | None, *, others: bool = False, owner: Owner = Owner()
) -> Iterator[CountsPlace]:  # fmt: skip
    """Yield the places where counts may be, in order: the given layer, or ``layers["counts"]``, ``X`` and ``raw``.

    Parameters
    ----------
    adata
        The object.
    layer
        A layer, ``"X"`` or ``"raw"``; None yields those of the three places that exist.
    others
        Yield all other layers after them.
    owner
        Object and argument, for messages.
    """
    from celloquy import keys

    check_anndata(adata, owner.name)
    if layer is not None:
        check_name(owner.argument, layer, 'the name of one layer, "X" or "raw"')
    # anndata knows of a file without X only that it can't be read.
    own = None if adata.isbacked and "X" not in adata.file else adata.X
    present = list(adata.layers.keys())
    names = [keys.COUNTS_LAYER, "X", "raw"] if layer is None else [layer]
    if layer is None and others:
        names += [name for name in present if name != keys.COUNTS_LAYER]
    for name in names:
        # A layer may be called "X" or "raw", which are no names of layers here.
        if name == "X" and own is not None:
            yield CountsPlace("X", own, adata.var, owner)
        elif name == "raw" and adata.raw is not None:
            yield CountsPlace("raw", adata.raw.X, adata.raw.var, owner)
        elif name in present and (layer is not None or name not in ("X", "raw")):
            yield CountsPlace(f"layers[{name!r}]", adata.layers[name], adata.var, owner)
        elif name == "X" and layer is not None:
            yield CountsPlace("X", None, adata.var, owner)
        elif layer is not None:
            places = [*present, *(["X"] if own is not None else []), *(["raw"] if adata.raw is not None else [])]
            raise CountsError(
                f"There is no layer {layer!r} in {owner.name}.",
                found=", ".join(repr(str(place)) for place in places) or "no matrix at all",
                expected=f'a key of {owner.name}.layers, "X" or "raw"',
                remedy=f"pass one of those found as `{owner.argument}`, or leave it out: the counts are then looked "
                "for.",
                argument=owner.argument,
            )


def _open(matrix: Any, place: CountsPlace, memory: int) -> CountRows:
    """Return a matrix as rows of cells; see :meth:`CountsPlace.open`."""
    if matrix is None:
        raise CountsError(
            f"{place} is empty.",
            found="None",
            expected="a matrix of raw counts, cells × genes",
            remedy=f"set {place.owner.name}.{place.label}, or pass as `{place.owner.argument}` where the counts are.",
        )
    rows = _rows(matrix, place, memory)
    if rows.shape[0] == 0 or rows.shape[1] == 0:
        missing = "cells" if rows.shape[0] == 0 else "genes"
        raise CountsError(
            f"{place} has no {missing}.",
            found=f"{rows.shape[0]:,} cells × {rows.shape[1]:,} genes",
            expected="at least one cell and one gene",
            remedy=f"check the step that filtered the {missing}: it kept none.",
        )
    return rows


def _rows(matrix: Any, place: CountsPlace, memory: int) -> CountRows:
    _require_numbers(matrix, place)
    if sparse.issparse(matrix):
        rows: Any = matrix
        if rows.format in ("csr", "csc"):
            # anndata takes what a file has for right.
            by_rows = rows.format == "csr"
            _check_pointers(rows.indptr, rows.shape[0 if by_rows else 1], min(len(rows.indices), len(rows.data)))
            if not by_rows:
                _check_indices(rows.indices, rows.shape[0])
        if rows.format != "csr":
            # coo.tocsr() adds entries of the same place in their own type: uint8 would overflow.
            rows = (rows.astype(np.float64) if rows.format == "coo" else _native(rows)).tocsr()
        return _CompressedRows(rows.indptr, rows.indices, rows.data, rows.shape, on_disk=False)
    if getattr(matrix, "format", None) in ("csr", "csc") and hasattr(matrix, "group"):
        group, by_rows = matrix.group, matrix.format == "csr"
        with _from_disk():
            shape, indptr = (int(matrix.shape[0]), int(matrix.shape[1])), np.asarray(group["indptr"][:])
            indices, data = group["indices"], group["data"]
            _check_pointers(indptr, shape[0 if by_rows else 1], min(indices.shape[0], data.shape[0]))
        if by_rows:
            return _CompressedRows(indptr, indices, data, shape, on_disk=True)
        return _transposed(indptr, indices, data, shape, memory)
    on_disk = type(matrix).__module__.split(".")[0] in ("h5py", "zarr")
    if (isinstance(matrix, np.ndarray) and not np.ma.isMaskedArray(matrix)) or on_disk:
        return _DenseRows(matrix, on_disk=on_disk)
    raise CountsError(
        f"{place} is in a container that can't be read.",
        found=f"{type(matrix).__module__}.{type(matrix).__qualname__}",
        expected="a numpy array, a scipy sparse matrix, or an AnnData opened with backed='r'",
        remedy="adata.to_memory(), or convert it with scipy.sparse.csr_matrix().",
    )


def _require_numbers(matrix: Any, place: CountsPlace) -> None:
    with _from_disk():
        dtype = np.dtype(getattr(matrix, "dtype", object))
    if dtype.kind in "iuf":
        return
    kind = {"b": "true and false", "c": "complex numbers"}.get(dtype.kind, "text or Python objects")
    there = f"{place.owner.name}.{place.label}"
    remedy = (
        f"pass `{place.owner.argument}` of the counts: whether a gene was detected is not a count."
        if dtype.kind == "b"
        else f"convert it, e.g. {there} = {there}.astype('float32'), if these are counts."
    )
    raise CountsError(
        f"{place} does not hold numbers that count.",
        found=f"{kind} (dtype {dtype})",
        expected="raw counts as integers or floats",
        remedy=remedy if place.label != "raw" else f"set {there} from an object that holds raw counts.",
    )


class _CompressedRows:
    """Sparse rows in memory or on disk; a run reads only its own slices of the arrays."""

    def __init__(self, indptr: Array, indices: Any, data: Any, shape: tuple[int, int], *, on_disk: bool) -> None:
        self.shape, self.dtype, self.on_disk = (int(shape[0]), int(shape[1])), np.dtype(data.dtype), on_disk
        self._indptr, self._indices, self._data = np.asarray(indptr), indices, data

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        with _from_disk() if self.on_disk else nullcontext():
            data, indices = np.asarray(self._data[first:last]), np.asarray(self._indices[first:last])
        # What scipy is given it takes for right, and reads beyond its arrays where it isn't.
        _check_indices(indices, self.shape[1])
        pieces = (_native(data), _native(indices), self._indptr[start : stop + 1] - first)
        return _canonical(sparse.csr_matrix(pieces, shape=(stop - start, self.shape[1])))

    def runs(self) -> Iterator[tuple[int, int]]:
        start, entries = 0, RUN_ENTRIES if self.on_disk else CACHED_ENTRIES
        while start < self.shape[0]:
            fits = int(np.searchsorted(self._indptr, self._indptr[start] + entries, side="right")) - 1
            # Nearly empty cells must not become one run, because arrays with an entry a cell are bounded too.
            stop = min(max(fits, start + 1), start + entries, self.shape[0])
            yield start, stop
            start = stop


class RoundedRows:
    """Rows whose values are rounded to whole numbers as they are read."""

    def __init__(self, rows: CountRows) -> None:
        self.shape, self.dtype, self.on_disk, self._rows = rows.shape, rows.dtype, rows.on_disk, rows
        self.runs = rows.runs

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        """Return a run of cells, rounded, without zeros."""
        block = self._rows.read(start, stop)
        return _canonical(sparse.csr_matrix((np.rint(block.data), block.indices, block.indptr), shape=block.shape))


class _DenseRows:
    """Dense rows, in memory or on disk."""

    def __init__(self, values: Any, *, on_disk: bool) -> None:
        self.shape, self.dtype = (int(values.shape[0]), int(values.shape[1])), np.dtype(values.dtype)
        self.on_disk, self._values = on_disk, values

    def read(self, start: int, stop: int) -> sparse.csr_matrix:
        with _from_disk() if self.on_disk else nullcontext():
            values = np.asarray(self._values[start:stop])
        return sparse.csr_matrix(_native(values))

    def runs(self) -> Iterator[tuple[int, int]]:
        step = max(1, RUN_ENTRIES // self.shape[1])
        return ((start, min(start + step, self.shape[0])) for start in range(0, self.shape[0], step))


@contextmanager
def _from_disk() -> Iterator[None]:
    """Raise what the libraries of a damaged file raise, which is whatever its bytes make them, as our error."""
    try:
        yield
    except CountsError:
        raise
    except Exception as error:
        raise _damaged((str(error).splitlines() or [type(error).__name__])[0]) from error


def _damaged(found: str) -> CountsError:
    return CountsError(
        "The matrix in the file can't be read.",
        found=found,
        expected="a whole file that anndata wrote",
        remedy="copy or write the file anew: a part of it is damaged.",
    )


def _check_pointers(indptr: Array, rows: int, entries: int) -> None:
    """Check the places in a file where the rows of a sparse matrix begin."""
    if len(indptr) != rows + 1 or indptr[0] != 0 or indptr[-1] > entries or (np.diff(indptr) < 0).any():
        raise _damaged(f"rows that begin at other places than {rows:,} rows of {entries:,} entries do")


def _check_indices(indices: Array, columns: int) -> None:
    """Check the columns of the entries of a sparse matrix in a file."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < columns:
        raise _damaged(f"an entry in column {int(indices.max()):,} or {int(indices.min()):,} of {columns:,}")


def _native(values: Any) -> Any:
    """Return the values in a type that scipy's sparse code handles; values of such a type are not copied."""
    native = {np.float16: np.float32, np.longdouble: np.float64}.get(values.dtype.type, values.dtype.newbyteorder("="))
    return values.astype(native, copy=False)


def _canonical(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Sort columns, sum duplicates, drop zeros; it changes a copy, because the arrays may be the caller's."""
    # What is canonical is sorted, too, so that the rule takes one look.
    if not block.has_canonical_format and not block.has_sorted_indices:
        block = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=block.shape, copy=True)
        block.sort_indices()
    if not block.has_canonical_format:
        # In double precision, because the sum of uint8 counts would overflow and that of float32 counts would round.
        block = block.astype(np.float64)
        block.sum_duplicates()
    if not np.all(block.data):
        block = block.copy()
        block.eliminate_zeros()
    return block


def _transposed(indptr: Array, indices: Any, data: Any, shape: tuple[int, int], memory: int) -> CountRows:
    """Turn columns on disk to rows, in two passes over the file and in bounded memory.

    Columns have to be read as a whole for each run of cells.
    """
    n_cells, n_entries, dtype = shape[0], int(indptr[-1]), np.dtype(data.dtype)
    chunks = [(first, min(first + RUN_ENTRIES, n_entries)) for first in range(0, n_entries, RUN_ENTRIES)]
    per_cell = np.zeros(n_cells, dtype=np.int64)
    for first, last in chunks:
        with _from_disk():
            cell = np.asarray(indices[first:last])
        _check_indices(cell, n_cells)
        per_cell += np.bincount(cell, minlength=n_cells)
    starts = np.concatenate([[0], np.cumsum(per_cell)])
    new = _allocator(n_entries * (4 + dtype.itemsize), memory)
    columns, values = new(n_entries, np.dtype(np.int32)), new(n_entries, dtype)
    free = starts[:-1].copy()
    for first, last in chunks:
        cell = np.asarray(indices[first:last])
        order = np.argsort(cell, kind="stable")
        here = np.bincount(cell, minlength=n_cells)
        # Within a cell the entries of this chunk follow those of earlier chunks, so genes stay in rising order.
        place = np.arange(last - first) + np.repeat(free - np.cumsum(here) + here, here)
        gene = np.searchsorted(indptr, np.arange(first, last), side="right") - 1
        columns[place] = gene[order]
        with _from_disk():
            values[place] = np.asarray(data[first:last])[order]
        free += here
    return _CompressedRows(starts, columns, values, shape, on_disk=True)


def _allocator(needed: int, memory: int) -> Callable[[int, np.dtype[Any]], Array]:
    """Return a function that makes the arrays of a matrix: in memory, or in a file that is deleted with them."""
    if needed <= memory:
        return lambda size, dtype: np.empty(size, dtype)
    folder = tempfile.gettempdir()
    if needed > (free := shutil.disk_usage(folder).free):
        raise CountsError(
            "The file holds its matrix column by column (CSC), and there is no room to turn it to rows.",
            found=f"{free / 1e9:.1f} GB free in {folder}, {needed / 1e9:.1f} GB needed",
            expected="a matrix saved row by row (CSR), or room for a temporary copy",
            remedy="set TMPDIR to a larger disk, or save the file once with a CSR matrix (adata.X.tocsr()).",
        )

    def new(size: int, dtype: np.dtype[Any]) -> Array:
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, dtype=dtype, mode="w+", shape=(size,))

    return new
