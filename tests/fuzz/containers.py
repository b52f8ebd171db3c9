"""Oddities of values, of where and how they are stored, and of what lies beside them; see ``oddities``."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from oddities import some_names
from specimens import End, Specimen


# --- values ----------------------------------------------------------------------------------------------------------
def changed(s: Specimen, change: Any) -> End:
    """Change some stored values."""
    if not s.counts.nnz:
        return End.EITHER
    which = s.random.integers(0, s.counts.nnz, max(1, s.counts.nnz // 50))
    s.counts.data[which] = change(s.counts.data[which])
    return End.REFUSAL


def with_nan(s: Specimen) -> End:
    return changed(s, lambda values: np.nan)


def with_infinity(s: Specimen) -> End:
    return changed(s, lambda values: np.inf)


def with_negative(s: Specimen) -> End:
    return changed(s, lambda values: -values - 1)


def with_fractions(s: Specimen) -> End:
    return changed(s, lambda values: values + 0.5)


def almost_whole(s: Specimen) -> End:
    return changed(s, lambda values: values + 1e-5)


def rounded(s: Specimen) -> None:
    """Estimated counts that are to be rounded."""
    if s.counts.nnz:
        s.true_counts = s.counts.copy()
        # Where hardly any value is whole, they are logarithms.
        s.counts.data += s.random.uniform(-0.3, 0.3, s.counts.nnz) * (s.random.random(s.counts.nnz) < 0.5)
    s.options["counts"] = "round"


def log_normalised(s: Specimen) -> End:
    if s.counts.nnz < 20:
        return End.EITHER
    total = np.maximum(np.asarray(s.counts.sum(axis=1)).ravel(), 1)
    s.counts = sparse.csr_matrix(sparse.diags(1e4 / total) @ s.counts).log1p()
    return End.REFUSAL if s.shape[0] > 1 else End.EITHER


def scaled(s: Specimen) -> End:
    dense = s.counts.toarray()
    s.counts = sparse.csr_matrix((dense - dense.mean()) / (dense.std() or 1)) if dense.size else s.counts
    return End.REFUSAL if s.counts.nnz > 1 and s.counts.data.min() < 0 else End.EITHER


def huge_counts(s: Specimen) -> End:
    changed(s, lambda values: 10.0 ** s.random.integers(6, 38))
    return End.EITHER


# --- place -----------------------------------------------------------------------------------------------------------
def in_layer(s: Specimen) -> None:
    s.place = "counts"


def in_other_layer(s: Specimen) -> None:
    s.place = str(s.random.choice(["raw_counts", "spliced", "x y", "é"]))
    s.options["layer"] = s.place


def in_raw(s: Specimen) -> None:
    s.place = "raw"


def in_raw_by_name(s: Specimen) -> None:
    s.place, s.options["layer"] = "raw", "raw"


def unknown_layer(s: Specimen) -> End:
    s.options["layer"] = ["nowhere", 3, ["counts"], "", b"X"][s.random.integers(5)]
    return End.REFUSAL


# --- container -------------------------------------------------------------------------------------------------------
def stored_as(make: Any, name: str) -> Any:
    def container(s: Specimen) -> None:
        s.form = make

    container.__name__ = name
    return container


def unsorted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Indices of each row in falling order, and each count as two entries."""
    parts = [np.repeat(np.arange(matrix.shape[1])[::-1], 1)]
    flipped = matrix[:, parts[0]]
    indices = (matrix.shape[1] - 1 - flipped.indices).astype(np.int32)
    return sparse.csr_matrix((flipped.data, indices, flipped.indptr), shape=matrix.shape)


def doubled(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    half = np.floor(matrix.data / 2)
    data = np.column_stack([half, matrix.data - half]).ravel()
    return sparse.csr_matrix((data, np.repeat(matrix.indices, 2), matrix.indptr * 2), shape=matrix.shape)


def with_zeros(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    full = matrix.toarray()
    indptr = np.arange(0, full.size + 1, max(full.shape[1], 1))[: full.shape[0] + 1]
    if full.shape[1] == 0:
        return matrix
    return sparse.csr_matrix((full.ravel(), np.tile(np.arange(full.shape[1]), full.shape[0]), indptr), full.shape)


def long_indices(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    long = matrix.copy()
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    return long


def read_only(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


FORMS = {
    "csc": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "dense": lambda m: m.toarray(),
    "dense_fortran": lambda m: np.asfortranarray(m.toarray()),
    "dense_read_only": lambda m: np.broadcast_to(m.toarray(), m.shape),
    "float32": lambda m: m.astype(np.float32),
    "unsorted": unsorted,
    "doubled": doubled,
    "with_zeros": with_zeros,
    "long_indices": long_indices,
    "read_only": read_only,
}
NARROW = ("int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "uint8")


def whole_numbers(kind: str) -> Any:
    def container(s: Specimen) -> End | None:
        low, high = (0, 2000) if kind == "float16" else (np.iinfo(kind).min, np.iinfo(kind).max)
        fits = np.isfinite(s.counts.data).all() and s.counts.data.max(initial=0) <= high
        if not fits or s.counts.data.min(initial=0) < low or not np.array_equal(s.counts.data, np.rint(s.counts.data)):
            return None
        dense = kind == "float16" or s.random.random() < 0.5
        s.form = lambda m: m.toarray().astype(kind) if dense else m.astype(kind)
        return None

    container.__name__ = f"whole_{kind}"
    return container


# --- what lies beside ------------------------------------------------------------------------------------------------
def odd_uns(s: Specimen) -> None:
    n = s.shape[0]
    values = [
        {"a": {"b": {"c": np.arange(3)}}}, [1, "a", None], None, pd.DataFrame({"x": [1, 2]}), np.zeros((0, 3)),
        np.array(["a", "b"]), 3, "text", {"": 1}, sparse.csr_matrix((2, 2)), (1, 2), True, np.float32(1), {1: "key"},
        lambda: None, {"celloquy": 5}, np.array([("a", 1)], dtype=[("n", "U3"), ("m", "i4")]), np.arange(n), {"a/b": 1},
    ]  # fmt: skip
    for name in [*some_names(s, 2), str(s.random.choice(["celloquy", "spatial", "log1p", "neighbors", "celloquy"]))]:
        s.uns[name] = values[s.random.integers(len(values))]


def odd_obsm(s: Specimen) -> None:
    n = s.shape[0]
    values = [
        np.full((n, 3), np.nan), np.zeros((n, 0)), pd.DataFrame({"a/b": range(n)}, index=s.obs.index),
        sparse.csr_matrix((n, 4)), np.zeros((n, 2, 3)), np.zeros((n, 2), dtype=int),
        pd.DataFrame({"c": pd.Categorical(["x"] * n)}, index=s.obs.index),
    ]  # fmt: skip
    for name in some_names(s, 3):
        if name and name not in s.obsm:
            s.obsm[name] = values[s.random.integers(len(values))]
    if n:
        s.obsp["distances"] = sparse.csr_matrix((n, n))
    s.varm["PCs"] = s.random.random((s.shape[1], 2))


def older_results(s: Specimen) -> None:
    """Results of celloquy, of another call or in another's words."""
    n = s.shape[0]
    s.obsm["X_celloquy"] = [np.zeros((n, 2)), sparse.csr_matrix((n, 2)), pd.DataFrame({"a": np.zeros(n)}, s.obs.index)][
        s.random.integers(3)
    ]
    s.uns["celloquy"] = [{}, {"X_celloquy": 1}, "x", {"celloquy_label": {"parameters": {"label_key": "fine"}}}, 3][
        s.random.integers(5)
    ]
    s.obs["celloquy_label"] = "old"


def odd_layers(s: Specimen) -> None:
    for name in some_names(s, 2):
        # A layer of that name is where counts are looked for first.
        s.layers["layer" if name in ("", "counts") else name] = [
            np.full(s.shape, np.nan),
            sparse.csc_matrix(s.shape),
            np.zeros(s.shape, bool),
        ][s.random.integers(3)]


def smaller_raw(s: Specimen) -> None:
    if s.shape[1] and s.place != "raw":
        s.raw = (np.full((s.shape[0], 1), 0.37), s.var.iloc[:1].copy())


# --- the object itself -----------------------------------------------------------------------------------------------
def as_view(s: Specimen) -> None:
    def view(s: Specimen, adata: ad.AnnData) -> ad.AnnData:
        return adata[np.arange(adata.n_obs)]

    s.finish = view


def as_view_of_genes(s: Specimen) -> None:
    def view(s: Specimen, adata: ad.AnnData) -> ad.AnnData:
        return adata[:, np.arange(adata.n_vars)]

    s.finish = view


def copied(s: Specimen) -> None:
    s.finish = lambda s, adata: adata.copy()


STAGES: list[list[Any]] = [
    [
        with_nan, with_infinity, with_negative, with_fractions, almost_whole, rounded, log_normalised, scaled,
        huge_counts,
    ],
    [in_layer, in_other_layer, in_raw, in_raw_by_name, unknown_layer],
    [*(stored_as(make, name) for name, make in FORMS.items()), *map(whole_numbers, NARROW)],
    [odd_uns, older_results],
    [odd_obsm, odd_layers, smaller_raw],
    [as_view, as_view_of_genes, copied],
]  # fmt: skip
