"""The labels of a reference: every cell has one, or is left out, and every label has several cells."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from celloquy import keys
from celloquy.checks import check_whole_number
from celloquy.data.columns import column
from celloquy.data.matrix import check_anndata
from celloquy.data.tables import unwritable
from celloquy.errors import ArgumentError, MissingLabelWarning, some

if TYPE_CHECKING:
    from anndata import AnnData

SAY_NOTHING: Final = {
    "", "nan", "na", "n/a", "<na>", "none", "null", "-", "?", "unknown", "unassigned", "not assigned", "unannotated",
    "unlabeled", "unlabelled", "unclassified", "undefined", "undetermined",
}  # fmt: skip
"""Labels, in small letters, that say no more than a missing one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of some cells."""

    names: tuple[str, ...]
    """The different labels, sorted."""
    codes: np.ndarray
    """``(cells,)`` int64: the label of each cell, a place in the names; -1 for a cell that is left out."""


def read_labels(
    reference: AnnData, key: str, *, reserved: str, drop_missing: bool = True, drop_rare: int | None = None,
    argument: str = "label_key", name: str = "reference", droppable: bool = True,
) -> Labels:  # fmt: skip
    """Return the labels of a reference.

    Parameters
    ----------
    reference
        The labelled cells.
    key
        Column of ``obs`` with the labels.
    reserved
        Label that the reference may not have, such as ``"unknown"``.
    drop_missing
        Leave out cells without a label, and those whose label is one of :data:`SAY_NOTHING`.
    drop_rare
        Number of cells below which a label is left out.
    argument, name
        Name of the argument that names the column, and of the object, for messages.
    droppable
        Whether the caller has the options ``drop_missing`` and ``drop_rare``, which messages name then.

    Raises
    ------
    ArgumentError
        If there is no such column, a cell has no label, all have the same, a label has one cell, or no file can hold
        a label or the name of a cell.

    Warns
    -----
    MissingLabelWarning
        If cells are left out because they have no label.
    """
    check_anndata(reference, name)
    values = column(reference, key, argument, name=name, optional=False, missing=drop_missing)
    texts: NDArray[Any] = values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=str)
    learned = np.ones(len(texts), dtype=bool)
    if drop_missing:
        learned = ~np.isin(np.char.lower(np.char.strip(texts)), list(SAY_NOTHING))
        if not learned.all():
            _warn_of_missing(key, texts[~learned], len(texts))
    if drop_rare is not None:
        learned &= _often(texts, learned, drop_rare)
    names, found, sizes = np.unique(texts[learned], return_inverse=True, return_counts=True)
    codes = np.full(len(texts), -1, dtype=np.int64)
    codes[learned] = found
    if len(names) < 2:
        raise ArgumentError(
            f"Column {key!r} of {name}.obs has {'one label' if len(names) else 'no label'}.",
            found=repr(str(names[0])) if len(names) else f"{len(texts):,} cells, of which none has a label to learn",
            expected="at least two labels to tell apart",
            remedy=f"pass the column of the cell types as `{argument}`"
            + (", or a smaller `drop_rare`." if drop_rare is not None else "."),
            argument=argument,
        )
    for what, named in ((f"Column {key!r} of {name}.obs", names), (f"{name}.obs_names", reference.obs_names)):
        if odd := unwritable(named):
            raise ArgumentError(
                f"{what} has texts that no file can hold.",
                found=some(odd),
                expected="text without null characters, in Unicode",
                remedy="rename them.",
                argument=argument,
            )
    if reserved in names:
        raise ArgumentError(
            f"Column {key!r} of {name}.obs has the label {reserved!r}.",
            found=f"{int(sizes[names == reserved][0]):,} cells with it",
            expected=f"names of cell types; {reserved!r} is given to cells of none of them",
            remedy="drop these cells" + (", as `drop_missing` does" if droppable else "") + ", or rename the label.",
            argument=argument,
        )
    if sizes.min() < 2:
        alone = names[sizes < 2].tolist()
        raise ArgumentError(
            f"Column {key!r} of {name}.obs has labels of one cell.",
            found=some(alone),
            expected="at least two cells of every label, one to learn from and one to test with",
            remedy="pass `drop_rare`, the smallest number of cells of a label, or merge these labels with others."
            if droppable
            else "merge these labels with others, or leave their cells out.",
            argument=argument,
        )
    return Labels(tuple(names.tolist()), codes)


def _often(texts: NDArray[Any], learned: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Which cells have a label of at least so many cells that are learned."""
    check_whole_number("drop_rare", least, least=2, remedy="leave it out, or pass the smallest number of cells.")
    names, codes = np.unique(texts, return_inverse=True)
    enough: NDArray[np.bool_] = np.bincount(codes[learned], minlength=len(names))[codes] >= least
    return enough


def _warn_of_missing(key: str, texts: NDArray[Any], cells: int) -> None:
    shown = some(repr(str(text)) for text in np.unique(texts))
    warnings.warn(
        f"{len(texts):,} of {cells:,} reference cells have no label in {key!r}, and are left out: {shown}.",
        MissingLabelWarning,
        stacklevel=4,
    )


def check_top(top_k: int | None, labels: int) -> None:
    """Check that so many labels can be given for a cell.

    Raises
    ------
    ArgumentError
        If there are fewer, or it is no number.
    """
    if top_k is not None:
        check_whole_number(
            "top_k", top_k, least=1, most=labels,
            remedy=f"leave it out: {keys.PROBABILITY!r} in obsm has the probabilities of all labels.",
        )  # fmt: skip
