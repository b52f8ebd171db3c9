"""What ``uns``, and odd members of ``obsm`` or ``varm``, hold: nested values between Python and R.

A value crosses as a dict with ``python`` (what it is) and what the kind needs. R shows its users a plain list, vector
or data frame and keeps ``python`` as an attribute, so that the way back restores type and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from celloquy.bridge.columns import column_from_r, column_to_r, integers_to_r, with_dtype
from celloquy.bridge.matrices import is_sparse, matrix_to_r, numbers_to_r
from celloquy.data.tables import text_array

Value = dict[str, Any]
Drop = Callable[[str, str], None]


def value_to_r(value: Any) -> tuple[Value | None, list[list[str]]]:
    """Return a value as it crosses to R, and ``[path, why]`` of every part that can't."""
    dropped: list[list[str]] = []
    crossing = _to_r(value, "", lambda path, why: dropped.append([path, why]))
    return crossing, dropped


def _to_r(value: Any, path: str, drop: Drop) -> Value | None:
    if value is None:
        return {"python": "None"}
    if isinstance(value, Mapping):
        return _many(value, path, drop)
    if isinstance(value, list | tuple):
        items = {str(place): item for place, item in enumerate(value)}
        return {**_many(items, path, drop), "python": "list"}
    if isinstance(value, pd.DataFrame):
        columns = {str(name): column_to_r(value.iloc[:, place]) for place, name in enumerate(value.columns)}
        for name in [name for name, column in columns.items() if column is None]:
            drop(f"{path}[{name}]", "its values are of no one type")
        for name in [name for name, column in columns.items() if column and column.get("rounded")]:
            drop(f"{path}[{name}], nanoseconds", "times of R hold microseconds")
        kept = {name: column for name, column in columns.items() if column is not None}
        return {"python": "frame", "columns": kept, "order": text_array(kept), **_index(value.index)}
    if isinstance(value, pd.Series | pd.Index | pd.Categorical | pd.api.extensions.ExtensionArray):
        column = column_to_r(pd.Series(value))
        return {"python": "array", "column": column} if column else None
    if is_sparse(value):
        arrays = matrix_to_r(value, transposed=False)
        return {"python": "sparse", **arrays, **{slot: numbers_to_r(arrays[slot]) for slot in "ipx"}}
    if isinstance(value, np.ndarray) and value.dtype.names:
        fields = {name: value[name] for name in value.dtype.names}
        return {**_many(fields, path, drop), "python": "record"}
    if isinstance(value, np.ndarray):
        return _array(value, path, drop)
    if isinstance(value, bool | int | float | str | np.generic):
        return _scalar(value, path, drop)
    drop(path, f"R has nothing like {type(value).__module__.partition('.')[0]}'s {type(value).__name__}")
    return None


def _many(values: Mapping[Any, Any], path: str, drop: Drop) -> Value:
    items = {str(key): _to_r(item, f"{path}[{key}]", drop) for key, item in values.items()}
    kept = {key: item for key, item in items.items() if item is not None}
    return {"python": "dict", "keys": text_array(kept), "items": list(kept.values())}


def _array(value: np.ndarray, path: str, drop: Drop) -> Value | None:
    shape = {"python": "ndarray", "dtype": str(value.dtype), "shape": np.array(value.shape, np.int32)}
    flat = np.asarray(value).ravel(order="F")
    if value.dtype.kind in "biufc" and value.dtype.itemsize <= 16:
        if value.dtype.kind in "iu":
            return {**shape, **integers_to_r(flat)}
        return {**shape, "kind": "numbers", "values": flat if value.dtype.kind == "c" else numbers_to_r(flat)}
    if value.dtype.kind in "Mm":
        return {**shape, "kind": "integer64", "values": flat.view(np.int64).view(np.float64), "dtype": value.dtype.str}
    if value.dtype.kind in "UOT" and all(isinstance(item, str) for item in flat):
        return {**shape, "kind": "text", "values": flat.astype(object)}
    drop(path, f"an array of {value.dtype} holds more than text")
    return None


def _scalar(value: Any, path: str, drop: Drop) -> Value | None:
    kind = "numpy" if isinstance(value, np.generic) else "scalar"
    array = _array(np.asarray(value), path, drop)
    return None if array is None else {**array, "python": kind}


def _index(index: pd.Index) -> Value:
    return {"index": text_array(index), "index_name": "" if index.name is None else str(index.name)}


def value_from_r(value: Value) -> Any:
    """Return the value that crossed from R; the reverse of :func:`value_to_r`."""
    kind = value["python"]
    if kind == "None":
        return None
    if kind in ("dict", "list", "record"):
        keys, items = value["keys"], [value_from_r(item) for item in value["items"]]
        if kind == "list":
            return items
        fields = dict(zip((str(key) for key in keys), items, strict=True))
        if kind == "dict":
            return fields
        return np.rec.fromarrays(list(fields.values()), dtype=[(n, f.dtype) for n, f in fields.items()]).view(
            np.ndarray
        )
    if kind == "frame":
        return frame_from_r(value)
    if kind == "array":
        column = column_from_r(value["column"])
        return with_dtype(column, value["column"]["dtype"]) if value["column"].get("dtype") else column
    if kind == "sparse":
        matrix = value["matrix"].copy().astype(value.get("dtype") or np.float64)
        return matrix.asformat(value.get("format") or "csr")
    return _array_from_r(value)


def _array_from_r(value: Value) -> Any:
    values, dtype = np.asarray(value["values"]), value.get("dtype")
    if value["kind"] == "integer64":
        values = values.view(np.int64)
        values = values.view(dtype) if dtype and dtype[1:2] in ("M", "m") else values
    if dtype and values.dtype.kind not in "Mm":
        cast = values.astype(dtype)
        # What was changed in R and no longer fits keeps its new type.
        values = cast if values.dtype == object or np.array_equal(cast, values, equal_nan=True) else values
    shape = tuple(int(length) for length in value["shape"])
    array = np.array(values.reshape(shape, order="F"), order="C")
    if value["python"] == "ndarray":
        return array
    return array[()] if value["python"] == "numpy" else array.item()


def frame_from_r(value: Value) -> pd.DataFrame:
    """Return the data frame whose columns, order of columns and index crossed from R."""
    name = value.get("index_name") or None
    index = pd.Index([str(label) for label in value["index"]], name=name, dtype=object)
    columns = {}
    for label in value["order"]:
        column = value["columns"][label]
        array = column_from_r(column)
        columns[str(label)] = with_dtype(array, column["dtype"]) if column.get("dtype") else array
    frame = pd.DataFrame(columns, index=index)
    frame.columns = pd.Index([str(label) for label in value["order"]], dtype=object)
    return frame
