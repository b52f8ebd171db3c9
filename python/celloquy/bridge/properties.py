"""Properties of genes for R: labels that crossed become classes, results become columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy.bridge.genes import columns_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.models import Model
    from celloquy.tasks.properties import GeneClassifier


def classify_genes(
    genes: Sequence[str] | None,
    labels: Sequence[Any] | None,
    adata: AnnData | None,
    *,
    levels: Sequence[str] | None,
    to: Sequence[str] | None,
    model: Model | str | None,
    evidence: Sequence[str | Mapping[str, Any]],
    out: str | None,
    overwrite: bool,
    **given: Any,
) -> dict[str, Any]:
    """Return what is told of genes, and of those that were held out, as columns; and what was tried.

    Parameters
    ----------
    genes, labels, adata
        As :meth:`celloquy.GeneClassifier.fit` takes them; the counts of ``adata`` are in ``X``. Without labels a
        classifier is read from ``out``.
    levels
        Classes in their order; None where labels have none.
    to
        Genes that are asked for.
    model, given
        As of :class:`celloquy.GeneClassifier`.
    evidence
        Kinds of features; a mapping with ``values``, ``names`` and ``features`` is a table of genes × features.
    out, overwrite
        Directory to which the classifier is saved, if labels are given.
    """
    from celloquy.models.directory import check_directory
    from celloquy.tasks.properties import GeneClassifier

    if labels is None:
        assert out is not None
        classifier = GeneClassifier.load(out)
        classifier.unknown, classifier.progress = given["unknown"], given["progress"]
    else:
        if out is not None:
            check_directory(out, overwrite=overwrite)
        listed = [one if isinstance(one, str) else table_from_r(one) for one in evidence]
        classifier = GeneClassifier(
            model=model, evidence=listed, layer=None if adata is None else "X", **given
        )  # fmt: skip
        if to is not None:
            classifier.check_request(to)
        classifier.fit(genes or [], _labels(labels, levels), adata)
        if out is not None:
            classifier.save(out, overwrite=overwrite)
    return _told(classifier, to)


def table_from_r(crossed: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table of genes × features."""
    import pandas as pd

    values = np.asarray(crossed["values"], dtype=np.float64)
    return pd.DataFrame(values, index=list(crossed["names"]), columns=list(crossed["features"]))


def _told(classifier: GeneClassifier, to: Sequence[str] | None) -> dict[str, Any]:
    table = classifier.predict(to)
    table["given"] = table["given"].astype(np.int32)
    report = classifier.report_.reset_index()
    report["chosen"] = report["chosen"].astype(np.int32)
    return {
        "columns": columns_of(table),
        "held_out": columns_of(classifier.held_out_),
        "report": columns_of(report),
        "classes": list(classifier.classes_),
        "method": classifier.method_,
        "summary": classifier.summary(),
    }


def _labels(labels: Sequence[Any], levels: Sequence[str] | None) -> Any:
    import pandas as pd

    return list(labels) if levels is None else pd.Categorical(list(labels), categories=list(levels))
