"""What is told of samples for R, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy.bridge.genes import columns_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.models import Model


def predict_samples(
    adata: AnnData, *, sample_key: str, target: str | None, numbers: bool, model: Model | str, out: str | None,
    overwrite: bool, counts: Any, species: Any, precision: Any, device: str, progress: bool, **fitting: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return what is told of samples, which cells decide, and what was tried.

    Parameters
    ----------
    adata
        The cells, with counts in ``X``.
    sample_key, target
        As of :class:`celloquy.SamplePredictor`; None as target reads a predictor from ``out``.
    numbers
        Whether the target is a number, since columns cross as categories.
    model, fitting
        As of :class:`celloquy.SamplePredictor`.
    out, overwrite
        Directory to which the predictor is saved, if something is learned.
    counts, species, precision, device, progress
        How cells are read and embedded.
    """
    import pandas as pd

    from celloquy.models.directory import check_directory
    from celloquy.tasks.samples import SamplePredictor
    from celloquy.tasks.samples.verb import learn_and_tell

    running = {"layer": "X", "counts": counts, "species": species, "precision": precision, "device": device}
    if target is None:
        assert out is not None
        predictor = SamplePredictor.load(out)
        predictor.sample_key, predictor.progress = sample_key, progress
        for name, value in running.items():
            # What is left out is as the predictor was fitted.
            if value is not None:
                setattr(predictor, name, value)
        table, cells = predictor.predict(adata), predictor.deciding_cells(adata)
    else:
        if out is not None:
            check_directory(out, overwrite=overwrite)
        if numbers:
            adata.obs[target] = pd.to_numeric(adata.obs[target].astype(object))
        predictor = SamplePredictor(
            sample_key=sample_key, target=target, model=model, progress=progress, **running, **fitting
        )
        table, found, _ = learn_and_tell(predictor, adata, deciding=True)
        assert found is not None
        cells = found
        # R's counts lie in X; whoever reads the predictor has them elsewhere.
        predictor.layer = None
        if out is not None:
            predictor.save(out, overwrite=overwrite)
    report = predictor.report_.reset_index()
    return {
        "samples": _columns(table.rename_axis("sample").reset_index()),
        "cells": _columns(cells.rename_axis("cell").reset_index()),
        "report": _columns(report),
        "classes": list(predictor.classes_),
        "summary": predictor.summary(),
    }


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    """Columns that cross: truth values as 0 and 1, missing classes as empty text."""
    flags = {str(name): table[name].astype(np.int32) for name in table if table[name].dtype.kind == "b"}
    texts: dict[str, pd.Series] = {
        name: table[name].astype(object).fillna("").astype(str)
        for name in ("truth", "label")
        if name in table and table[name].dtype.kind not in "iuf"
    }
    return columns_of(table.assign(**flags | texts))
