"""Annotate cells with the cell types of a labelled reference."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from celloquy import keys
from celloquy.checks import check_number, check_whole_number
from celloquy.data import CellBatch, CellReader, CellSource
from celloquy.data.labels import Labels, read_labels
from celloquy.data.reader import BLOCK
from celloquy.data.store import opened
from celloquy.errors import GenesError
from celloquy.evaluate.annotation import calibration_error
from celloquy.models import CellModelConfig, Model, ModelConfig
from celloquy.runtime.hardware import Precision
from celloquy.tasks.annotation.classifier import LabelClassifier
from celloquy.tasks.annotation.evidence import ReferenceCells
from celloquy.tasks.annotation.linear import check_shared, fit_linear, marker_genes
from celloquy.tasks.annotation.objective import MaskedLabels, calibrate_heads
from celloquy.tasks.base import Task
from celloquy.tasks.results import deliver, free_prefix
from celloquy.training.masked_counts import MaskedCells, split_cells
from celloquy.training.options import TrainingOptions

if TYPE_CHECKING:
    from anndata import AnnData

SHAPE = CellModelConfig(
    attention="none", latent="none", positions=False, dropout=0.2, mask_cells=0.9, mask_beta=(2.0, 8.0)
)
"""Configuration of a model that is trained from scratch. Reading the cells around gained nothing from some hundreds of
labelled cells, and without it a label does not depend on which cells are annotated together; a latent with noise costs
accuracy."""


@dataclass(kw_only=True, eq=False, repr=False)
class Annotator(Task):
    """Gives cells the labels of a reference.

    Two heads read a cell: regressions on the genes that tell the labels apart and on their principal components, and a
    linear layer on the embedding of a model that is trained, or fine-tuned, on the labels. Their logits are added; how
    much each counts is found on held-out cells, which makes the probabilities calibrated. Everything is learned from
    the reference alone; of the cells to be annotated the fit knows at most the names of their genes.

    Parameters are those of :class:`celloquy.Task`, and the following. ``batch_key`` is a column of the reference.

    Attributes
    ----------
    labels_
        Names of the labels, in the order of the probabilities.
    calibration_error_
        Expected calibration error of the held-out cells.

    Examples
    --------
    >>> import celloquy as cq
    >>> annotator = cq.Annotator(label_key="cell_type").fit(reference)
    >>> annotator.predict(adata)
    >>> annotator.save("annotator/")
    """

    name: ClassVar[str] = "annotate"

    label_key: str = field()
    """Column of the reference's ``obs`` with the labels; a coarse and a fine one are two annotators."""
    false_unknown_rate: float = 0.02
    """Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
    laboratory, or treated ones, it will be more: then try 0.005."""
    config: ModelConfig | str = SHAPE
    """``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch."""

    labels_: tuple[str, ...] = field(default=(), init=False)
    calibration_error_: float = field(default=float("nan"), init=False)

    def _check(self) -> None:
        super()._check()
        check_number(
            "false_unknown_rate", self.false_unknown_rate, most=1, exclude_most=True,
            remedy="leave it out, or pass 0 to have every cell labelled.",
        )  # fmt: skip

    def fit(self, reference: AnnData, *, query: AnnData | None = None) -> Self:
        """Learn the labels of a reference.

        Parameters
        ----------
        reference
            Cells × genes with raw counts and labels, which are only read.
        query
            Cells to be annotated later. Only the names of their genes are read, so that nothing is told by genes that
            they lack.

        Raises
        ------
        CountsError, GenesError, ArgumentError, CheckpointError, ModelError
            If there are no raw counts, no known genes or none shared, no usable labels, or an unfit parameter.
        """
        self._prepare()
        labels = read_labels(reference, self.label_key, reserved=keys.UNKNOWN)
        return self._fit(
            self._source(reference, name="reference"), labels, None if query is None else self._query(query)
        )

    def _query(self, adata: AnnData) -> CellSource:
        """The cells to annotate, whose batch is not looked at."""
        return CellSource(adata, replace(self.columns, batch_key=None))

    def _fit(self, reference: CellSource, labels: Labels, query: CellSource | None) -> Self:
        codes, classes = torch.from_numpy(labels.codes), len(labels.names)
        vocabulary, self.selected_ = self._vocabulary(reference), False
        cells = self._over(reference, vocabulary)
        counts = cells.read_all()
        # What is held out is drawn before anything is learned, so that nothing has seen it.
        used, kept = split_cells(counts, self._held_out(codes), self.seed, codes)
        if self._pretrained is None:
            measured = cells.measured if query is None else cells.measured & self._over(query, vocabulary).measured
            check_shared(counts, cells.measured, measured)
            chosen = marker_genes(counts.select(used), codes[used], classes, measured)
            if not len(chosen):
                raise GenesError(
                    "There is no gene to tell the labels apart by.",
                    found=f"{int(measured.sum()):,} shared genes, in none of which the labels differ",
                    expected="genes that are expressed in at least three cells of the reference",
                    remedy="look at the counts of the reference, and at the names of the genes of both.",
                )
            vocabulary, self.selected_ = vocabulary.take(chosen), True
            cells = self._over(reference, vocabulary)
            counts = cells.read_all()
        with self.trainer.seeded():
            model = self._start(vocabulary, counts.select(used))
            classifier = LabelClassifier(len(vocabulary), model.embedding_width, classes, dropout=model.dropout)
            self._fit_embedding(model, classifier, counts, codes)
        self.classifier_, self.labels_ = classifier, labels.names
        embedding = torch.from_numpy(self._embed(cells))
        fit_linear(classifier, counts.select(used), codes[used], seed=self.seed)
        self._calibrate(counts.select(kept), embedding[kept], codes[kept])
        # The weights are known; now the regression learns from the held-out cells, too.
        fit_linear(classifier, counts, codes, seed=self.seed)
        self.reference_ = ReferenceCells.choose(reference.cell_names, embedding, codes, seed=self.seed)
        return self

    def predict(
        self,
        adata: AnnData,
        *,
        top_k: int | None = None,
        return_evidence: bool = False,
        key_added: str | None = None,
        copy: bool = False,
    ) -> AnnData | None:
        """Label cells.

        Parameters
        ----------
        adata
            Cells × genes with raw counts.
        top_k
            Number of the most probable labels to give, too.
        return_evidence
            Give the five reference cells that lie nearest in the embedding, too.
        key_added
            Prefix of the keys below. By default ``"celloquy"``; where the cells have an annotation by another
            ``label_key`` under it, ``"celloquy_"`` and the ``label_key``, with a warning, so that both stay.
        copy
            Return a copy with the result, and leave ``adata`` as it is.

        Returns
        -------
        None, or the copy. Written are

        ``obs["celloquy_label"]``
            The label, ``"unknown"`` where the cell is unlike all of the reference.
        ``obs["celloquy_confidence"]``
            Probability of the most probable label, from 0 to 1.
        ``obs["celloquy_novelty"]``
            Novelty score, from 0 to 1: how far the cell is from every known label; unknown above one half.
        ``obsm["celloquy_probability"]``
            Probability of every label, ``(cells, labels)``.
        ``obsm["celloquy_top"]``, ``obsm["celloquy_evidence"]``
            If asked for.
        ``uns["celloquy"]["celloquy_label"]``
            How it was made.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts or too few known genes; ``adata`` is then as it was.
        """
        began = time.perf_counter()
        self._check_top(top_k, len(self.labels_))
        return self._predict(adata, self._query(adata), began, top_k, return_evidence, key_added, copy=copy)

    @staticmethod
    def _check_top(top_k: int | None, labels: int) -> None:
        if top_k is not None:
            check_whole_number(
                "top_k", top_k, least=1, most=labels,
                remedy=f"leave it out: {keys.PROBABILITY!r} in obsm has the probabilities of all labels.",
            )  # fmt: skip

    def _predict(
        self, adata: AnnData, source: CellSource, began: float, top_k: int | None, return_evidence: bool,
        key_added: str | None, *, copy: bool,
    ) -> AnnData | None:  # fmt: skip
        cells = self._over(source, self._trained.vocabulary)
        embedding = torch.from_numpy(self._embed(cells))
        logits, novelty = self._read(cells, embedding)
        probability = logits.softmax(1).numpy()
        best = probability.argmax(1)
        known = novelty <= 0.5 if self.false_unknown_rate else np.ones(len(best), dtype=bool)
        labels = list(self.labels_)
        names = [*labels, keys.UNKNOWN]
        label = pd.Categorical.from_codes(np.where(known, best, len(labels)), categories=pd.Index(names))
        obs = {
            keys.LABEL: label.remove_unused_categories(),
            keys.CONFIDENCE: probability.max(1),
            keys.NOVELTY: novelty,
        }
        obsm = {keys.PROBABILITY: pd.DataFrame(probability, index=adata.obs_names, columns=labels)}
        if top_k is not None:
            order = np.argsort(-probability, axis=1, kind="stable")[:, :top_k]
            obsm[keys.TOP] = pd.DataFrame(
                {str(k + 1): pd.Categorical.from_codes(order[:, k], categories=pd.Index(labels)) for k in range(top_k)},
                index=adata.obs_names,
            )
        if return_evidence:
            obsm[keys.EVIDENCE] = self.reference_.nearest(embedding, self.labels_, adata.obs_names)
        key_added = key_added or free_prefix(adata, self.label_key)
        obs, obsm = (
            {keys.prefixed(key, key_added): value for key, value in results.items()} for results in (obs, obsm)
        )
        key, record = keys.prefixed(keys.LABEL, key_added), self._record(cells, began)
        return deliver(adata, obs=obs, obsm=obsm, record=record, key=key, copy=copy)

    def _held_out(self, codes: Tensor) -> float:
        """Share of the cells that is held out: more of few, because calibration takes some cells of every label."""
        share = self.trainer.options.validation
        return max(0.15, share) if share and len(codes) <= 5000 else share

    def _fit_embedding(self, model: Model, classifier: LabelClassifier, counts: CellBatch, codes: Tensor) -> None:
        """Train a model and a classifier's head on its embedding; sets ``model_`` and ``history_``."""
        trainer, options, n = self.trainer, self.trainer.options, len(counts)
        _, precision = trainer.hardware(model.config.width)
        data = MaskedCells(
            counts, model, batch_size=options.batch_size or min(1000, max(32, n // 7)),
            held_out=self._held_out(codes), seed=self.seed, labels=codes,
        )  # fmt: skip
        schedule = replace(
            options.schedule(n, model.config.width, self._learning_rate_factors()),
            epochs=options.epochs or min(60, max(10, 300_000 // n)),
            learning_rate=options.learning_rate or (1e-3 if self._pretrained is None else 2e-4),
        )
        sizes = torch.bincount(codes, minlength=classifier.gene.shape[1])
        self._fitted(model, trainer.run(MaskedLabels(model, classifier, sizes, precision), data, schedule))

    def _calibrate(self, counts: CellBatch, embedding: Tensor, codes: Tensor) -> None:
        """Weigh the two heads, and learn how known cells look, on cells that neither was fitted to."""
        classifier = self.classifier_
        with torch.no_grad():
            linear, embedded = classifier.linear_logits(counts), classifier.embedding_logits(embedding)
        classifier.weight.copy_(calibrate_heads(linear, embedded, codes))
        classifier.novelty.fit(linear, self.false_unknown_rate)
        if len(codes):
            with torch.no_grad():
                confidence, found = classifier(counts, embedding)[0].softmax(1).max(1)
            self.calibration_error_ = calibration_error((found == codes).numpy(), confidence.numpy())

    @torch.no_grad()
    def _read(self, cells: CellReader, embedding: Tensor) -> tuple[Tensor, np.ndarray]:
        """Calibrated logits ``(cells, labels)`` and novelty ``(cells,)``, read in blocks."""
        starts = range(0, len(cells), BLOCK)
        blocks = [slice(start, min(start + BLOCK, len(cells))) for start in starts]
        read = [self.classifier_(cells.read(b.start, b.stop), embedding[b]) for b in blocks]
        logits, novelty = (torch.cat(parts) for parts in zip(*read, strict=True))
        return logits, novelty.numpy()

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        values = {
            "labels": self.labels_,
            "calibration_error": self.calibration_error_,
            "cells": self.reference_.names,
        }
        weights = {f"classifier.{name}": weight for name, weight in self.classifier_.state_dict().items()}
        return values, weights | {"codes": self.reference_.codes, "embedding": self.reference_.embedding}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.labels_ = tuple(values["labels"])
        self.calibration_error_ = float(values["calibration_error"])
        self.reference_ = ReferenceCells(list(values["cells"]), tensors["codes"], tensors["embedding"])
        weights = {name: weight for name, weight in tensors.items() if name.startswith("classifier.")}
        genes, classes = weights["classifier.gene"].shape
        self.classifier_ = LabelClassifier(genes, weights["classifier.head.weight"].shape[1], classes).eval()
        self.classifier_.load_state_dict({name.removeprefix("classifier."): w for name, w in weights.items()})


def annotate(
    adata: AnnData,
    *,
    reference: AnnData | str | PathLike[str],
    label_key: str,
    model: Model | str | PathLike[str] | None = None,
    freeze_encoder: bool = False,
    config: ModelConfig | str = SHAPE,
    false_unknown_rate: float = 0.02,
    top_k: int | None = None,
    return_evidence: bool = False,
    layer: str | None = None,
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
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Annotate cells with the cell types of a labelled reference.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, human or mouse.
    reference
        Labelled cells, with raw counts, or the path of an h5ad file or a zarr directory.
    label_key
        Column of the reference's ``obs`` with the labels.
    model
        Pretrained model, or its directory, to be fine-tuned; by default one is trained on the reference.
    freeze_encoder
        Leave the pretrained model's embedding as it is.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch.
    false_unknown_rate
        Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
        laboratory, or treated ones, it will be more: then try 0.005.
    top_k, return_evidence
        Give the most probable labels, and the nearest reference cells, too; see :meth:`Annotator.predict`.
    layer, tissue_key, spatial_key, species
        Reading options for both objects, see :class:`celloquy.data.CellColumns`.
    batch_key
        Column of the reference's ``obs`` with the experimental batch: the same share of each is held out.
    epochs, training, precision, device, seed, progress
        Training and running options, as in :func:`celloquy.pretrain`.
    key_added
        Prefix of the keys of the results; by default ``"celloquy"``, see :meth:`Annotator.predict`.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with the keys that :meth:`Annotator.predict` names.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        As :meth:`Annotator.fit` and :meth:`Annotator.predict`; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata, reference=atlas, label_key="cell_type")
    >>> adata.obs[["celloquy_label", "celloquy_confidence"]]
    """
    began = time.perf_counter()
    annotator = Annotator(
        label_key=label_key, model=model, freeze_encoder=freeze_encoder, config=config,
        false_unknown_rate=false_unknown_rate, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key,
        batch_key=batch_key, species=species, epochs=epochs, training=training, precision=precision, device=device,
        seed=seed, progress=progress,
    )  # fmt: skip
    annotator._prepare()
    query = annotator._query(adata)
    with opened(reference) as labelled:
        labels = read_labels(labelled, label_key, reserved=keys.UNKNOWN)
        # Before the training, not after it.
        annotator._check_top(top_k, len(labels.names))
        annotator._fit(annotator._source(labelled, name="reference"), labels, query)
    return annotator._predict(adata, query, began, top_k, return_evidence, key_added, copy=copy)
