"""Results handed back: where they are written, and how they were made."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy import keys
from celloquy.errors import KeyWarning
from celloquy.genes import AlignmentReport
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData


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
        "summed": np.array([" + ".join(duplicate.names) for duplicate in report.duplicates], dtype=str),
        "yielded": np.array(report.yielded, dtype=str),
        "ambiguous": np.array(list(report.ambiguous), dtype=str),
        "unknown": np.array(report.unknown, dtype=str),
        "elsewhere": np.array(report.elsewhere, dtype=str),
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
        Results by their keys.
    copy
        Leave the object as it is, and return a copy.
    """
    result = adata.copy() if copy else adata
    for target, values in ((result.obs, obs), (result.obsm, obsm), (result.layers, layers)):
        for name, value in (values or {}).items():
            target[name] = value
    records = result.uns.get(keys.PROVENANCE)
    result.uns[keys.PROVENANCE] = {**(records if isinstance(records, Mapping) else {}), key: record}
    return result if copy else None


def free_prefix(adata: AnnData, label_key: str) -> str:
    """Return the usual prefix of an annotation's keys, unless an annotation by another column of labels has it.

    Warns
    -----
    KeyWarning
        If another annotation has it; the prefix then ends in the ``label_key``.
    """
    records = adata.uns.get(keys.PROVENANCE)
    record = records.get(keys.LABEL) if isinstance(records, Mapping) else None
    other = record.get("parameters", {}).get("label_key") if isinstance(record, Mapping) else None
    if other in (None, label_key):
        return keys.ANNOTATION
    prefix = f"{keys.ANNOTATION}_{label_key}"
    warnings.warn(
        f"The annotation by {other!r} stays; this one has keys that begin with {prefix!r}.", KeyWarning, stacklevel=4
    )
    return prefix
