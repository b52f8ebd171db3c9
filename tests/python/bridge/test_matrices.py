"""Matrices cross to R and back as they were, whatever their form: each side of the crossing is tried on its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from celloquy.bridge.matrices import LARGEST_IN_R, assemble_rows, copy_into, dense_rows, matrix_to_r
from celloquy.errors import ArgumentError

FORMATS = ("csr", "csc", "coo", "csr_array", "dense")


@st.composite
def matrices(draw):
    """A matrix, and the same dense: any format and type, with empty sides and, in coo, values in two parts."""
    rows, columns = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint8, bool]))
    dense = (random.integers(0, 200, (rows, columns)) * (random.random((rows, columns)) < 0.4)).astype(dtype)
    form = draw(st.sampled_from(FORMATS))
    if form == "dense":
        return dense, dense
    if form == "csr_array":
        return sparse.csr_array(dense), dense
    matrix = sparse.coo_matrix(dense)
    if form == "coo" and dtype is np.float64 and matrix.nnz:
        halves = (
            np.r_[matrix.data / 2, matrix.data / 2],
            (np.r_[matrix.row, matrix.row], np.r_[matrix.col, matrix.col]),
        )
        matrix = sparse.coo_matrix(halves, shape=dense.shape)
    return matrix.asformat(form), dense


def place_of(array):
    """What R says of a vector."""
    kind = {np.dtype(np.float64): "double", np.dtype(np.int32): "integer"}[array.dtype]
    return {"address": float(array.ctypes.data), "length": len(array), "type": kind}


def places_of(matrix):
    """What R says of a dgCMatrix; the matrix must be kept."""
    return {
        slot: place_of(array) for slot, array in zip("ipx", (matrix.indices, matrix.indptr, matrix.data), strict=True)
    }


def in_r(crossing):
    """The matrix that R makes: by columns, in its own types."""
    if "dense" in crossing:
        return crossing["dense"]
    arrays = []
    for slot, dtype in (("x", np.float64), ("i", np.int32), ("p", np.int32)):
        memory = np.zeros(len(crossing[slot]), dtype)
        copy_into(place_of(memory), crossing[slot])
        arrays.append(memory)
    return sparse.csc_matrix(tuple(arrays), shape=crossing["shape"]).toarray()


@given(matrices(), st.booleans())
def test_r_gets_the_values_of_any_matrix(pair, transposed):
    matrix, dense = pair
    before = matrix.copy()
    assert np.array_equal(in_r(matrix_to_r(matrix, transposed=transposed)), dense.T if transposed else dense)
    assert type(matrix) is type(before)
    assert (matrix != before).sum() == 0


@given(matrices(), st.data())
def test_r_gets_the_rows_and_columns_it_asks_for(pair, data):
    matrix, dense = pair
    rows = data.draw(
        st.none() | st.lists(st.integers(0, max(dense.shape[0] - 1, 0)), max_size=5 if dense.shape[0] else 0)
    )
    columns = data.draw(
        st.none() | st.lists(st.integers(0, max(dense.shape[1] - 1, 0)), max_size=5 if dense.shape[1] else 0)
    )
    wanted = dense if rows is None else dense[rows]
    wanted = wanted if columns is None else wanted[:, columns]
    assert np.array_equal(
        in_r(matrix_to_r(matrix.tocsr() if sparse.issparse(matrix) else matrix, rows, columns)), wanted.T
    )


@st.composite
def split_layers(draw):
    """Cells × genes, and the pieces that R has of it: each of other cells, and of genes of its own."""
    cells, genes, parts = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    of = random.integers(-1, parts, cells)
    whole, pieces = np.zeros((cells, genes)), []
    for part in range(parts):
        mine, its = np.flatnonzero(of == part), np.flatnonzero(random.random(genes) < 0.7)
        block = random.integers(0, 3, (len(its), len(mine))).astype(float)
        whole[np.ix_(mine, its)] = block.T
        matrix = sparse.csc_matrix(block)
        every = len(its) == genes and random.random() < 0.5
        pieces.append({"matrix": places_of(matrix), "cells": mine, "genes": None if every else its, "kept": matrix})
    return whole, pieces


@given(split_layers())
def test_pieces_of_a_layer_become_one(split):
    whole, pieces = split
    matrix = assemble_rows(pieces, *whole.shape)
    assert matrix.has_canonical_format
    assert np.array_equal(matrix.toarray(), whole)


def test_one_piece_is_copied_or_borrowed():
    given = sparse.random(5, 4, 0.5, format="csc", random_state=0)
    before = given.toarray()
    piece = {"matrix": places_of(given), "cells": None, "genes": None}
    copied, borrowed = assemble_rows([piece], 4, 5), assemble_rows([piece], 4, 5, borrow=True)
    for matrix in (copied, borrowed):
        assert np.array_equal(matrix.toarray(), before.T)
    assert borrowed.data.ctypes.data == given.data.ctypes.data
    with pytest.raises(ValueError, match="read-only"):
        borrowed.data *= 2
    copied.data *= 2
    assert np.array_equal(given.toarray(), before)


def test_dense_rows_of_some_cells_leave_the_others_empty():
    rows = dense_rows(np.array([[1.0, 2.0], [3.0, 4.0]]), [2, 0], 3)
    assert np.array_equal(rows, [[2, 4], [np.nan, np.nan], [1, 3]], equal_nan=True)


class Huge:
    """A sparse matrix with more values than one of R holds, by its own account."""

    format, shape, nnz = "csr", (10**6, 10**5), LARGEST_IN_R + 1


def test_more_values_than_r_holds_are_refused(monkeypatch):
    monkeypatch.setattr("celloquy.bridge.matrices.is_sparse", lambda matrix: isinstance(matrix, Huge))
    with pytest.raises(ArgumentError, match=r"2,147,483,648 non-zeros[\s\S]*leave it on disk"):
        matrix_to_r(Huge())
