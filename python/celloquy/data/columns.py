"""Columns of ``obs`` that a user names: there, whole, and as codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData


def column(adata: AnnData, key: str, argument: str, *, name: str = "adata", optional: bool = True) -> pd.Series:
    """Return a column of ``obs`` that has a value for every cell.

    Parameters
    ----------
    adata
        The object.
    key
        The column.
    argument
        By which argument the user named it.
    name
        What the user calls the object.
    optional
        Whether the argument can be left out.

    Raises
    ------
    ArgumentError
        If there is no such column, or a value is missing.
    """
    or_without = ", or leave it out" if optional else ""
    if key not in adata.obs:
        raise ArgumentError(
            f"There is no column {key!r} in {name}.obs.",
            found=", ".join(map(str, adata.obs.columns)) or "no columns",
            expected=f"the column that `{argument}` names",
            remedy=f"pass one of these as `{argument}`{or_without}.",
        )
    values = adata.obs[key]
    if missing := int(values.isna().sum()):
        raise ArgumentError(
            f"Column {key!r} of {name}.obs has missing values.",
            found=f"{missing:,} of {len(values):,} cells",
            expected="a value for every cell",
            remedy=f"fill the column or drop these cells{or_without}.",
        )
    return values


def codes(
    adata: AnnData, key: str | None, argument: str, levels: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Codes ``(cells,)`` int64 of a column's values and their names; -1 for a value that is not among the levels."""
    if key is None:
        return np.zeros(adata.n_obs, dtype=np.int64), []
    names = column(adata, key, argument).astype(str)
    known = sorted(names.unique()) if levels is None else list(levels)
    return pd.Categorical(names, categories=known).codes.astype(np.int64), known
