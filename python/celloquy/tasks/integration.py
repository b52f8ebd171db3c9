"""Integrate batches: an embedding in which cells lie by what they are, not by where they were measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor

from celloquy import keys
from celloquy.data import Cells
from celloquy.errors import ArgumentError
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.compute import Precision
from celloquy.tasks.task import Task, deliver
from celloquy.training.fitting import Fitting
from celloquy.training.selection import some_genes, variable_genes

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(kw_only=True)
class Integrator(Task):
    """Embeds cells free of their batch.

    The decoder is told the batch, so the embedding need not carry it, and batches that lie differently in the embedding
    are drawn together. The embedding is computed from the counts alone, so new batches need no new fit. A tissue is no
    batch: cells of several batches may be read together, and by default are.

    Parameters are those of :class:`celloquy.tasks.Task`, and the following.

    Examples
    --------
    >>> import celloquy as cq
    >>> integrator = cq.Integrator(batch_key="donor").fit(adata)
    >>> integrator.predict(adata)
    >>> integrator.predict(new_donors)
    >>> integrator.save("integrator/")
    """

    name: ClassVar[str] = "integrate"

    batch_key: str | None = field()
    """Column of ``obs`` with the batch to be rid of."""
    mixing: float = 100.0
    """How strongly batches are drawn together, in nats a cell; 0 leaves it to the decoder."""
    genes: int | None = 2000
    """Most variable genes that a model trained from scratch is given; None gives it all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mixing >= 0:
            raise ArgumentError(
                "`mixing` can't be used.",
                found=repr(self.mixing),
                expected="a number of at least 0",
                remedy="leave it out, or pass a smaller one where cell types merge.",
            )
        self.batches_: list[str] = []

    def fit(self, adata: AnnData) -> Self:
        """Train on cells of several batches.

        Parameters
        ----------
        adata
            Cells × genes with raw counts, which are only read.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If there are no raw counts, no known genes, no such column, or only one batch.
        """
        vocabulary = self._vocabulary(adata)
        cells = self._cells(adata, vocabulary)
        if len(cells.batches) < 2:
            raise ArgumentError(
                f"There is nothing to integrate in column {self.batch_key!r} of adata.obs.",
                found=", ".join(cells.batches) or "no batch",
                expected="at least two batches",
                remedy="pass the column of the batches as `batch_key`; to embed cells of one batch use cq.embed().",
            )
        counts = cells.read_all()
        if self.model is None and self.genes is not None:
            vocabulary = some_genes(vocabulary, variable_genes(counts, self.genes))
            self.selected_ = True
            cells = self._cells(adata, vocabulary)
            counts = cells.read_all()
        with self.fitting.drawing():
            model = self._start(vocabulary, counts, len(cells.batches))
            self._fit_counts(model, counts, mixing=self.mixing)
        self.batches_ = cells.batches
        return self

    def predict(self, adata: AnnData, *, key_added: str = keys.EMBEDDING, copy: bool = False) -> AnnData | None:
        """Embed cells, of the fitted batches or of new ones; the batch itself is not looked at.

        Returns
        -------
        None, or the copy, with ``obsm["X_celloquy"]``, ``(cells, latent)`` float32, and ``uns["celloquy"]``.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts or too few known genes; ``adata`` is then as it was.
        """
        began = time.perf_counter()
        cells = self._unbatched(adata)
        embedding = self._embed(cells)
        return deliver(adata, obsm={key_added: embedding}, uns=self._provenance(cells, began), copy=copy)

    def _unbatched(self, adata: AnnData) -> Cells:
        model = self._trained
        return Cells(
            adata, model.vocabulary, layer=self.layer, tissue_key=self.tissue_key, spatial_key=self.spatial_key,
            species=self.species, selected=self.selected_,
        )  # fmt: skip

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"batches": self.batches_}, {}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.batches_ = list(values["batches"])


def integrate(
    adata: AnnData,
    *,
    batch_key: str,
    model: CellModel | str | PathLike[str] | None = None,
    frozen: bool = False,
    config: CellModelConfig | str = "mini",
    mixing: float = 100.0,
    layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    epochs: int | None = None,
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
        Column of ``obs`` with the batch to be rid of.
    model
        A pretrained model, or its directory, to be fine-tuned; by default one is trained on these cells.
    frozen
        Leave the pretrained model's embedding as it is.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch.
    mixing
        How strongly batches are drawn together, in nats a cell; 0 leaves it to the decoder.
    layer, tissue_key, spatial_key
        Where the counts are, which cells are read together, where positions are; as in :func:`celloquy.embed`.
    epochs, precision, device, seed, progress
        As in :func:`celloquy.pretrain`.
    key_added
        Key of ``obsm`` for the embedding.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with ``obsm["X_celloquy"]``, ``(cells, latent)`` float32, and ``uns["celloquy"]``.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError
        As :meth:`Integrator.fit`; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.integrate(adata, batch_key="donor")
    >>> sc.pp.neighbors(adata, use_rep="X_celloquy")
    """
    fitting = Fitting(epochs=epochs, precision=precision, device=device, seed=seed, progress=progress)
    integrator = Integrator(
        batch_key=batch_key, model=model, frozen=frozen, config=config, mixing=mixing, layer=layer,
        tissue_key=tissue_key, spatial_key=spatial_key, fitting=fitting,
    )  # fmt: skip
    return integrator.fit(adata).predict(adata, key_added=key_added, copy=copy)
