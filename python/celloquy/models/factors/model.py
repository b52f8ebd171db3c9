"""The factor model: the posterior of a cell's factors, given the genes that were measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from celloquy.genes import GeneVocabulary
from celloquy.models.base import Model, register_family
from celloquy.models.changing import ReadingChanges
from celloquy.models.config import ModelConfig
from celloquy.models.encoding import Embedding, EmbeddingOptions
from celloquy.models.factors.adapted import COMPONENTS, LEAST_CELLS, refined_weights
from celloquy.models.factors.config import FactorModelConfig
from celloquy.models.factors.encoding import FactorEncoding, mean_expression
from celloquy.models.factors.fit import fitted_weights
from celloquy.nn.factors import DEPTH, logged, posterior_map

if TYPE_CHECKING:
    from celloquy.data import CellBatch, CellReader
    from celloquy.data.changes import CountChange


@register_family
class FactorModel(ReadingChanges, Model):
    """Gaussian factors of log-normalised expression, learned from many studies.

    The embedding of a cell is the posterior mean of its factors, given the genes that were measured: a gene that was
    not measured is missing, not zero. Expression is centred by the mean of the cells that are embedded together; an
    adapted model keeps the mean of the cells that it was adapted to, so that further cells meet the same embedding.

    :meth:`adapted` refines the factors by the user's own cells, in seconds: what these cells vary in, and what the
    corpus did not know, is learned from them; see :func:`celloquy.nn.factors.refine`. Beside the factors then stands
    what a PCA of these cells holds, their first principal components, the larger the more cells there are; the
    embedding is the first 20 principal components of both.

    Parameters
    ----------
    config
        Number of factors.
    vocabulary
        Genes that the model knows.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.embed(adata)  # the model in the box, "cells-mini", adapted to these cells
    >>> model = cq.FactorModel.from_pretrained("cells-mini")
    >>> model.gene_vectors().shape[1] == model.config.width
    True
    """

    config_class: ClassVar[type[ModelConfig]] = FactorModelConfig
    abilities: ClassVar[frozenset[str]] = frozenset(
        {"embed", "adapt", "embed genes", "correlate genes", "read changed counts", "sum genes"}
    )
    config: FactorModelConfig

    def __init__(self, config: FactorModelConfig, vocabulary: GeneVocabulary) -> None:
        super().__init__(config, vocabulary)
        genes, width = len(vocabulary), config.width
        self.loadings = nn.Parameter(torch.zeros(genes, width))
        """``(genes, width)``: change of log expression with a factor; 0 for genes that say nothing of the factors."""
        self.noise = nn.Parameter(torch.ones(genes))
        """``(genes,)``: variance that the factors do not explain; 0 for genes that they do not know."""
        self.mean = nn.Parameter(torch.zeros(genes))
        """``(genes,)``: mean log expression of the cells that the model learned from."""
        self.scale = nn.Parameter(torch.ones(width))
        """``(width,)``: the factors have variance 1, and this is their size in the embedding."""
        self.axes = nn.Parameter(torch.zeros(genes, config.axes))
        """``(genes, axes)``: principal axes of the cells that the model was adapted to, as the embedding has them."""
        self.rotation = nn.Parameter(torch.eye(width + config.axes, config.embedding_width))
        """``(width + axes, embedding_width)``: what the embedding takes of factors and axes, the largest first."""

    @classmethod
    def fit(cls, studies: Sequence[CellBatch], vocabulary: GeneVocabulary, config: FactorModelConfig) -> Self:
        """Return a model of the studies' principal axes, each study centred on its own mean.

        Parameters
        ----------
        studies
            Cells of each study over the vocabulary, of one panel each.
        vocabulary
            Genes of the model.
        config
            Number of factors.
        """
        weights = fitted_weights(studies, config.width)
        return cls.from_weights(config, vocabulary, weights, name="the fitted model")

    @property
    def reads(self) -> frozenset[str]:
        """See :attr:`Model.reads`; a cell is read alone."""
        return frozenset()

    @property
    def keeps_mean(self) -> bool:
        """True if cells are centred on the model's own mean, False if on that of those that are embedded together."""
        return self.config.components is not None

    def gene_vectors(self) -> Tensor:
        """Return the loadings of every gene of ``vocabulary.genes()``, ``(genes, width)``; 0 of one that has none.

        A loading is the change of a gene's log expression with a factor: genes that change together have like vectors.
        """
        return self.loadings.detach()[torch.tensor([row for row, _, _, _ in self.vocabulary.genes()])]

    def map_from_expression(self, measured: Tensor) -> Tensor:
        """Return the matrix ``(genes, embedding_width)`` that takes centred log expression to the embedding.

        Parameters
        ----------
        measured
            ``(genes,)`` bool.
        """
        known = measured & (self.noise > 0)
        factors = posterior_map(self.loadings, torch.where(known, self.noise, 1.0), known) * self.scale
        return torch.cat([factors, self.axes * measured[:, None]], 1) @ self.rotation

    def project(self, batch: CellBatch, table: Tensor) -> Tensor:
        """Return the sum of a table's rows over a cell's genes, each times its log expression."""
        return embedding_bag(
            batch.indices.long(), table, batch.indptr, mode="sum", per_sample_weights=logged(batch),
            include_last_offset=True,
        )  # fmt: skip

    def expression(self, batch: CellBatch) -> Tensor:
        """Return the values that :meth:`expression_table` is summed with, ``(z,)``; ability ``"sum genes"``."""
        return logged(batch)

    def expression_table(self, measured: Tensor) -> Tensor:
        """Return the same as :meth:`map_from_expression`."""
        return self.map_from_expression(measured)

    def embed_sums(self, sums: Tensor) -> Tensor:
        """Return the embedding from sums of the table, up to a constant: the sums themselves."""
        return sums

    def embed_batch(self, batch: CellBatch) -> Tensor:
        """Return the embedding ``(n, embedding_width)`` of cells of one panel."""
        return self._embedded(batch, self.map_from_expression(batch.measured[batch.panel].all(0)))

    def _embedded(self, batch: CellBatch, table: Tensor) -> Tensor:
        projected = self.project(batch, table)
        filled = batch.indptr.diff() > 0
        if self.keeps_mean or not bool(filled.any()):
            return (projected - self.mean @ table) * filled[:, None]
        return (projected - projected[filled].mean(0)) * filled[:, None]

    def embed_changed(
        self, batch: CellBatch, changes: Iterable[CountChange]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See :meth:`ReadingChanges.embed_changed`; the depth of a cell and the mean of all are those before."""
        table = self.map_from_expression(batch.measured[batch.panel].all(0))
        before = self._embedded(batch, table)
        scale = (DEPTH / batch.library_size().clamp(min=torch.finfo(torch.float32).tiny))[:, None]
        for number, change in enumerate(changes):
            cells = torch.nonzero(change.changed)[:, 0]
            moved = (change.after * scale).log1p_() - (change.before * scale).log1p_()
            # A step along few rows of the table: many times as fast by index_select as by an index.
            shift = moved.index_select(0, cells) @ table.index_select(0, change.rows)
            yield torch.full_like(cells, number), cells, before.index_select(0, cells) + shift

    def embed(self, cells: CellReader, options: EmbeddingOptions = EmbeddingOptions()) -> Embedding:  # noqa: B008 -- frozen
        """Return the embedding of any number of cells, in bounded memory."""
        return FactorEncoding(self, cells, options).run()

    def adapted(self, cells: CellReader, width: int | None = None) -> FactorModel:
        """See :meth:`Model.adapted`; of fewer than 20 cells nothing can be learned, and the model stays."""
        if len(cells) < LEAST_CELLS:
            return self
        weights = refined_weights(self.loadings.detach(), self.noise.detach(), cells, width or COMPONENTS)
        if weights is None:
            return self
        config = self.config.replace(
            width=len(weights["scale"]), axes=weights["axes"].shape[1], components=weights["rotation"].shape[1]
        )
        model = type(self).from_weights(config, self.vocabulary, weights, name="the adapted model")
        model.provenance = dict(self.provenance)
        return model

    @torch.no_grad()
    def centred_on(self, cells: CellReader, among: Tensor | None = None) -> FactorModel:
        """See :meth:`Model.centred_on`; a model that keeps a mean stays."""
        if self.keeps_mean:
            return self
        weights = dict(self.state_dict()) | {"mean": mean_expression(cells, among)}
        config = self.config.replace(components=self.embedding_width)
        model = type(self).from_weights(config, self.vocabulary, weights, name="the centred model")
        model.provenance = dict(self.provenance)
        return model

    @torch.no_grad()
    def gene_correlations(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the correlations of genes over the cells that the model learned from, as its factors give them.

        Parameters
        ----------
        rows, columns
            ``(a,)`` and ``(b,)`` int64: rows of the vocabulary.

        Returns
        -------
        ``(a, b)`` float64; nan for a gene that the factors do not know.
        """
        loadings, noise = self.loadings.double(), self.noise.double()
        spread = (loadings.square().sum(1) + noise).sqrt().where(noise > 0, torch.nan)[:, None]
        return (loadings / spread)[rows] @ (loadings / spread)[columns].T

    def describe(self) -> dict[str, str]:
        """See :meth:`Model.describe`."""
        used = int((self.noise > 0).sum())
        return super().describe() | {"embedding": f"{self.config.width} factors, of {used:,} genes"}
