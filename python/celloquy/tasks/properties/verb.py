"""``classify_genes``: a property of genes in one call."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from celloquy.models import Model
from celloquy.tasks.properties.classifier import Evidence, GeneClassifier
from celloquy.tasks.properties.folds import Folds
from celloquy.tasks.properties.labelled import Unknown

if TYPE_CHECKING:
    from anndata import AnnData


def classify_genes(
    genes: Iterable[str],
    labels: Iterable[Any],
    *,
    to: Iterable[str] | None = None,
    model: Model | str | PathLike[str] | None = None,
    adata: AnnData | str | PathLike[str] | None = None,
    evidence: Evidence = "auto",
    folds: Folds = "family",
    unknown: Unknown = "error",
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Learn a property of genes from some that have a label, and tell it of others.

    Parameters
    ----------
    genes, labels, adata
        As :meth:`celloquy.GeneClassifier.fit` takes them.
    to
        Genes whose property is asked for; by default all that are known.
    model, evidence, folds, unknown, layer, counts, species, device, seed, progress
        As of :class:`celloquy.GeneClassifier`.

    Returns
    -------
    The table of :meth:`celloquy.GeneClassifier.predict`; its ``attrs`` have the ``"report"`` of what was tried on
    held-out genes, as a dictionary of columns, and the ``"method"`` that was chosen.

    Raises
    ------
    GenesError, ArgumentError, ModelError, CheckpointError, CountsError
        As :meth:`celloquy.GeneClassifier.fit`.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.classify_genes(table["gene"], table["dosage_sensitive"], to=["NKX2-5"])
    """
    classifier = GeneClassifier(
        model=model, evidence=evidence, folds=folds, unknown=unknown, layer=layer, counts=counts, species=species,
        device=device, seed=seed, progress=progress,
    )  # fmt: skip
    if to is not None:
        to = list(to) if isinstance(to, Iterable) and not isinstance(to, str | bytes) else to
        classifier.check_request(to)
    table = classifier.fit(genes, labels, adata).predict(to)
    table.attrs = {"report": classifier.report_.reset_index().to_dict("list"), "method": classifier.method_}
    return table
