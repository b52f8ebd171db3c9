"""Matrices between R and Python: R's columns are Python's rows, so nothing is transposed, and everything copied once.

R holds genes × cells by columns (CSC), Python cells × genes by rows (CSR): the same three arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from celloquy.errors import ArgumentError

LARGEST_IN_R = 2**31 - 1
"""Most values that a matrix of R holds."""


TYPES: dict[str, np.dtype[Any]] = {"double": np.dtype(np.float64), "integer": np.dtype(np.int32)}
"""Types of R's vectors."""


def memory_at(place: Mapping[str, Any]) -> np.ndarray:
    """Return the memory of a vector of R, to be read or, if R has just made it for that, filled.

    Parameters
    ----------
    place
        ``address``, ``length`` and ``type`` of a vector that R keeps for as long as the array is used.
    """
    dtype, length = TYPES[place["type"]], int(place["length"])
    if not length:
        return np.empty(0, dtype)
    memory = (ctypes.c_char * (length * dtype.itemsize)).from_address(int(place["address"]))
    return np.frombuffer(memoryview(memory), dtype)


def assemble_rows(pieces: Sequence[dict[str, Any]], cells: int, genes: int, *, borrow: bool = False) -> sp.csr_matrix:
    """Return cells × genes made of R's sparse matrices.

    Parameters
    ----------
    pieces
        ``matrix``: genes × cells of the piece, where ``i``, ``p`` and ``x`` of R's dgCMatrix lie; ``cells``,
        ``genes``: which of all they are, increasing; None: all. No cell is in two pieces.
    cells, genes
        How many there are in all. What no piece covers is zero.
    borrow
        Share R's memory where one piece is all: the result must not be changed, nor outlive R's matrix.
    """
    pieces = [piece | {"matrix": {slot: memory_at(piece["matrix"][slot]) for slot in "ipx"}} for piece in pieces]
    if len(pieces) == 1 and pieces[0]["cells"] is None and pieces[0]["genes"] is None:
        arrays = [pieces[0]["matrix"][slot] for slot in "xip"]
        for array in arrays:
            array.flags.writeable = False
        return sp.csr_matrix(tuple(arrays if borrow else map(np.copy, arrays)), shape=(cells, genes), copy=False)
    lengths = np.zeros(cells + 1, np.int64)
    for piece in pieces:
        rows = slice(None) if piece["cells"] is None else np.asarray(piece["cells"])
        lengths[1:][rows] = np.diff(piece["matrix"]["p"])
    indptr = np.cumsum(lengths)
    if indptr[-1] <= LARGEST_IN_R:
        indptr = indptr.astype(np.int32)
    data, indices = np.empty(indptr[-1], np.float64), np.empty(indptr[-1], indptr.dtype)
    for piece in pieces:
        matrix = piece["matrix"]
        rows = np.arange(cells) if piece["cells"] is None else np.asarray(piece["cells"])
        columns = None if piece["genes"] is None else np.asarray(piece["genes"], indices.dtype)
        # Runs of neighbouring cells are copied as a whole.
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            if first == last:
                continue
            source = slice(matrix["p"][first], matrix["p"][last])
            target = slice(indptr[rows[first]], indptr[rows[last - 1] + 1])
            data[target] = matrix["x"][source]
            indices[target] = matrix["i"][source] if columns is None else columns[matrix["i"][source]]
    return sp.csr_matrix((data, indices, indptr), shape=(cells, genes), copy=False)


def dense_rows(matrix: np.ndarray, cells: Sequence[int] | None = None, n_cells: int | None = None) -> np.ndarray:
    """Return cells × columns from R's columns × cells; rows of cells that are not among ``cells`` are NaN."""
    if cells is None:
        return np.array(matrix.T, order="C")
    rows = np.full((len(cells) if n_cells is None else n_cells, matrix.shape[0]), np.nan)
    rows[np.asarray(cells, int)] = matrix.T
    return rows


def matrix_to_r(
    matrix: Any, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None, *, transposed: bool = True
) -> dict[str, Any]:
    """Return a matrix, or some of its rows and columns, as the arrays that :func:`copy_into` gives R.

    Parameters
    ----------
    matrix
        Cells × genes, sparse or dense.
    rows, columns
        Which, in this order; None: all.
    transposed
        Give R genes × cells (columns × rows), as matrices of expression want; else the same orientation.

    Raises
    ------
    ArgumentError
        If R can't hold it: more than 2³¹ − 1 values.
    """
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    if rows is not None:
        matrix = matrix[np.asarray(rows, int)]
    if columns is not None:
        matrix = matrix[:, np.asarray(columns, int)]
    check_size(matrix)
    if not is_sparse(matrix):
        dense = np.asarray(matrix)
        return {"dense": numbers_to_r(dense.T if transposed else dense), "dtype": str(dense.dtype)}
    dtype = str(matrix.dtype)
    given = matrix
    matrix = matrix.tocsr() if transposed else matrix.tocsc()
    if not matrix.has_canonical_format:
        matrix = matrix.copy() if matrix is given else matrix
        matrix.sum_duplicates()
    shape = (matrix.shape[1], matrix.shape[0]) if transposed else matrix.shape
    return {
        "i": matrix.indices,
        "p": matrix.indptr,
        "x": matrix.data,
        "shape": np.array(shape, np.int32),
        "dtype": dtype,
        "format": given.format,
    }


def copy_into(place: Mapping[str, Any], values: np.ndarray) -> None:
    """Write values into the vector that R has made for them, see :func:`memory_at`, in its type."""
    np.copyto(memory_at(place), values, casting="unsafe")


def is_sparse(matrix: Any) -> bool:
    """Whether a matrix, or an array, of scipy's is sparse."""
    return bool(sp.issparse(matrix))


def check_size(matrix: Any) -> None:
    """Refuse what R can't hold."""
    sparse = is_sparse(matrix)
    values = int(matrix.nnz) if sparse else int(np.prod(matrix.shape, dtype=object))
    if values > LARGEST_IN_R:
        raise ArgumentError(
            "A matrix is too large for R's memory.",
            found=f"{values:,} {'non-zeros' if sparse else 'values'}, {matrix.shape[0]:,} × {matrix.shape[1]:,}",
            expected=f"at most 2³¹ − 1 = {LARGEST_IN_R:,}",
            remedy="select cells or genes first, or leave it on disk: work on the .h5ad file, which has no such limit.",
        )


def numbers_to_r(values: np.ndarray) -> np.ndarray:
    """Return an array in the nearest type that R has."""
    if values.dtype.kind == "b" or values.dtype in (np.dtype(np.int32), np.dtype(np.float64)):
        return values
    if values.dtype.kind in "iu" and values.dtype.itemsize < 4:
        return values.astype(np.int32)
    return values.astype(np.float64)
