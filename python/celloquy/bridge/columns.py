"""Columns of metadata between R and pandas.

A column crosses as a dict: ``kind`` (what R calls it), ``values`` (an array without missing values), ``missing`` (the
places of missing values), and what the kind needs besides. The pandas column is the one that its users expect, and
one that an h5ad file holds wherever there is such a one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from celloquy.errors import ArgumentError

Column = dict[str, Any]

_NANOSECONDS = {
    "secs": 10**9,
    "mins": 60 * 10**9,
    "hours": 3600 * 10**9,
    "days": 86400 * 10**9,
    "weeks": 604800 * 10**9,
}
_MISSING_64 = np.iinfo(np.int64).min
_TIMES = ("POSIXct", "Date", "difftime")


def column_from_r(column: Column) -> Any:
    """Return the array of a column of R, for pandas.

    ``factor`` becomes a categorical with all its levels, ``logical`` and ``integer`` with missing values the nullable
    types, ``character`` with missing values a categorical (the only text with gaps that every anndata writes), dates
    and times ``datetime64[ns]``, and numbers of days or seconds if nanoseconds can't hold them exactly.
    """
    kind, values = column["kind"], np.asarray(column["values"])
    missing = np.zeros(len(values), bool)
    missing[np.asarray(column["missing"], int)] = True
    if kind == "factor":
        levels = [str(level) for level in column["levels"]]
        return pd.Categorical.from_codes(
            values.copy(), categories=pd.Index(levels, dtype=object), ordered=column["ordered"]
        )
    if kind == "character":
        text = np.array(values, dtype=object)
        if not missing.any():
            return text
        text[missing] = None
        return pd.Categorical(text, categories=pd.Index(np.unique(text[~missing].astype(str)), dtype=object))
    if kind == "logical":
        truth = np.array(values, dtype=bool)
        return pd.arrays.BooleanArray(truth, missing) if missing.any() else truth
    if kind in ("integer", "integer64"):
        # R holds 64-bit integers in the bits of doubles.
        whole = values.view(np.int64).copy() if kind == "integer64" else np.array(values, dtype=np.int32)
        if kind == "integer64":
            missing = whole == _MISSING_64
        if not missing.any():
            return whole
        whole[missing] = 0
        return pd.arrays.IntegerArray(whole, missing)
    if kind in _TIMES:
        return _time_from_r(kind, np.array(values, dtype=np.float64), missing, column)
    return np.array(values, dtype=np.uint8 if kind == "raw" else np.float64)


def _time_from_r(kind: str, values: np.ndarray, missing: np.ndarray, column: Column) -> Any:
    unit = _NANOSECONDS[{"POSIXct": "secs", "Date": "days"}.get(kind) or column["units"]]
    nanoseconds, exact = _nanoseconds(values, unit)
    if not np.all(exact | missing):
        return values
    nanoseconds[missing] = _MISSING_64
    if kind == "difftime":
        return pd.array(nanoseconds.view("m8[ns]"))
    times = pd.DatetimeIndex(nanoseconds.view("M8[ns]"))
    return times.array if kind == "Date" else _with_zone(times, column["zone"]).array


def _nanoseconds(values: np.ndarray, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Nanoseconds of numbers of a unit, and which of them are that number exactly."""
    with np.errstate(invalid="ignore", over="ignore"):
        whole = np.floor(values)
        fits = np.abs(whole * (unit / 1e9)) < 9.2e9
        nanoseconds = np.where(fits, whole, 0).astype(np.int64) * unit
        nanoseconds += np.where(fits, np.rint((values - whole) * unit), 0).astype(np.int64)
        # Of all nanoseconds that are this double, whole microseconds are what was meant.
        micro = np.where(fits, np.rint((values - whole) * (unit / 1e3)), 0).astype(np.int64) * 1000
        micro += np.where(fits, whole, 0).astype(np.int64) * unit
        nanoseconds = np.where(_in_unit(micro, unit) == values, micro, nanoseconds)
        return nanoseconds, (_in_unit(nanoseconds, unit) == values) & fits


def _in_unit(nanoseconds: np.ndarray, unit: int) -> np.ndarray:
    # Whole and fraction apart: as one product the last bits of today's seconds would be lost.
    return nanoseconds // unit + (nanoseconds % unit) / unit


def _with_zone(times: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    times = times.tz_localize("UTC")
    try:
        return times.tz_convert(zone or "UTC")
    except (KeyError, ValueError, OSError):
        return times


def column_to_r(series: pd.Series, kind: str | None = None) -> Column | None:
    """Return a pandas column as it crosses to R, or None where R has nothing like it.

    Parameters
    ----------
    series
        A column of ``obs`` or ``var``.
    kind
        What it was in R: times that lie as text in an h5ad file become times again.
    """
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.astype(series.dtype.subtype)
    if kind in _TIMES and not pd.api.types.is_numeric_dtype(series.dtype):
        series = _time_from_text(series, kind)
    dtype = series.dtype
    if kind == "integer64" and pd.api.types.is_integer_dtype(dtype):
        column: Column | None = _bits(series.where(series.notna(), _MISSING_64).to_numpy(dtype=np.int64))
    else:
        column = _crossing(series, dtype)
    if column is not None:
        column["dtype"] = _name_of(dtype)
        column["missing"] = np.flatnonzero(series.isna().to_numpy())
    return column


def _crossing(series: pd.Series, dtype: Any) -> Column | None:
    if isinstance(dtype, pd.CategoricalDtype):
        levels = np.array([str(level) for level in dtype.categories], dtype=object)
        codes = series.cat.codes.to_numpy().astype(np.int32)
        return {"kind": "factor", "values": codes, "levels": levels, "ordered": bool(dtype.ordered)}
    missing = series.isna()
    if pd.api.types.is_bool_dtype(dtype):
        return {"kind": "logical", "values": series.where(~missing, False).to_numpy(dtype=bool)}
    if pd.api.types.is_integer_dtype(dtype):
        return integers_to_r(series.where(~missing, 0).to_numpy(dtype=_numpy_of(dtype)))
    if pd.api.types.is_float_dtype(dtype):
        return {"kind": "double", "values": series.to_numpy(dtype=np.float64, na_value=np.nan)}
    if isinstance(dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(dtype):
        zone = str(dtype.tz) if isinstance(dtype, pd.DatetimeTZDtype) else "UTC"
        utc = series.dt.tz_convert("UTC").dt.tz_localize(None) if isinstance(dtype, pd.DatetimeTZDtype) else series
        return {"kind": "POSIXct", **_seconds(utc.to_numpy().astype("M8[ns]")), "zone": zone}
    if pd.api.types.is_timedelta64_dtype(dtype):
        return {"kind": "difftime", **_seconds(series.to_numpy().astype("m8[ns]")), "units": "secs"}
    present = series[~missing]
    if all(isinstance(value, str) for value in present):
        return {"kind": "character", "values": series.astype(object).where(~missing, "").to_numpy(dtype=object)}
    return None


def _numpy_of(dtype: Any) -> np.dtype:
    return dtype if isinstance(dtype, np.dtype) else dtype.numpy_dtype


def _seconds(times: np.ndarray) -> Column:
    """Seconds as R has them, and whether that loses some of the nanoseconds."""
    whole, missing = times.view(np.int64), np.isnat(times)
    values = np.where(missing, np.nan, _in_unit(whole, 10**9))
    return {"values": values, "rounded": bool(np.any((_nanoseconds(values, 10**9)[0] != whole) & ~missing))}


def integers_to_r(values: np.ndarray) -> Column:
    """Return whole numbers as the narrowest of R's types that holds them: integer, double, integer64 (as its bits)."""
    lowest, highest = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if lowest > -(2**31) and highest < 2**31:
        return {"kind": "integer", "values": values.astype(np.int32)}
    if lowest >= -(2**53) and highest <= 2**53:
        return {"kind": "double", "values": values.astype(np.float64)}
    if highest < 2**63:
        return _bits(values)
    raise ArgumentError(
        "A whole number is too large for R.",
        found=str(highest),
        expected=f"at most {2**63 - 1}",
        remedy="make the column a float or text.",
    )


def _bits(values: np.ndarray) -> Column:
    return {"kind": "integer64", "values": values.astype(np.int64).view(np.float64)}


def _name_of(dtype: Any) -> str:
    """Return what :func:`with_dtype` needs to make this type again."""
    if isinstance(dtype, pd.CategoricalDtype):
        return f"category of {dtype.categories.dtype}"
    return str(dtype)


def with_dtype(values: Any, name: str) -> Any:
    """Return values that came back from R in the type they had before, where that changes none of them."""
    series: Any = pd.Series(values)
    try:
        if name.startswith("category of "):
            inner = name.removeprefix("category of ")
            if inner in ("object", "str", "string") or not isinstance(series.dtype, pd.CategoricalDtype):
                return values
            return series.cat.rename_categories(_labels(series.cat.categories, inner)).array
        if str(series.dtype) == name:
            return values
        if isinstance(series.dtype, pd.CategoricalDtype):
            # Text with gaps lies in a categorical, but was none.
            return (
                series.astype(object).where(series.notna(), None).array
                if name == "object"
                else series.astype(name).array
            )
        if pd.api.types.is_float_dtype(series.dtype) and "int" in name and series.isna().any():
            return values
        cast = (
            _naive(series).astype(name) if name.startswith("datetime64[") and "," not in name else series.astype(name)
        )
        back = cast.astype(series.dtype) if not name.startswith(("datetime64", "timedelta64")) else None
    except (TypeError, ValueError, OverflowError):
        return values
    if back is not None and not back.equals(series):
        return values
    return cast.array if isinstance(cast.dtype, pd.api.extensions.ExtensionDtype) else cast.to_numpy()


def _naive(series: pd.Series) -> Any:
    return series.dt.tz_localize(None) if isinstance(series.dtype, pd.DatetimeTZDtype) else series


def _labels(categories: pd.Index, inner: str) -> pd.Index:
    if inner == "bool":
        return pd.Index([label == "True" for label in categories])
    return categories.astype(inner)


def times_as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with dates and times as text, which an h5ad file holds."""
    timed = [name for name in frame if _is_time(frame[name].dtype)]
    if not timed:
        return frame
    frame = frame.copy(deep=False)
    for name in timed:
        frame[name] = pd.Categorical([None if pd.isna(time) else time.isoformat() for time in frame[name]])
    return frame


def _is_time(dtype: Any) -> bool:
    return isinstance(dtype, pd.DatetimeTZDtype) or getattr(dtype, "kind", "") in ("M", "m")


def _time_from_text(series: pd.Series, kind: str) -> pd.Series:
    if _is_time(series.dtype):
        return series
    text = series.astype(object)
    if kind == "difftime":
        return pd.to_timedelta(text)
    times = pd.to_datetime(text, utc=True, format="ISO8601")
    return times.dt.tz_localize(None) if kind == "Date" else times
