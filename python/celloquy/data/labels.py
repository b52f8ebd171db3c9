"""The labels of a reference: every cell has one, and every label has several cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celloquy.data.columns import column
from celloquy.errors import ArgumentError, some

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of some cells."""

    names: tuple[str, ...]
    """The different labels, sorted."""
    codes: np.ndarray
    """``(cells,)`` int64: the label of each cell, a place in the names."""


def read_labels(reference: AnnData, key: str, *, reserved: str) -> Labels:
    """Return the labels of a reference.

    Parameters
    ----------
    reference
        The labelled cells.
    key
        Column of ``obs`` with the labels.
    reserved
        Label that the reference may not have, such as ``"unknown"``.

    Raises
    ------
    ArgumentError
        If there is no such column, a cell has no label, all have the same, or a label has one cell.
    """
    values = column(reference, key, "label_key", name="reference", optional=False).astype(str)
    names, codes, sizes = np.unique(values.to_numpy(dtype=str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ArgumentError(
            f"Column {key!r} of reference.obs has one label.",
            found=repr(str(names[0])) if len(names) else "no cells",
            expected="at least two labels to tell apart",
            remedy="pass the column of the cell types as `label_key`.",
            argument="label_key",
        )
    if reserved in names:
        raise ArgumentError(
            f"Column {key!r} of reference.obs has the label {reserved!r}.",
            found=f"{int(sizes[names == reserved][0]):,} cells with it",
            expected=f"names of cell types; {reserved!r} is given to cells of none of them",
            remedy="drop these cells from the reference, or rename the label.",
            argument="label_key",
        )
    if sizes.min() < 2:
        alone = names[sizes < 2].tolist()
        raise ArgumentError(
            f"Column {key!r} of reference.obs has labels of one cell.",
            found=some(alone),
            expected="at least two cells of every label, one to learn from and one to test with",
            remedy="drop these cells from the reference, or merge their labels with others.",
            argument="label_key",
        )
    return Labels(tuple(names.tolist()), codes.astype(np.int64))
