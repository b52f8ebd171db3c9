"""AnnData made of what R sends, and what R must know of an AnnData before it asks for its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy.bridge.columns import column_to_r
from celloquy.bridge.matrices import assemble_rows, dense_rows, is_sparse
from celloquy.bridge.values import frame_from_r, value_from_r
from celloquy.data import features
from celloquy.data.tables import text_array

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def make_anndata(parts: dict[str, Any], borrow: bool = False) -> AnnData:
    """Return an AnnData of R's parts, every one copied once: what is R's may change or vanish.

    Parameters
    ----------
    parts
        ``obs``, ``var``: frames, as :func:`~celloquy.bridge.values.frame_from_r` reads them. ``X``, ``layers``:
        matrices of genes × cells, or the pieces of one. ``obsm``, ``varm``: matrices with the rows that AnnData wants,
        or values; ``obsp``, ``varp``: square matrices. ``uns``: values. ``plain``: what goes into ``uns`` as it is.
        ``raw``: ``X``, ``var`` and ``varm`` of other genes.
    borrow
        Don't copy sparse layers, see :func:`~celloquy.bridge.matrices.assemble_rows`.
    """
    from anndata import AnnData

    obs, var = frame_from_r(parts["obs"]), frame_from_r(parts["var"])
    cells, genes = len(obs), len(var)
    adata = AnnData(
        X=None if parts.get("X") is None else _layer(parts["X"], cells, genes, borrow),
        obs=obs,
        var=var,
        layers={key: _layer(layer, cells, genes, borrow) for key, layer in parts.get("layers", {}).items()},
        obsm={key: _rows(rows, cells) for key, rows in parts.get("obsm", {}).items()},
        varm={key: _rows(rows, genes) for key, rows in parts.get("varm", {}).items()},
        obsp={key: _square(matrix) for key, matrix in parts.get("obsp", {}).items()},
        varp={key: _square(matrix) for key, matrix in parts.get("varp", {}).items()},
        uns={key: value_from_r(value) for key, value in parts.get("uns", {}).items()},
    )
    for key, value in parts.get("plain", {}).items():
        adata.uns[key] = _owned(value)
    if parts.get("raw"):
        raw = parts["raw"]
        raw_var = frame_from_r(raw["var"])
        whole = AnnData(X=_layer(raw["X"], cells, len(raw_var), borrow), obs=obs[[]], var=raw_var)
        adata.raw = whole
    return adata


def _layer(layer: Mapping[str, Any], cells: int, genes: int, borrow: bool) -> Any:
    if "pieces" in layer:
        matrix: Any = assemble_rows(layer["pieces"], cells, genes, borrow=borrow)
    else:
        matrix = dense_rows(layer["dense"])
    matrix = _cast(matrix, layer.get("dtype"))
    return matrix.asformat(layer["format"]) if layer.get("format") and is_sparse(matrix) else matrix


def _rows(rows: Mapping[str, Any], length: int) -> Any:
    if "python" in rows:
        return value_from_r(dict(rows))
    matrix = rows["dense"] if rows.get("transposed") else rows["dense"].T
    return _cast(dense_rows(matrix, rows.get("rows"), length), rows.get("dtype"))


def _square(matrix: Mapping[str, Any]) -> Any:
    if "python" in matrix:
        return value_from_r(dict(matrix))
    # R's columns are read as rows only where rows and columns mean the same.
    square = matrix["matrix"].tocsr()
    return _cast(square, matrix.get("dtype"))


def _cast(values: Any, dtype: str | None) -> Any:
    """Return values in the type that they had in Python before, where that changes none of them."""
    if not dtype or str(values.dtype) == dtype:
        return values
    data = values.data if is_sparse(values) else values
    with np.errstate(all="ignore"):
        cast = data.astype(dtype)
    if not np.array_equal(cast, data, equal_nan=data.dtype.kind == "f" and cast.dtype.kind == "f"):
        return values
    if is_sparse(values):
        values.data = cast
        return values
    return cast


def _owned(value: Any) -> Any:
    """Return plain data of R with arrays of its own."""
    if isinstance(value, Mapping):
        return {str(key): _owned(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.copy() if is_sparse(value) else value


def unconverted(value: Any) -> Any:
    """Return the value: through this module R gets it without conversion, whatever its way to R was."""
    return value


def is_anndata(value: Any) -> bool:
    """Whether this is an AnnData."""
    from anndata import AnnData

    return isinstance(value, AnnData)


def overview(adata: AnnData) -> dict[str, Any]:
    """Return what R asks first: names, shapes and types of all parts, none of their values."""
    raw = adata.raw
    return {
        "cells": text_array(adata.obs_names),
        "genes": text_array(adata.var_names),
        "obs_index": adata.obs_names.name or "",
        "var_index": adata.var_names.name or "",
        "obs": text_array(adata.obs.columns),
        "var": text_array(adata.var.columns),
        "X": None if adata.X is None else _kind_of(adata.X),
        "layers": {key: _kind_of(adata.layers[key]) for key in adata.layers},
        "obsm": {key: _kind_of(adata.obsm[key]) for key in adata.obsm},
        "varm": {key: _kind_of(adata.varm[key]) for key in adata.varm},
        "obsp": {key: _kind_of(adata.obsp[key]) for key in adata.obsp},
        "varp": {key: _kind_of(adata.varp[key]) for key in adata.varp},
        "uns": text_array(adata.uns),
        "raw": None if raw is None else {"genes": text_array(raw.var_names), "X": _kind_of(raw.X)},
    }


def _kind_of(value: Any) -> dict[str, Any]:
    kind = "sparse" if is_sparse(value) or hasattr(value, "to_memory") else "dense"
    if hasattr(value, "columns") or getattr(getattr(value, "dtype", None), "kind", "") not in tuple("biuf"):
        kind = "other"
    # An awkward array has rows of any length, and no shape.
    shape = np.array(getattr(value, "shape", ()), dtype=np.float64)
    format_ = getattr(value, "format", "") if kind == "sparse" else ""
    return {"kind": kind, "dtype": str(getattr(value, "dtype", "")), "format": str(format_), "shape": shape}


def columns_of_types() -> list[str]:
    """Return the columns of ``var`` that say what a feature is."""
    return list(features.FEATURE_TYPES)


def types_beside_genes(adata: AnnData) -> Any:
    """Return what each feature is, ``""`` for genes; None where all are genes, or none is."""
    types = features.types_beside_genes(adata.var)
    return text_array(types) if (types == "").any() and (types != "").any() else None


def holds_counts(matrix: Any) -> bool:
    """Whether all values are whole and none is negative."""
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    values = matrix.data if is_sparse(matrix) else np.asarray(matrix).ravel()
    runs = range(0, len(values), 2**22)
    return all(np.all((run >= 0) & (run == np.rint(run))) for run in (values[start : start + 2**22] for start in runs))


def columns_to_r(frame: pd.DataFrame, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the columns of a frame as they cross, and the names of those that lose something or have no like in R.

    Parameters
    ----------
    frame
        ``obs`` or ``var``.
    kinds
        What columns that came from R were there, by name.
    """
    kinds = kinds or {}
    # By place, as pandas lets several columns have one name.
    names = [str(name) for name in frame.columns]
    columns = [column_to_r(frame.iloc[:, place], kinds.get(name)) for place, name in enumerate(names)]
    named = list(zip(names, columns, strict=True))
    return {
        "columns": [column for column in columns if column is not None],
        "names": text_array(name for name, column in named if column is not None),
        "dropped": text_array(name for name, column in named if column is None),
        "rounded": text_array(name for name, column in named if column and column.get("rounded")),
    }
