"""The reading options: the place of the counts in an object, and the columns of ``obs`` that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.checks import check_choice, check_name
from celloquy.errors import ArgumentError, some

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, slots=True, kw_only=True)
class CellColumns:
    """The options by which an object is read; every verb takes them by name.

    Examples
    --------
    >>> import celloquy as cq
    >>> columns = cq.CellColumns(tissue_key="slice", spatial_key="spatial")
    >>> cq.data.CellSource(adata, columns).tissues
    ['1', '2']
    """

    layer: str | None = None
    """Place of the raw counts: a layer, ``"X"`` or ``"raw"``. By default the first of ``layers["counts"]``, ``X`` and
    ``raw`` that holds counts."""
    counts: Literal["round"] | None = None
    """``"round"`` rounds estimated or corrected counts, as RSEM, kallisto, SoupX and decontX leave them. By default
    values that are not whole are an error."""
    tissue_key: str | None = None
    """Column of ``obs`` with the tissue: cells of one tissue (a sample, a slice) are read together. By default all
    cells of an object are one tissue."""
    spatial_key: str | None = None
    """Key of ``obsm`` with positions, ``(cells, 2)`` in any unit. By default no cell has a position."""
    batch_key: str | None = None
    """Column of ``obs`` with the experimental batch. The decoder of a model reads the batch, so that the embedding
    need not hold it. By default there are no batches."""
    species: Literal["auto"] | None = None
    """``"auto"`` maps genes of the other species through one-to-one orthologs, with a warning. By default genes of
    another species are an error. A model of both species reads either without it."""

    def __post_init__(self) -> None:
        check_choice("species", self.species, ("auto", None))
        check_choice("counts", self.counts, ("round", None))
        for name in ("tissue_key", "batch_key"):
            if (key := getattr(self, name)) is not None:
                check_column(name, key)
        if self.layer is not None:
            check_name("layer", self.layer, 'the name of one layer, "X" or "raw"')
        if self.spatial_key is not None:
            check_name("spatial_key", self.spatial_key, "the name of one key of obsm")


def check_column(argument: str, key: object, *, name: str = "adata") -> None:
    """Check that a value is the name of one column of ``obs``.

    Raises
    ------
    ArgumentError
        If it is not.
    """
    joined = f'{name}.obs["both"] = {name}.obs["a"].astype(str) + " " + {name}.obs["b"].astype(str)'
    check_name(argument, key, "the name of one column", f"join several columns to one first, e.g. {joined}.")


def column(
    adata: AnnData, key: str, argument: str, *, name: str = "adata", optional: bool = True, missing: bool = False
) -> pd.Series:
    """Return a column of ``obs`` that has a value for every cell.

    Parameters
    ----------
    adata
        The object.
    key
        Name of the column.
    argument
        Name of the argument that names the column, for messages.
    name
        Name of the object, for messages.
    optional
        True if the argument can be left out.
    missing
        True if values may be missing.

    Raises
    ------
    ArgumentError
        If there is no such column, or a value is missing.
    """
    or_without = ", or leave it out" if optional else ""
    check_column(argument, key, name=name)
    if key not in adata.obs:
        raise ArgumentError(
            f"There is no column {key!r} in {name}.obs.",
            found=", ".join(map(str, adata.obs.columns)) or "no columns",
            expected=f"the column that `{argument}` names",
            remedy=f"pass one of these as `{argument}`{or_without}.",
            argument=argument,
        )
    if (times := int((adata.obs.columns == key).sum())) > 1:
        raise ArgumentError(
            f"Column {key!r} is in {name}.obs several times.",
            found=f"{times} columns of that name",
            expected="one column",
            remedy="rename or drop the others.",
            argument=argument,
        )
    values = adata.obs[key]
    lost = 0 if missing else int(values.isna().sum())
    if lost:
        raise ArgumentError(
            f"Column {key!r} of {name}.obs has missing values.",
            found=f"{lost:,} of {len(values):,} cells",
            expected="a value for every cell",
            remedy=f"fill the column or drop these cells{or_without}.",
            argument=argument,
        )
    return values


def places_of(adata: AnnData, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the places of cells in an object, ``(names,)``.

    Raises
    ------
    ArgumentError
        If one is none of the object.
    """
    place = {name: at for at, name in enumerate(adata.obs_names.astype(str))}
    if missing := [name for name in names if name not in place]:
        raise ArgumentError(
            "Some cells are not in the object.",
            found=some(missing),
            expected="names in adata.obs_names",
            remedy="check the names.",
            argument="cells",
        )
    return np.array([place[name] for name in names], dtype=np.int64)


def codes(
    adata: AnnData, key: str | None, argument: str, levels: Sequence[str] | None = None, *, name: str = "adata"
) -> tuple[np.ndarray, list[str]]:
    """Return the codes ``(cells,)`` int64 of a column and the levels; a value that is no level has the code -1."""
    if key is None:
        return np.zeros(adata.n_obs, dtype=np.int64), []
    names = column(adata, key, argument, name=name).astype(str)
    known = sorted(names.unique()) if levels is None else list(levels)
    return pd.Categorical(names, categories=known).codes.astype(np.int64), known
