"""Integrate batches: an embedding in which cells lie by what they are, not by where they were measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor

from celloquy import keys
from celloquy.checks import check_number, check_whole_number
from celloquy.data import CellSource
from celloquy.data.variable_genes import variable_genes
from celloquy.errors import ArgumentError
from celloquy.models import Model, ModelConfig
from celloquy.runtime.hardware import Precision
from celloquy.tasks.base import Task
from celloquy.tasks.results import check_result, deliver
from celloquy.training.options import TrainingOptions

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True, eq=False, repr=False)
class Integrator(Task):
    """Embeds cells free of their batch.

    The decoder is told the batch, so the embedding need not carry it, and batches that lie differently in the embedding
    are drawn together. The embedding is computed from the counts alone, so new batches need no new fit. A tissue is no
    batch: cells of several batches may be read together, and by default are.

    Parameters are those of :class:`celloquy.Task`, and the following.

    Examples
    --------
    >>> import celloquy as cq
    >>> integrator = cq.Integrator(batch_key="donor").fit(adata)
    >>> integrator.save("integrator/")
    >>> cq.Integrator.load("integrator/").predict(adata)
    """

    name: ClassVar[str] = "integrate"
    requires: ClassVar[tuple[str, ...]] = ("embed", "decode")

    batch_key: str | None = field()
    """Column of ``obs`` with the experimental batch, from which the embedding is freed."""
    batch_mixing: float = 100.0
    """Weight, in nats a cell, with which batches are drawn together in the embedding; 0 leaves it to the decoder."""
    n_top_genes: int | None = 2000
    """Most variable genes, to which a model trained from scratch is confined; None takes all."""

    batches_: list[str] = field(default_factory=list, init=False)

    def _check(self) -> None:
        super()._check()
        remedy = "leave it out, or pass a smaller one where cell types merge."
        check_number("batch_mixing", self.batch_mixing, remedy=remedy)
        if self.n_top_genes is not None:
            check_whole_number("n_top_genes", self.n_top_genes, least=1, remedy="pass None to take all genes.")
            self._refuse_with_model("n_top_genes")

    def fit(self, adata: AnnData) -> Self:
        """Train on cells of several batches.

        Parameters
        ----------
        adata
            Cells × genes with raw counts, which are only read.

        Raises
        ------
        CountsError, GenesError, ArgumentError, CheckpointError, ModelError
            If there are no raw counts, no known genes, no such column, only one batch, or an unfit parameter.
        """
        self._prepare()
        return self._fit(self._source(adata))

    def _fit(self, source: CellSource) -> Self:
        self.selected_, self.shared_ = False, None
        vocabulary = self._vocabulary(source)
        if len(source.batches) < 2:
            raise ArgumentError(
                "There is nothing to integrate: all cells are of one batch.",
                found=", ".join(source.batches) or "no batch",
                expected="at least two batches",
                remedy="pass the column of the batches as `batch_key`; to embed cells of one batch use cq.embed().",
                argument="batch_key",
            )
        cells = self._over(source, vocabulary)
        counts = cells.read_all()
        if self._pretrained is not None:
            # Cells to come are read over the genes that these have, too.
            self.shared_ = cells.measured
        elif self.n_top_genes is not None:
            vocabulary, self.selected_ = vocabulary.take(variable_genes(counts, self.n_top_genes)), True
            counts = self._over(source, vocabulary).read_all()
        with self.trainer.seeded():
            model = self._start(vocabulary, counts, len(source.batches))
            self._fit_counts(model, counts, batch_mixing=self.batch_mixing)
        self.batches_ = source.batches
        return self

    def predict(self, adata: AnnData, *, key_added: str = keys.EMBEDDING, copy: bool = False) -> AnnData | None:
        """Embed cells, of the fitted batches or of new ones; the batch itself is not looked at.

        Returns
        -------
        None, or the copy, with ``obsm["X_celloquy"]``, ``(cells, width)`` float32, and how it was made in
        ``uns["celloquy"]["X_celloquy"]``.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts or too few known genes; ``adata`` is then as it was.
        """
        began = time.perf_counter()
        check_result(adata, key_added, copy=copy)
        # Cells of new batches need no column of batches.
        source = CellSource(adata, replace(self.columns, batch_key=None))
        return self._predict(adata, source, began, key_added, copy=copy)

    def _predict(
        self, adata: AnnData, source: CellSource, began: float, key_added: str, *, copy: bool
    ) -> AnnData | None:
        cells = self._over(source, self._trained.vocabulary)
        embedding = self._embed(cells)
        record = self._record(cells, began)
        return deliver(adata, obsm={key_added: embedding}, record=record, key=key_added, copy=copy)

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"batches": self.batches_}, {}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batches_ = list(values["batches"])


def integrate(
    adata: AnnData,
    *,
    batch_key: str,
    model: Model | str | PathLike[str] | None = None,
    freeze_encoder: bool = False,
    config: ModelConfig | str = "mini",
    batch_mixing: float = 100.0,
    n_top_genes: int | None = 2000,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    training: TrainingOptions | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = keys.EMBEDDING,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells of several batches such that the batch does not show.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, human or mouse.
    batch_key
        Column of ``obs`` with the experimental batch, from which the embedding is freed.
    model
        Pretrained model to fine-tune, its directory or its name on the hub; by default one is trained on these cells.
    freeze_encoder
        Leave the pretrained model's embedding as it is.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch.
    batch_mixing
        Weight, in nats a cell, with which batches are drawn together in the embedding; 0 leaves it to the decoder.
    n_top_genes
        Most variable genes, to which a model trained from scratch is confined; None takes all.
    layer, counts, tissue_key, spatial_key, species
        Reading options, see :class:`celloquy.CellColumns`.
    epochs, training, precision, device, seed, progress
        Training and running options, as in :func:`celloquy.pretrain`.
    key_added
        Key of ``obsm`` for the embedding.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with ``obsm["X_celloquy"]``, ``(cells, width)`` float32, and how it was made in
    ``uns["celloquy"]["X_celloquy"]``.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        As :meth:`Integrator.fit`; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.integrate(adata, batch_key="donor")
    >>> sc.pp.neighbors(adata, use_rep="X_celloquy")
    """
    began = time.perf_counter()
    integrator = Integrator(
        batch_key=batch_key, model=model, freeze_encoder=freeze_encoder, config=config, batch_mixing=batch_mixing,
        n_top_genes=n_top_genes, layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key,
        species=species, epochs=epochs, training=training, precision=precision, device=device, seed=seed,
        progress=progress,
    )  # fmt: skip
    check_result(adata, key_added, copy=copy)
    integrator._prepare()
    source = integrator._source(adata)
    integrator._fit(source)
    with integrator.kept():
        return integrator._predict(adata, source, began, key_added, copy=copy)
