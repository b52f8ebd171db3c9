"""Impute: the genes that a spatial panel lacks, from dissociated cells of the same tissue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy import keys
from celloquy.checks import check_number, check_whole_number
from celloquy.data import CellColumns, CellReader, CellSource
from celloquy.data.neighbours import neighbour_means
from celloquy.data.tables import Table, text_array
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes import GeneVocabulary
from celloquy.models import CellModelConfig
from celloquy.tasks.base import Task
from celloquy.tasks.imputation.ensemble import (
    PREDICTORS,
    REFERENCE,
    SPATIAL,
    PanelModel,
    PanelReader,
    blocks,
    log_normalised,
)
from celloquy.tasks.imputation.genes import genes_at, match_genes
from celloquy.tasks.imputation.objective import PanelCounts, PanelTrainingData, at_panel_depth
from celloquy.tasks.imputation.reliability import (
    Blend,
    choose_blend,
    describe,
    moments,
    predict_reliability,
    smooth,
)
from celloquy.tasks.results import check_result, deliver
from celloquy.training.options import ALL_CELLS, TrainingOptions

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellBatch

TISSUE_NEIGHBOURS = 8
"""Nearest cells in the tissue that smoothing averages over."""


@dataclass(kw_only=True, eq=False, repr=False)
class Imputer(Task):
    """Predicts genes that a spatial panel lacks from a reference, and how far each can be trusted.

    Some models are trained on panel and reference together; from each another part of the panel's genes is held out. A
    model has three predictors of a gene from a cell's embedding: its decoder, the nearest cells of the reference, and a
    linear regression in the reference. The held-out genes of the panel decide how the predictors are blended, how much
    a cell's neighbours in the tissue count, and what reliability to predict for a gene that the panel lacks. A
    prediction is the mean over the models.

    Parameters are those of :class:`celloquy.Task`, and the following; ``tissue_key`` names the slices. By default genes
    are held out, not cells. The encoder is told positions only by a ``config`` that says so.

    Attributes
    ----------
    reliability_
        Predicted correlation of each imputed gene with its true expression, a Series.
    panel_
        Correlations that the panel's own genes reached when they were held out, a Series.
    blend_
        Weights of the predictors, and the share of the neighbours in the tissue.

    Examples
    --------
    >>> import celloquy as cq
    >>> imputer = cq.Imputer(tissue_key="slice").fit(spatial, reference, genes=["CD79A", "CD79B", "LYZ", "NKG7"])
    >>> imputer.reliability_
    >>> imputer.save("imputer/")
    >>> cq.Imputer.load("imputer/").predict(spatial)
    """

    name: ClassVar[str] = "impute"
    requires: ClassVar[tuple[str, ...]] = ("embed", "decode")
    usual_training: ClassVar[TrainingOptions] = ALL_CELLS

    spatial_key: str | None = "spatial"
    """Key of ``obsm`` with positions, ``(cells, 2)`` in any unit; None predicts without them."""
    reference_layer: str | None = None
    """Place of the raw counts of the reference; by default the first that holds counts."""
    n_models: int = 4
    """Models, from each of which another part of the panel's genes is held out."""
    batch_mixing: float = 0.0
    """Weight, in nats a cell, with which panel and reference are drawn together in the embedding."""

    models_: list[PanelModel] = field(default_factory=list, init=False)
    genes_: dict[str, str] = field(default_factory=dict, init=False)
    blend_: Blend = field(default=Blend((1.0, 0.0, 0.0), 0.0), init=False)
    reliability_: pd.Series = field(default_factory=lambda: pd.Series(dtype=float), init=False)
    panel_: pd.Series = field(default_factory=lambda: pd.Series(dtype=float), init=False)

    def _check(self) -> None:
        super()._check()
        check_whole_number("n_models", self.n_models, least=2, remedy="leave it out: 4 are usual.")
        check_number("batch_mixing", self.batch_mixing, remedy="leave it out.")
        if self.batch_key is not None:
            raise ArgumentError(
                "`batch_key` has no use in imputation.",
                found=repr(self.batch_key),
                expected="None: panel and reference are the batches",
                remedy="name the slices as `tissue_key`.",
                argument="batch_key",
            )

    def _prepare(self) -> None:
        super()._prepare()
        if isinstance(self.config, str) and isinstance(self._config, CellModelConfig):
            # Cells of the reference have no position, so the encoder would tell the sources apart by it.
            self._config = self._config.replace(positions=False)

    def fit(self, spatial: AnnData, reference: AnnData, *, genes: Sequence[str] | None = None) -> Self:
        """Train on a panel and its reference.

        Parameters
        ----------
        spatial
            Cells (or spots) × genes of the panel, with raw counts, which are only read.
        reference
            Dissociated cells × genes, with raw counts, which are only read.
        genes
            Genes to impute, as the reference spells it; by default everything that it has and the panel lacks.

        Raises
        ------
        CountsError, GenesError, ArgumentError, CheckpointError, ModelError
            If there are no raw counts, positions or columns are missing, the species differ, the objects share fewer
            genes than there are models, or a gene is not in the reference, or in the panel already.
        """
        self._prepare()
        return self._fit(self._source(spatial, name="spatial"), reference, genes)

    def _fit(self, spatial: CellSource, reference: AnnData, genes: Sequence[str] | None) -> Self:
        known_genes = None if self._pretrained is None else self._pretrained.vocabulary
        columns = CellColumns(layer=self.reference_layer, counts=self.counts)
        dissociated = CellSource(reference, columns, name="reference", layer_argument="reference_layer")
        matched = match_genes(spatial, dissociated, genes, vocabulary=known_genes, least=self.n_models)
        vocabulary, self.genes_ = matched.vocabulary, matched.wanted
        panel = self._over(spatial, vocabulary)
        narrow = CellSource(matched.narrow(dissociated), CellColumns(layer="X"), name="reference")
        seen_places = np.array([vocabulary.index(gene) for gene in matched.shared])
        counts, known = panel.read_all(), narrow.over(vocabulary).read_all()
        counts = replace(counts, batch=torch.full_like(counts.batch, SPATIAL))
        known = replace(known, batch=torch.full_like(known.batch, REFERENCE))
        depths = counts.keep_genes(genes_at(vocabulary, seen_places)).library_size()
        self.depth_ = float(depths.clamp(min=1).median())
        self._expression = log_normalised(known, seen_places, self.depth_)
        part = np.random.default_rng(self.seed).permutation(len(seen_places)) % self.n_models
        self.models_ = [
            self._train(number, vocabulary, seen_places, np.sort(seen_places[part == number]), counts, known, narrow)
            for number in range(self.n_models)
        ]
        self._calibrate(spatial, panel, counts)
        self.model_ = self.models_[0].model
        return self

    def predict(self, spatial: AnnData, *, key_added: str = keys.IMPUTED, copy: bool = False) -> AnnData | None:
        """Impute the genes for cells of the panel, those fitted or others, with genes in any order.

        Returns
        -------
        None, or the copy. Written are ``obsm["celloquy_imputed"]``, cells × genes, log1p of counts scaled to the median
        depth of the panel in training, which :func:`celloquy.get` returns with the genes' names, and
        ``uns["celloquy"]["celloquy_imputed"]``, in which ``"reliability"`` has the predicted correlation of each gene,
        and ``"panel"`` those that the panel's own genes reached when held out.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts, a gene of the fitted panel is missing, or positions or
            columns are missing; ``spatial`` is then as it was.
        """
        began = time.perf_counter()
        check_result(spatial, key_added, copy=copy)
        return self._predict(spatial, self._source(spatial, name="spatial"), began, key_added, copy=copy)

    def _predict(
        self, spatial: AnnData, source: CellSource, began: float, key_added: str, *, copy: bool
    ) -> AnnData | None:
        model = self._trained
        cells = self._over(source, model.vocabulary)
        seen = np.any([one.seen for one in self.models_], axis=0)
        if missing := np.flatnonzero(seen & ~cells.measured.numpy()).tolist():
            raise GenesError(
                "The cells lack genes of the panel that this Imputer was fitted on.",
                found=f"{len(missing):,} of {int(seen.sum()):,} missing, such as "
                + ", ".join(model.vocabulary.symbols[place] or model.vocabulary.ids[place] for place in missing[:3]),
                expected="every gene that panel and reference shared",
                remedy="fit an Imputer on this panel.",
            )
        embeddings = [self._embed_panel(source, one) for one in self.models_]
        wanted = np.array([model.vocabulary.index(gene) for gene in self.genes_.values()])
        nearest = neighbour_means(cells.position, cells.tissue, TISSUE_NEIGHBOURS)
        values = np.empty((len(cells), len(wanted)), dtype=np.float32)
        for block in blocks(len(cells), len(wanted)):
            predicted = self._predictors(embeddings, wanted[block])
            values[:, block] = self.blend_.apply(predicted, smooth(nearest, predicted))
        record = self._record(cells, began)
        record["reliability"] = {"gene": text_array(self.genes_), "predicted": self.reliability_.to_numpy()}
        record["panel"] = {"gene": text_array(self.panel_.index), "reached": self.panel_.to_numpy()}
        blend = (*self.blend_.weights, self.blend_.smoothing)
        record["weights"] = dict(zip((*PREDICTORS, "smoothing"), blend, strict=True))
        obsm = {key_added: Table(values, list(self.genes_))}
        return deliver(spatial, obsm=obsm, record=record, key=key_added, copy=copy)

    def _train(
        self, number: int, vocabulary: GeneVocabulary, shared: NDArray[np.int64], held_out: NDArray[np.int64],
        counts: CellBatch, known: CellBatch, reference: CellSource,
    ) -> PanelModel:  # fmt: skip
        """Train one model, from which some genes of the panel are held out."""
        trainer = replace(self.trainer, seed=self.seed + number)
        options = trainer.options
        seen = genes_at(vocabulary, np.setdiff1d(shared, held_out))
        measured = counts.keep_genes(~genes_at(vocabulary, held_out))
        cells = measured.concatenate([measured, known], renumber_tissues=True)
        with trainer.seeded():
            # Seen as the encoder sees them; in the raw counts the sources differ more than the cells do.
            model = self._start(vocabulary, cells, 2, seen=at_panel_depth(cells, seen), seed=trainer.seed)
            _, precision = trainer.hardware(model.config.width)
            data = PanelTrainingData(
                cells, model, batch_size=options.cells_a_step(len(cells)), held_out=options.validation,
                seed=trainer.seed, parts=options.parts or 1,
            )  # fmt: skip
            schedule = options.schedule(len(cells), model.config.width, self._learning_rate_factors())
            if options.epochs is None:
                # Half as many as for one model, to spare time: several are trained, and averaged.
                schedule = replace(schedule, epochs=max(10, schedule.epochs // 2))
            objective = PanelCounts(model, seen, precision, batch_mixing=self.batch_mixing)
            self._fitted(model, trainer.run(objective, data, schedule))
        embedding = self._embed(PanelReader(reference, vocabulary, seen), model)
        return PanelModel(model, seen.numpy(), held_out, embedding)

    def _embed_panel(self, spatial: CellSource, model: PanelModel) -> NDArray[np.float32]:
        """The embedding of the panel's cells, as a model sees them."""
        reader = PanelReader(spatial, model.model.vocabulary, torch.from_numpy(model.seen))
        return self._embed(reader, model.model)

    def _calibrate(self, spatial: CellSource, panel: CellReader, counts: CellBatch) -> None:
        """Choose the blend and predict reliabilities, by the genes of the panel that each model had not seen."""
        vocabulary = self.models_[0].model.vocabulary
        truth = counts.to_csr()
        depth = np.maximum(np.asarray(truth.sum(axis=1), dtype=np.float64).ravel(), 1)
        truth = (sparse.diags(np.median(depth) / depth) @ truth).log1p().tocsc()
        nearest = neighbour_means(panel.position, panel.tissue, TISSUE_NEIGHBOURS)
        wanted = np.array([vocabulary.index(gene) for gene in self.genes_.values()])
        products, known, about, genes = [], [], [np.zeros((len(wanted), 5))], []
        for number, one in enumerate(self.models_):
            embedding = self._embed_panel(spatial, one)
            one = self.models_[number] = replace(one, centre=embedding.mean(axis=0))
            for places, asked in ((one.held_out, False), (wanted, True)):
                for block in blocks(len(embedding), len(places)):
                    chosen = places[block]
                    expression = self._expression[:, chosen]
                    predicted = one.predictors(embedding, expression, chosen, self.depth_)
                    described = describe(predicted, one.fitted_in_reference(expression))
                    if asked:
                        about[0][block] += described / self.n_models
                    else:
                        true = truth[:, chosen].toarray().astype(np.float32)
                        products.append(moments(true, predicted, smooth(nearest, predicted)))
                        known.append(described)
                        genes.append(chosen)
        self.blend_, reached = choose_blend(np.concatenate(products))
        names = [vocabulary.symbols[place] or vocabulary.ids[place] for place in np.concatenate(genes)]
        self.panel_ = pd.Series(reached, index=pd.Index(names, name="gene"), name="reached")
        reliability = predict_reliability(np.concatenate(known), reached, about[0])
        self.reliability_ = pd.Series(reliability, index=pd.Index(list(self.genes_), name="gene"), name="predicted")

    def _predictors(self, embeddings: Sequence[NDArray[np.float32]], genes: NDArray[np.int64]) -> NDArray[np.float32]:
        """The predictors ``(3, cells, genes)`` as means over the models."""
        expression, pairs = self._expression[:, genes], zip(self.models_, embeddings, strict=True)
        total = sum(one.predictors(embedding, expression, genes, self.depth_) for one, embedding in pairs)
        return np.asarray(total / len(self.models_), dtype=np.float32)

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        tensors = {
            "expression.data": torch.from_numpy(self._expression.data.astype(np.float32)),
            "expression.indices": torch.from_numpy(self._expression.indices.astype(np.int64)),
            "expression.indptr": torch.from_numpy(self._expression.indptr.astype(np.int64)),
        }
        for number, one in enumerate(self.models_):
            tensors |= {f"{number}.{name}": tensor for name, tensor in one.tensors().items()}
        values = {
            "genes": self.genes_,
            "depth": self.depth_,
            "weights": self.blend_.weights,
            "smoothing": self.blend_.smoothing,
            "reliability": self.reliability_.tolist(),
            "panel": {"gene": self.panel_.index.tolist(), "reached": self.panel_.tolist()},
        }
        return values, tensors

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        model = self._trained
        rows = tuple(tensors[f"expression.{name}"].numpy() for name in ("data", "indices", "indptr"))
        self._expression = sparse.csr_matrix(rows, shape=(len(rows[2]) - 1, len(model.vocabulary)))
        self.models_ = []
        for number in range(self.n_models):
            start = f"{number}."
            parts = {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}
            self.models_.append(PanelModel.from_tensors(parts, model))
        self.genes_, self.depth_ = dict(values["genes"]), float(values["depth"])
        self.blend_ = Blend(tuple(values["weights"]), values["smoothing"])
        self.reliability_ = pd.Series(
            values["reliability"], index=pd.Index(list(self.genes_), name="gene"), name="predicted"
        )
        self.panel_ = pd.Series(
            values["panel"]["reached"], index=pd.Index(values["panel"]["gene"], name="gene"), name="reached"
        )
