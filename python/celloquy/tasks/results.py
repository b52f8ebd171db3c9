"""Results handed back: where they are written, and how they were made."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy import keys
from celloquy.checks import check_choice
from celloquy.data.store import quiet_anndata
from celloquy.data.tables import Table, text_array, unwritable
from celloquy.errors import ArgumentError, KeyWarning
from celloquy.genes import AlignmentReport
from celloquy.version import VERSION

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.models import Model


LONGEST_KEY = 200
"""Bytes of a key at most: with its ending it is the name of a file in a zarr directory, which has up to 255."""


def provenance(
    task: str, model: str, counts: str, report: AlignmentReport, parameters: Mapping[str, Any], began: float
) -> dict[str, Any]:
    """Return how a result was made, in the types that an h5ad file holds.

    Parameters
    ----------
    task
        Name of the task.
    model
        Fingerprint of the model.
    counts
        Place where the counts were found.
    report
        Report of the alignment of the genes.
    parameters
        Parameters of the call: text, numbers and truth values.
    began
        ``time.perf_counter()`` when the call began.
    """
    genes = {
        "names": report.names,
        "matched": report.matched,
        "share": report.share,
        "weighed_by": report.weighed_by,
        "species": report.species,
        "rules": dict(report.rules),
        "summed": text_array(" + ".join(duplicate.names) for duplicate in report.duplicates),
        "yielded": text_array(report.yielded),
        "ambiguous": text_array(report.ambiguous),
        "unknown": text_array(report.unknown),
        "elsewhere": text_array(report.elsewhere),
        "not_genes": text_array(report.not_genes),
    }
    return {
        "version": VERSION,
        "task": task,
        "model": model,
        "counts": counts,
        "genes": genes,
        "parameters": dict(parameters),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began, 3),
    }


def with_provenance(table: pd.DataFrame, task: str, model: Model | None, **parameters: Any) -> pd.DataFrame:
    """Return a table that no object holds with how it was made in ``attrs["celloquy"]``.

    Parameters
    ----------
    table
        The table.
    task
        Name of the verb.
    model
        The model that was asked, if one was.
    parameters
        Parameters of the call: text, numbers, truth values and dictionaries of them.
    """
    fingerprint = "" if model is None else model.fingerprint
    table.attrs[keys.PROVENANCE] = {
        "version": VERSION, "task": task, "model": fingerprint, "parameters": parameters,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    return table


def genes_cut(model: Model, expressed: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    """Return the column of ``obs`` with the genes of each cell that a model did not read, by its key.

    Parameters
    ----------
    model
        The model; one that reads all genes has no such column.
    expressed
        ``(cells,)``: genes of its vocabulary that each cell expresses.
    prefix
        Prefix of the key.
    """
    if model.context is None:
        return {}
    return {keys.prefixed(keys.CUT, prefix): (expressed - model.context).clip(0).astype(np.int32)}


def deliver(
    adata: AnnData,
    *,
    record: dict[str, Any],
    key: str,
    obs: Mapping[str, Any] | None = None,
    obsm: Mapping[str, Any] | None = None,
    layers: Mapping[str, Any] | None = None,
    copy: bool,
) -> AnnData | None:
    """Write results to an object, or to a copy that is returned; to be called when nothing can fail any more.

    Parameters
    ----------
    adata
        The object.
    record
        Provenance of the results, see :func:`provenance`; it goes to ``uns["celloquy"][key]``, beside those of others.
    key
        Key of the main result.
    obs, obsm, layers
        Results by their keys; the names of a :class:`celloquy.data.tables.Table` go to ``uns["celloquy"]``.
    copy
        Leave the object as it is, and return a copy.
    """
    added = {key: record}
    with quiet_anndata():
        result = adata.copy() if copy else adata
        for place, values in (("obs", obs), ("obsm", obsm), ("layers", layers)):
            for name, value in (values or {}).items():
                if isinstance(value, Table):
                    added[name] = {**added.get(name, {}), **value.names()}
                    value = value.values
                # A view becomes an object of its own when it is first written to.
                getattr(result, place)[name] = value
        records = result.uns.get(keys.PROVENANCE)
        result.uns[keys.PROVENANCE] = {**(records if isinstance(records, Mapping) else {}), **added}
    return result if copy else None


def check_result(adata: AnnData, key: object, *, copy: bool, argument: str = "key_added") -> None:
    """Check what can be known of a result before it is computed: that its key can be written, and the object copied.

    Raises
    ------
    ArgumentError
        If no file can have the key, ``copy`` is neither True nor False, or a copy is wanted of an object whose
        matrices are in a file.
    """
    usable = isinstance(key, str) and 0 < len(key.encode(errors="ignore")) <= LONGEST_KEY and not unwritable([key])
    if not usable or any(sign in str(key) for sign in "/\\") or str(key).startswith("."):
        raise ArgumentError(
            f"`{argument}` can't be used.",
            found=repr(key) if len(repr(key)) < 100 else f"{len(str(key)):,} characters",
            expected=f"a name that every file can have: up to {LONGEST_KEY} bytes, no slash, no dot at the start",
            remedy="pass another name, or leave it out.",
            argument=argument,
        )
    check_choice("copy", copy, (True, False))
    if copy and adata.isbacked:
        raise ArgumentError(
            "`copy` can't be used with an object whose matrices are in a file.",
            found=f"a backed object of {str(adata.filename)!r}",
            expected="an object in memory",
            remedy="read it first, adata = adata.to_memory(), or leave `copy` out.",
            argument="copy",
        )


def free_prefix(adata: AnnData, label_key: str) -> str:
    """Return the usual prefix of an annotation's keys, unless an annotation by another column of labels has it.

    Warns
    -----
    KeyWarning
        If another annotation has it; the prefix then ends in the ``label_key``, as far as a key can have it.
    """
    usual = _annotated_by(adata, keys.ANNOTATION)
    if usual in (None, label_key):
        return keys.ANNOTATION
    safe = re.sub(r"[/\\\0\ud800-\udfff]", "_", label_key)[: LONGEST_KEY // 8]
    numbered = (f"{keys.ANNOTATION}_{safe}{end}" for end in chain([""], (f"_{number}" for number in count(2))))
    prefix = next(one for one in numbered if _annotated_by(adata, one) in (None, label_key))
    warnings.warn(
        f"The annotation by {usual!r} stays; this one has keys that begin with {prefix!r}.", KeyWarning, stacklevel=4
    )
    return prefix


def _annotated_by(adata: AnnData, prefix: str) -> str | None:
    """The column of labels of an annotation whose keys have a prefix."""
    records = adata.uns.get(keys.PROVENANCE)
    record = records.get(keys.prefixed(keys.LABEL, prefix)) if isinstance(records, Mapping) else None
    return record.get("parameters", {}).get("label_key") if isinstance(record, Mapping) else None
