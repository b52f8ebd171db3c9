"""Tables of results: plain arrays in ``obsm``, with the names of their columns in ``uns``.

Labels and genes may have names that no member of a file can have (``"NK/T cell"``, ``"_index"``, two alike), and HDF5
has no room for the names of some thousands of columns. As values of an array every name can be stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from celloquy import keys
from celloquy.errors import ArgumentError, some

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS, TEXTS = "columns", "texts"


@dataclass(frozen=True, eq=False)
class Table:
    """A table with a row for every cell and names of any kind for its columns."""

    values: np.ndarray
    """``(cells, columns)``: numbers, or places in ``texts``."""
    columns: Sequence[str]
    """Names of the columns."""
    texts: Sequence[str] | None = None
    """The texts of a table of texts, each once."""

    @classmethod
    def of_texts(cls, columns: Mapping[str, Sequence[str] | np.ndarray]) -> Self:
        """Make a table of texts, column by column."""
        cells = np.column_stack([np.asarray(column, dtype=object) for column in columns.values()])
        codes, texts = pd.factorize(cells.ravel())
        return cls(codes.reshape(cells.shape).astype(np.int32), list(columns), list(texts))

    def names(self) -> dict[str, np.ndarray]:
        """Return what stands in ``uns`` beside the values."""
        stored = {COLUMNS: text_array(self.columns)}
        return stored if self.texts is None else stored | {TEXTS: text_array(self.texts)}


def get(adata: AnnData, key: str) -> pd.DataFrame:
    """Return a result of celloquy as a table, a row for every cell.

    Probabilities of labels, the most probable labels, evidence, denoised and imputed expression lie in ``obsm`` as
    arrays, and the names of their columns in ``uns["celloquy"]``, because a file can't have every label or gene as the
    name of a column.

    Parameters
    ----------
    adata
        Cells with the result.
    key
        Key of the result in ``obsm``, such as ``"celloquy_probability"``, or in ``layers``, such as
        ``"celloquy_denoised"``.

    Returns
    -------
    DataFrame ``(cells, columns)`` with names, of the array in ``adata``: copy it before you change it.

    Raises
    ------
    ArgumentError
        If there is no such result, or the names of its columns are lost.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata, reference=reference, label_key="cell_type")
    >>> cq.get(adata, "celloquy_probability")["T cell"]
    """
    tables = _tables(adata)
    if key in tables:
        names, values = tables[key], np.asarray(adata.obsm[key])
        if TEXTS in names:
            values = text_array(names[TEXTS])[values]
        return pd.DataFrame(values, index=adata.obs_names, columns=pd.Index(text_array(names[COLUMNS])))
    if key in adata.layers:
        return adata.to_df(layer=key)
    lost = key in adata.obsm
    raise ArgumentError(
        f"There is no table {key!r} in the object.",
        found=f"obsm[{key!r}] without the names of its columns in uns[{keys.PROVENANCE!r}][{key!r}]"
        if lost
        else some([*tables, *adata.layers]) or "no results",
        expected="the key of a result of annotate, denoise or impute",
        remedy="keep `uns` where objects are joined, e.g. anndata.concat(..., uns_merge='first')."
        if lost
        else "pass the key of a result, or compute it first.",
        argument="key",
    )


def text_array(texts: Iterable[object]) -> np.ndarray:
    """Return texts as an array of objects, in which one long text does not make room for all to be as long.

    R takes it for a character vector, also where it is empty or of one.
    """
    return np.array([str(text) for text in ([texts] if isinstance(texts, str) else texts)], dtype=object)


def unwritable(names: Iterable[object]) -> list[str]:
    """Return the texts that no file can hold: with a null character, or with what is no Unicode text."""
    return [repr(name) for name in map(str, names) if "\0" in name or not _is_unicode(name)]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tables(adata: AnnData) -> dict[str, Mapping[str, Any]]:
    """The names of the tables of an object, by the keys of their values."""
    records = adata.uns.get(keys.PROVENANCE)
    found = {} if not isinstance(records, Mapping) else {key: records[key] for key in records if key in adata.obsm}
    return {
        key: record
        for key, record in found.items()
        if isinstance(record, Mapping)
        and COLUMNS in record
        and len(text_array(record[COLUMNS])) == adata.obsm[key].shape[-1]
    }
