"""Responses to perturbations for R: tables cross as columns, results as matrices of genes × conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from celloquy.bridge.genes import columns_of
from celloquy.bridge.matrices import check_size
from celloquy.bridge.properties import table_from_r
from celloquy.data.tables import text_array

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.models import Model
    from celloquy.tasks.responses import ResponsePredictor


def predict_response(
    adata: AnnData | None,
    *,
    perturbations: Sequence[str] | None,
    contexts: Sequence[str] | None,
    doses: Sequence[float] | None,
    controls: AnnData | None,
    context_key: str | None,
    described: Mapping[str, Any] | None,
    model: Model | str | None,
    priors: Sequence[str | Mapping[str, Any]],
    out: str | None,
    overwrite: bool,
    progress: bool,
    **given: Any,
) -> dict[str, Any]:
    """Return what is predicted, what was measured, what was hidden, and what was tried.

    Parameters
    ----------
    adata
        What is learned from, as :meth:`celloquy.ResponsePredictor.fit` takes it, with its values in ``X``; None reads a
        predictor from ``out``.
    perturbations, contexts, doses, controls
        As :meth:`celloquy.ResponsePredictor.predict` takes them.
    context_key
        Column of ``controls`` with the context, whatever it was called where the predictor was fitted.
    described
        ``names`` and ``columns`` of the table of perturbations.
    model, given
        As of :class:`celloquy.ResponsePredictor`.
    priors
        Kinds of features; a mapping with ``values``, ``names`` and ``features`` is a table of genes × features.
    out, overwrite
        Directory to which the predictor is saved, if something is learned.
    progress
        Show a progress bar, and then what was chosen.
    """
    from celloquy.models.directory import check_directory
    from celloquy.tasks.responses import ResponsePredictor

    if adata is None:
        assert out is not None
        predictor = _loaded(out, progress, given["counts"])
    else:
        if out is not None:
            check_directory(out, overwrite=overwrite)
        listed = [one if isinstance(one, str) else table_from_r(one) for one in priors]
        predictor = ResponsePredictor(
            described=None if described is None else _described(described), model=model,
            priors="auto" if listed == ["auto"] else listed, layer="X", progress=progress, **given,
        )  # fmt: skip
        predictor.fit(adata)
        # R's values lie in X; whoever reads the predictor has them elsewhere.
        predictor.layer = None
        if out is not None:
            predictor.save(out, overwrite=overwrite)
    told = predictor.predict(
        perturbations, contexts=contexts, doses=doses, controls=_in_context(controls, context_key, predictor)
    )
    return {
        "predicted": _matrices(told, X="expression", change="change", lower="lower", upper="upper"),
        "measured": _matrices(predictor.measured_, X="expression", change="change", error="error"),
        "held_out": _matrices(predictor.held_out_, X="observed", predicted="predicted"),
        "report": columns_of(predictor.report_.assign(chosen=lambda table: table["chosen"].astype(np.int32))),
        "summary": predictor.summary(),
    }


def sample_response(
    controls: AnnData, perturbation: str, dose: float | None, context_key: str | None, *, out: str,
    counts: Literal["round"] | None, seed: int, progress: bool,
) -> AnnData:  # fmt: skip
    """Return control cells, with counts in ``X``, as they would be, see ``celloquy.ResponsePredictor.sample_cells``."""
    predictor = _loaded(out, progress, counts)
    predictor.seed = seed
    cells = _in_context(controls, context_key, predictor)
    assert cells is not None
    return predictor.sample_cells(cells, perturbation, dose=dose)


def _loaded(out: str, progress: bool, counts: Literal["round"] | None) -> ResponsePredictor:
    from celloquy.tasks.responses import ResponsePredictor

    predictor = ResponsePredictor.load(out)
    predictor.progress, predictor.layer = progress, None
    # What is left out is as the predictor was fitted.
    predictor.counts = counts or predictor.counts
    return predictor


def _in_context(controls: AnnData | None, key: str | None, predictor: ResponsePredictor) -> AnnData | None:
    if controls is not None and key is not None and predictor.covariate_key is not None:
        controls.obs[predictor.covariate_key] = controls.obs[key]
    return controls


def _described(crossed: Mapping[str, Any]) -> pd.DataFrame:
    from pandas import DataFrame

    columns = {name: list(column) for name, column in crossed["columns"].items()}
    return DataFrame(columns, index=list(crossed["names"]))


def _matrices(adata: AnnData, **named: str) -> dict[str, Any]:
    """Layers, and ``X``, as matrices of genes × conditions by the name that R gives them; and the conditions."""
    check_size(adata.X)
    layers = {name: adata.X if layer == "X" else adata.layers[layer] for layer, name in named.items()}
    return {
        "matrices": {name: np.asarray(layer, dtype=np.float64).T for name, layer in layers.items()},
        "genes": text_array(adata.var_names),
        "names": text_array(adata.obs_names),
        "conditions": columns_of(adata.obs),
    }
