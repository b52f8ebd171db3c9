"""``predict_samples``: the class or the value of samples in one call."""

from __future__ import annotations

import time
from os import PathLike
from typing import TYPE_CHECKING, Literal

import pandas as pd

from celloquy import keys
from celloquy.data import CellSource
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.models import Model
from celloquy.runtime.hardware import Precision
from celloquy.tasks.results import check_result, deliver, provenance, with_provenance
from celloquy.tasks.samples.predictor import PARAMETERS, SamplePredictor

if TYPE_CHECKING:
    from anndata import AnnData


def predict_samples(
    adata: AnnData | str | PathLike[str],
    *,
    sample_key: str,
    target: str,
    group_key: str | None = None,
    label_key: str | None = None,
    model: Model | str | PathLike[str] = keys.CELLS_MINI,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str | None = None,
) -> pd.DataFrame:
    """Predict the class or the value of samples, such as patients, from their cells.

    Samples whose target is known are learned from, and what is told of each of them is told without it; those whose
    target is missing are told by what was learned from all others.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, or the path of such a file; as of :meth:`celloquy.SamplePredictor.fit`.
    sample_key, target, group_key, label_key, model
        As of :class:`celloquy.SamplePredictor`.
    layer, counts, species, precision, device, seed, progress
        As of :class:`celloquy.SamplePredictor`.
    key_added
        Prefix of the columns of ``obs`` in which it is kept which cells decide: ``…_label`` (or ``…_value``), what is
        told of the cell's sample, and ``…_evidence``, see :meth:`celloquy.SamplePredictor.deciding_cells`. By default
        ``adata`` stays as it is.

    Returns
    -------
    A table with a row for each sample: ``n_cells`` with counts, ``truth`` where the target is known, ``label``,
    ``probability_…`` of each class, ``confidence``; of a number instead ``value`` and ``error``. ``held_out`` is True
    of samples with a truth. What was tried is in ``attrs["celloquy"]["parameters"]``: ``tried`` and
    ``summary``.

    Raises
    ------
    ArgumentError, CountsError, GenesError, CheckpointError
        As :meth:`celloquy.SamplePredictor.fit`; ``adata`` is then as it was.

    Warns
    -----
    FewSamplesWarning
        If there are fewer than five samples of a class, or with a number; it says what can be claimed.

    Examples
    --------
    >>> import celloquy as cq
    >>> told = cq.predict_samples(adata, sample_key="patient", target="response")
    >>> cq.plots.samples(told)
    """
    began = time.perf_counter()
    predictor = SamplePredictor(
        sample_key=sample_key, target=target, group_key=group_key, label_key=label_key, model=model, layer=layer,
        counts=counts, species=species, precision=precision, device=device, seed=seed, progress=progress,
    )  # fmt: skip
    if key_added is not None:
        if isinstance(adata, str | PathLike):
            raise ArgumentError(
                "`key_added` can't be used with a file.",
                found=f"the file {str(adata)!r}",
                expected="an object in memory, in which the result is kept",
                remedy="read the file first, or leave `key_added` out.",
                argument="key_added",
            )
        check_result(adata, key_added, copy=False)
    with opened(adata) as read:
        table, cells, source = learn_and_tell(predictor, read, deciding=key_added is not None)
        parameters = {name: getattr(predictor, name) or "" for name in PARAMETERS} | {"seed": seed}
        fitted = predictor.model_
        assert fitted is not None
        if key_added is not None:
            assert cells is not None
            reader = source.over(fitted.vocabulary)
            record = provenance("samples", fitted.fingerprint, reader.source, reader.report, parameters, began)
            obs = {f"{key_added}_{name}": cells[name].array for name in cells.columns.drop("sample")}
            deliver(read, obs=obs, record=record, key=key_added, copy=False)
    tried = predictor.report_.reset_index().to_dict("list")
    return with_provenance(table, "samples", fitted, tried=tried, summary=predictor.summary(), **parameters)


def learn_and_tell(
    predictor: SamplePredictor, adata: AnnData, *, deciding: bool
) -> tuple[pd.DataFrame, pd.DataFrame | None, CellSource]:
    """Fit a predictor to an object, and return what is told of all samples in it, of those learned from as held out.

    Parameters
    ----------
    predictor
        The predictor, which is fitted.
    adata
        The object, whose cells are embedded once.
    deciding
        Tell which cells decide, too.

    Returns
    -------
    The table of samples, that of the cells, or None, and the source of the cells.
    """
    cells, source = predictor._fit(adata)
    table, held = predictor._predicted(cells).drop(columns="given"), predictor.held_out_
    for name in held.columns.drop("truth"):
        table.loc[held.index, name] = held[name]
    table.insert(1, "truth", held["truth"].reindex(table.index))
    table["held_out"] = table.index.isin(held.index)
    return table, predictor._deciding(cells, adata) if deciding else None, source
