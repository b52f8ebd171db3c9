"""``predict_response``: the response to perturbations in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal

import pandas as pd

from celloquy.models import Model
from celloquy.tasks.responses.predictor import Known, ResponsePredictor
from celloquy.tasks.responses.reading import Values

if TYPE_CHECKING:
    from anndata import AnnData


def predict_response(
    adata: AnnData | pd.DataFrame | str | PathLike[str],
    perturbations: str | Iterable[str] | None = None,
    *,
    perturbation_key: str,
    control: str | Sequence[str] = "control",
    covariate_key: str | None = None,
    dose_key: str | None = None,
    replicate_key: str | None = None,
    contexts: str | Iterable[str] | None = None,
    doses: float | Iterable[float] | None = None,
    separator: str = "+",
    values: Values = "counts",
    described: pd.DataFrame | None = None,
    model: Model | str | PathLike[str] | None = None,
    priors: Known = "auto",
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> AnnData:
    """Predict how expression answers to perturbations, from others, other contexts and other doses.

    Parameters
    ----------
    adata
        Cells, pseudobulks or a table of effects, as :meth:`celloquy.ResponsePredictor.fit` takes them.
    perturbations, contexts, doses
        What is asked for, as of :meth:`celloquy.ResponsePredictor.predict`.
    perturbation_key, control, covariate_key, dose_key, replicate_key, separator, values, described, model, priors
        As of :class:`celloquy.ResponsePredictor`.
    layer, counts, device, seed, progress
        As of :class:`celloquy.ResponsePredictor`.

    Returns
    -------
    The AnnData of :meth:`celloquy.ResponsePredictor.predict`, conditions × genes.

    Raises
    ------
    ArgumentError, CountsError, GenesError, ModelError, CheckpointError
        As :meth:`celloquy.ResponsePredictor.fit` and :meth:`celloquy.ResponsePredictor.predict`.

    Examples
    --------
    >>> import celloquy as cq
    >>> told = cq.predict_response(adata, ["STAT2", "IRF7+STAT1"], perturbation_key="gene", control="control")
    >>> told.to_df("change").T.sort_values("STAT2")
    """
    predictor = ResponsePredictor(
        perturbation_key=perturbation_key, control=control, covariate_key=covariate_key, dose_key=dose_key,
        replicate_key=replicate_key, separator=separator, values=values, described=described, model=model,
        priors=priors, layer=layer, counts=counts, device=device, seed=seed, progress=progress,
    )  # fmt: skip
    return predictor.fit(adata).predict(perturbations, contexts=contexts, doses=doses)
