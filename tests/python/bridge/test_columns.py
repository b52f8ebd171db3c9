"""Columns of metadata and values of uns cross to R and back as they were; what is lost on the way is said."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from celloquy.bridge.columns import column_from_r, column_to_r, with_dtype
from celloquy.bridge.values import value_from_r, value_to_r

WHOLE = ("int8", "uint8", "int32", "int64", "Int32", "Int64")


def gaps(draw, length):
    return np.array(draw(st.lists(st.booleans(), min_size=length, max_size=length)), bool)


@st.composite
def columns(draw):
    """A pandas column of any type that an AnnData holds, with gaps where the type has such."""
    length = draw(st.integers(0, 6))
    kind = draw(
        st.sampled_from([*WHOLE, "float32", "float64", "bool", "boolean", "text", "category", "times", "spans"])
    )
    if kind in WHOLE:
        bits = np.iinfo(kind.lower())
        values = draw(st.lists(st.integers(int(bits.min) + 1, int(bits.max)), min_size=length, max_size=length))
        series = pd.Series(values, dtype=kind)
    elif kind.startswith("float"):
        floats = st.floats(width=int(kind[5:]), allow_nan=False)
        return pd.Series(draw(st.lists(floats, min_size=length, max_size=length)), dtype=kind)
    elif kind in ("bool", "boolean"):
        series = pd.Series(draw(st.lists(st.booleans(), min_size=length, max_size=length)), dtype=kind)
    elif kind in ("times", "spans"):
        moments = st.integers(-(2**50), 2**50).map(lambda micro: micro * 1000)
        numbers = np.array(draw(st.lists(moments, min_size=length, max_size=length)), np.int64)
        zone = draw(st.sampled_from([None, "UTC", "Europe/Zurich"]))
        series = pd.Series(numbers.view("m8[ns]" if kind == "spans" else "M8[ns]"))
        series = series.dt.tz_localize("UTC").dt.tz_convert(zone).copy() if zone and kind == "times" else series
    else:
        text = draw(
            st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=length, max_size=length)
        )
        series = pd.Series(text, dtype=object)
        if kind == "category":
            levels = [*dict.fromkeys(text), "never used"]
            series = pd.Series(pd.Categorical(text, list(dict.fromkeys(levels)), ordered=draw(st.booleans())))
    if kind in ("Int32", "Int64", "boolean", "text", "category", "times", "spans"):
        series[gaps(draw, length)] = (
            None if kind == "text" else pd.NA if kind in ("Int32", "Int64", "boolean") else pd.NaT
        )
    return series


@given(columns())
def test_columns_come_back_as_they_were(series):
    crossed = column_to_r(series)
    back = pd.Series(with_dtype(column_from_r(crossed), crossed["dtype"]))
    pd.testing.assert_series_equal(back, series, check_names=False)
    assert not crossed.get("rounded")


@given(st.integers(1, 999), st.integers(-(2**32), 2**32))
def test_what_is_finer_than_a_microsecond_is_said_to_be_lost(nanoseconds, seconds):
    series = pd.Series(np.array([seconds * 10**9 + nanoseconds], np.int64).view("M8[ns]"))
    crossed = column_to_r(series)
    exact = pd.Series(column_from_r(crossed)).dt.tz_localize(None).equals(series)
    assert crossed["rounded"] != exact


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31) + 1, 2**31 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_values_come_back_as_they_were(value):
    crossed, lost = value_to_r(value)
    assert len(lost) == 0
    assert value_from_r(crossed) == value


def test_times_within_uns_are_said_to_be_rounded():
    frame = pd.DataFrame({"when": pd.to_datetime(["2026-01-01T00:00:00.123456789"])})
    _, lost = value_to_r({"table": frame})
    assert [tuple(row) for row in lost] == [("[table][when], nanoseconds", "times of R hold microseconds")]
