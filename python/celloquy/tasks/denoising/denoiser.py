"""Denoise: the expression that a cell's counts are a noisy draw of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from torch import Tensor

from celloquy import keys
from celloquy.checks import check_whole_number
from celloquy.data import CellSource
from celloquy.data.store import add_to_store, opened
from celloquy.data.tables import Table
from celloquy.errors import ArgumentError
from celloquy.genes import GeneVocabulary
from celloquy.models import Model, ModelConfig
from celloquy.runtime.hardware import Precision
from celloquy.runtime.resume import ROOM, Output
from celloquy.tasks.base import Task
from celloquy.tasks.denoising.expression import DenoisedExpression, DenoisedRows, Unit
from celloquy.tasks.denoising.request import Request, check_request, reserve_output
from celloquy.tasks.results import deliver
from celloquy.training.options import ALL_CELLS, PRETRAINING, TASKS, TrainingOptions

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, eq=False, repr=False)
class Denoiser(Task):
    """Tells the expression of a cell from the noise of its counts.

    The model fills in masked counts, so it predicts a gene from what else the cell expresses and from the cells of its
    tissue. The result is the mean of what its decoder expects and of the counts of the nearest cells in the latent,
    both at the depth of the cell. Equal weights, 30 neighbours and the length of training (twice as long for two
    thousand cells as for hundreds) were chosen once, on cells that are in no reported figure.

    Parameters are those of :class:`celloquy.Task`, and the following. By default no cell is held out of the training,
    because each is to be denoised.

    Examples
    --------
    >>> import celloquy as cq
    >>> denoiser = cq.Denoiser().fit(adata)
    >>> denoiser.save("denoiser/")
    >>> cq.Denoiser.load("denoiser/").predict(adata, genes=["CD79A", "LYZ"], return_std=True)
    """

    name: ClassVar[str] = "denoise"
    requires: ClassVar[tuple[str, ...]] = ("embed", "decode")
    usual_training: ClassVar[TrainingOptions] = ALL_CELLS

    n_neighbors: int = 30
    """Nearest cells of the same batch that the decoder is averaged with; 0 takes the decoder alone."""

    batches_: list[str] = field(default_factory=list, init=False)

    def _check(self) -> None:
        super()._check()
        check_whole_number("n_neighbors", self.n_neighbors, least=0, remedy="leave it out: 30 are usual.")

    def fit(self, adata: AnnData) -> Self:
        """Train on cells; every gene that they express is learned, whether or not its name is known.

        Parameters
        ----------
        adata
            Cells × genes with raw counts, which are only read.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If there are no raw counts, no gene is expressed, or a column is missing.
        """
        self._prepare()
        return self._fit(self._source(adata))

    def _fit(self, source: CellSource) -> Self:
        vocabulary = self._vocabulary(source)
        cells = self._over(source, vocabulary)
        counts = cells.read_all()
        with self.trainer.seeded():
            model = self._start(vocabulary, counts, len(cells.batches))
            # The faster pace was tried from scratch alone; a pretrained model is changed in smaller steps.
            pace = PRETRAINING if self._pretrained is None else TASKS
            # By then hundreds of cells are not yet learned by heart, and of thousands more is learned.
            steps = round(pace.steps * min(max(len(counts) / 900, 1), 2))
            self._fit_counts(model, counts, pace=replace(pace, steps=steps))
        self.batches_ = cells.batches
        return self

    def predict(
        self,
        adata: AnnData,
        *,
        unit: Unit = "counts",
        genes: Sequence[str] | None = None,
        return_std: bool = False,
        out: str | PathLike[str] | None = None,
        key_added: str = keys.DENOISED,
        copy: bool = False,
    ) -> AnnData | None:
        """Denoise cells, those fitted or others, with genes in any order.

        Parameters
        ----------
        adata
            Cells × genes with raw counts.
        unit
            ``"counts"``: expected counts at the cell's own depth; ``"lognorm"``: log1p of counts per 10,000.
        genes
            Names in ``adata.var_names``, if not all of them.
        return_std
            Write the standard deviation of a count, too: that of the negative binomial, which holds the noise of
            counting and the variation that the model cannot explain.
        out
            File to write, ``.h5ad`` or ``.zarr``, by blocks of cells: ``obs``, ``var`` and the result as layers.
        key_added
            Key of the result.
        copy
            Return a copy with the result, and leave ``adata`` as it is.

        Returns
        -------
        None, or the copy. Written are ``layers["celloquy_denoised"]``, ``(cells, genes)`` float32, for some genes
        ``obsm["celloquy_denoised"]``, which :func:`celloquy.get` returns with their names; standard deviations under
        ``"celloquy_denoised_std"``; and how it was made in ``uns["celloquy"]["celloquy_denoised"]``, where
        ``["genes"]["unknown"]`` names the genes that the model does not know: these keep their counts.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts, too few known genes, or the result does not fit the memory.
            ``adata`` is then as it was.
        """
        began, _ = time.perf_counter(), self._trained
        request = check_request(adata, unit, genes, return_std=return_std, out=out, key_added=key_added, copy=copy)
        with ExitStack() as stack:
            output = reserve_output(adata, request, stack, source=adata.filename)
            return self.answer(adata, request, output, began)

    def answer(self, adata: AnnData, request: Request, output: Output | None, began: float) -> AnnData | None:
        """Denoise cells as a checked request asks; see :meth:`predict` and :func:`reserve_output`."""
        source = self._source(adata, batches=self.batches_ or None)
        return self._predict(adata, source, request, began, output)

    def check_request(self, adata: AnnData, reference: AnnData | None = None, **asked: Any) -> None:
        """See :meth:`Task.check_request`."""
        check_request(adata, **asked)

    def _predict(
        self, adata: AnnData, source: CellSource, request: Request, began: float, output: Output | None
    ) -> AnnData | None:
        model = self._trained
        cells = self._over(source, model.vocabulary)
        expression = DenoisedExpression(
            model, cells, self._embed(cells), n_neighbors=self.n_neighbors, columns=_columns(source, request.names),
            unit=request.unit,
        )  # fmt: skip
        key = request.key_added
        results = {key: DenoisedRows(expression, progress=self.progress)}
        if request.return_std:
            results[f"{key}_std"] = DenoisedRows(expression, "std", progress=self.progress)
        record = self._record(cells, began)
        record["parameters"] |= {"unit": request.unit}
        if output is not None:
            (output.folder / ROOM).unlink()
            add_to_store(output.result, layers=results, uns={keys.PROVENANCE: {key: record}})
            return None
        values = {name: rows.read(slice(0, adata.n_obs)).numpy() for name, rows in results.items()}
        record["seconds"] = round(time.perf_counter() - began, 3)
        if request.all_genes:
            return deliver(adata, layers=values, record=record, key=key, copy=request.copy)
        tables = {name: Table(one, request.names.tolist()) for name, one in values.items()}
        return deliver(adata, obsm=tables, record=record, key=key, copy=request.copy)

    def _vocabulary(self, source: CellSource) -> GeneVocabulary:
        # A gene without a known name has counts all the same.
        if self._pretrained is not None:
            return self._pretrained.vocabulary
        return GeneVocabulary.from_names(source.expressed_names(), keep_unknown=True)

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"batches": self.batches_}, {}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batches_ = list(values["batches"])


def denoise(
    adata: AnnData | str | PathLike[str],
    *,
    unit: Unit = "counts",
    genes: Sequence[str] | None = None,
    return_std: bool = False,
    out: str | PathLike[str] | None = None,
    model: Model | str | PathLike[str] | None = None,
    freeze_encoder: bool = False,
    config: ModelConfig | str = "mini",
    n_neighbors: int = 30,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_key: str | None = None,
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    training: TrainingOptions | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = keys.DENOISED,
    copy: bool = False,
) -> AnnData | None:
    """Denoise cells: train a :class:`celloquy.Denoiser` on them, and apply it to them.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, or the path of a file, as of :func:`celloquy.embed`; then ``out`` is needed.
    unit, genes, return_std, out, key_added, copy
        Result wanted, and its place, see :meth:`celloquy.Denoiser.predict`.
    model, freeze_encoder, config, n_neighbors
        Model to train, see :class:`celloquy.Denoiser`.
    layer, counts, tissue_key, spatial_key, batch_key, species
        Reading options, see :class:`celloquy.CellColumns`.
    epochs, training, precision, device, seed, progress
        Training and running options, as in :func:`celloquy.pretrain`.

    Returns
    -------
    None, or the copy, see :meth:`celloquy.Denoiser.predict`.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        If an input or an argument is unfit; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.denoise(adata)
    >>> adata.layers["celloquy_denoised"]
    """
    began = time.perf_counter()
    denoiser = Denoiser(
        model=model, freeze_encoder=freeze_encoder, config=config, n_neighbors=n_neighbors, layer=layer,
        counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key, species=species,
        epochs=epochs, training=training, precision=precision, device=device, seed=seed, progress=progress,
    )  # fmt: skip
    path = Path(adata) if isinstance(adata, str | PathLike) else None
    if path is not None and out is None:
        raise ArgumentError(
            "`out` is missing.",
            found=f"`adata` is a path, {str(path)!r}, and `out` is not given",
            expected="the path of a new file",
            remedy=f"pass out={f'{path.stem}_denoised{path.suffix}'!r}, or read the file first.",
            argument="out",
        )
    with ExitStack() as stack:
        cells = stack.enter_context(opened(adata))
        # Before the training, not after it.
        request = check_request(cells, unit, genes, return_std=return_std, out=out, key_added=key_added, copy=copy)
        denoiser._prepare()
        output = reserve_output(cells, request, stack, source=path or cells.filename)
        source = denoiser._source(cells)
        _columns(source, request.names)
        denoiser._fit(source)
        with denoiser.kept():
            return denoiser._predict(cells, source, request, began, output)


def _columns(cells: CellSource, names: pd.Index[str]) -> np.ndarray:
    """Columns of the counts that have these names."""
    if cells.var_names.equals(names):
        return np.arange(len(names))
    columns = cells.var_names.get_indexer_for(names)
    if len(columns) != len(names) or (columns < 0).any():
        raise ArgumentError(
            f"The counts in {cells.counts.source} are not those of adata.var_names.",
            found=f"{int((columns < 0).sum()):,} names that the counts lack, or names of several columns",
            expected="a column of counts for every gene of the object",
            remedy="pass `layer` with counts of the object's genes, or `genes`.",
        )
    return columns
