"""Annotate cells with the cell types of a labelled reference."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from celloquy import keys
from celloquy.checks import check_choice, check_number
from celloquy.data import CellBatch, CellReader, CellSource
from celloquy.data.labels import Labels, check_top, read_labels
from celloquy.data.reader import BLOCK
from celloquy.errors import ArgumentError, GenesError
from celloquy.evaluate.annotation import calibration_error
from celloquy.models import CellModelConfig, Model, ModelConfig
from celloquy.runtime.arrays import runs
from celloquy.tasks.annotation.across import SpeciesTransfer, shared_orthologs
from celloquy.tasks.annotation.calibration import calibrate
from celloquy.tasks.annotation.classifier import LabelClassifier
from celloquy.tasks.annotation.evidence import ReferenceCells
from celloquy.tasks.annotation.labelling import deliver_labels, label_results
from celloquy.tasks.annotation.linear import check_shared, fit_head, fit_linear, marker_genes
from celloquy.tasks.annotation.objective import MaskedLabels
from celloquy.tasks.base import Task
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.results import check_result, free_prefix, genes_cut
from celloquy.training.corpus import find_vocabulary
from celloquy.training.masked_counts import MaskedCells, split_cells

if TYPE_CHECKING:
    from anndata import AnnData

SHAPE = CellModelConfig(
    attention="none", latent="none", positions=False, dropout=0.2, mask_cells=0.9, mask_beta=(2.0, 8.0)
)
"""Configuration of a model that is trained from scratch. Reading the cells around gained nothing from some hundreds of
labelled cells, and without it a label does not depend on which cells are annotated together; a latent with noise costs
accuracy."""

ADAPTED_WIDTH = 200
"""Width of the embedding of a model that adapts, at most: small dimensions tell labels apart, too."""

GENES_BESIDE = 0.1
"""Weight of the regressions on genes beside the head on such an embedding. On held-out studies with 50 labelled cells
they add nothing (macro F1 .568 without, .566 with), with 300 and 1,000 a little (.871 and .875, .887 and .889)."""

LEAST_TO_ADAPT = 50
"""Reference cells from which on the model in the box adapts where a model of both species is needed."""


@dataclass(kw_only=True, eq=False, repr=False)
class Annotator(Task):
    """Gives cells the labels of a reference.

    Two heads read a cell: regressions on the genes that tell the labels apart and on their principal components, and a
    linear layer on the embedding of a model that is trained, or fine-tuned, on the labels. Their logits are added; how
    much each counts is found on held-out cells, which makes the probabilities calibrated. A model that adapts, such as
    the one in the box, is not trained: it learns from the reference's counts, and a regression from its embedding,
    both in seconds. Everything is learned from the reference alone; of the cells to be annotated the fit knows at most
    the names of their genes. Cells of the other species also speak for one another, when they are labelled.

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
    >>> annotator.save("annotator/")
    >>> cq.Annotator.load("annotator/").predict(adata)
    """

    name: ClassVar[str] = "annotate"

    label_key: str = field()
    """Column of the reference's ``obs`` with the labels; a coarse and a fine one are two annotators."""
    false_unknown_rate: float = 0.02
    """Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
    laboratory, or treated ones, it will be more: then try 0.005."""
    drop_missing: bool = True
    """Leave out, with a warning, reference cells without a label, or whose label says no more: ``""``, ``"nan"``,
    ``"None"``, ``"Unknown"``, ``"unassigned"`` and so on, in any case. False learns such words as labels."""
    drop_rare: int | None = None
    """Smallest number of reference cells of a label; cells of rarer labels are left out. By default a label of one
    cell is an error."""
    reference_layer: str | None = None
    """Place of the raw counts of the reference; by default the first that holds counts."""
    config: ModelConfig | str = SHAPE
    """``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch."""

    labels_: tuple[str, ...] = field(default=(), init=False)
    calibration_error_: float = field(default=float("nan"), init=False)
    transfer_: SpeciesTransfer | None = field(default=None, init=False)

    def _check(self) -> None:
        super()._check()
        check_number(
            "false_unknown_rate", self.false_unknown_rate, most=1, exclude_most=True,
            remedy="leave it out, or pass 0 to have every cell labelled.",
        )  # fmt: skip
        check_choice("drop_missing", self.drop_missing, (True, False))

    def _prepare(self) -> None:
        super()._prepare()
        for name in ("freeze_encoder", "epochs", "training"):
            if self._adapts and getattr(self, name):
                raise ArgumentError(
                    f"`{name}` has no use with this model.",
                    found=f"a {type(self._pretrained).__name__}, which adapts to the reference and is not trained",
                    remedy=f"leave `{name}` out, or pass a CellModel.",
                    argument=name,
                )

    @property
    def _adapts(self) -> bool:
        """True if the pretrained model learns by adapting, not by training."""
        return self._pretrained is not None and "adapt" in self._pretrained.abilities

    def fit(self, reference: AnnData, *, query: AnnData | None = None) -> Self:
        """Learn the labels of a reference.

        Parameters
        ----------
        reference
            Cells × genes with raw counts and labels, which are only read.
        query
            Cells to be annotated later. Only the names of their genes are read, so that nothing is told by genes that
            they lack. See :mod:`celloquy.tasks.annotation.across` for cells of the other species.

        Raises
        ------
        CountsError, GenesError, ArgumentError, CheckpointError, ModelError
            If there are no raw counts, no known genes or none shared, no usable labels, or an unfit parameter.
        """
        self._prepare()
        labels = self._labels(reference)
        return self._fit(self._reference(reference), labels, None if query is None else self._query(query))

    def _labels(self, reference: AnnData) -> Labels:
        return read_labels(
            reference, self.label_key, reserved=keys.UNKNOWN, drop_missing=self.drop_missing, drop_rare=self.drop_rare
        )

    def _reference(self, adata: AnnData) -> CellSource:
        """The cells to learn from."""
        columns = replace(self.columns, layer=self.reference_layer)
        return CellSource(adata, columns, name="reference", layer_argument="reference_layer")

    def _query(self, adata: AnnData) -> CellSource:
        """The cells to annotate, whose batch is not looked at."""
        return CellSource(adata, replace(self.columns, batch_key=None))

    def _fit(self, reference: CellSource, labels: Labels, query: CellSource | None) -> Self:
        learned = torch.from_numpy(np.flatnonzero(labels.codes >= 0))
        codes, classes = torch.from_numpy(labels.codes)[learned], len(labels.names)
        if (orthologs := shared_orthologs(reference, query, required=self._pretrained is None)) is not None:
            self._meet_the_other_species(len(learned))
        vocabulary = self._vocabulary(reference)
        if query is not None and orthologs is not None and self._pretrained is None:
            vocabulary = find_vocabulary([reference, query])
        self.selected_, self.shared_, self.transfer_ = False, None, None
        cells = self._over(reference, vocabulary)
        measured = cells.measured if query is None else cells.measured & self._over(query, vocabulary).measured
        counts = cells.read_all().select(learned)
        check_shared(counts, cells.measured, measured)
        # What is held out is drawn before anything is learned, so that nothing has seen it.
        used, kept = split_cells(counts.batch, self._held_out(codes), self.seed, codes)
        if self._pretrained is None:
            chosen = marker_genes(counts.select(used), codes[used], classes, measured)
            if not len(chosen):
                raise GenesError(
                    "There is no gene to tell the labels apart by.",
                    found=f"{int(measured.sum()):,} shared genes, in none of which the labels differ",
                    expected="genes that are expressed in at least three cells of the reference",
                    remedy="look at the counts of the reference, and at the names of the genes of both.",
                )
            vocabulary, self.selected_ = vocabulary.take(chosen), True
        else:
            self.shared_ = measured
        cells = self._over(reference, vocabulary)
        counts = cells.read_all().select(learned)
        if self._adapts:
            classifier, embedding = self._adapt(cells, classes)
            fit_head(classifier, embedding[learned][used], codes[used], seed=self.seed)
        else:
            with self.trainer.seeded():
                model = self._start(vocabulary, counts.select(used))
                classifier = LabelClassifier(len(vocabulary), model.embedding_width, classes, dropout=model.dropout)
                self._fit_embedding(model, classifier, counts, codes)
            embedding = torch.from_numpy(self._embed(cells))
        embedding = embedding[learned]
        self.classifier_, self.labels_ = classifier, labels.names
        fit_linear(classifier, counts.select(used), codes[used], seed=self.seed)
        self._calibrate(counts.select(kept), embedding[kept], codes[kept])
        if orthologs is not None:
            own = classifier(counts.select(kept), embedding[kept])[0].argmax(1).numpy()
            self.transfer_ = SpeciesTransfer.learn(
                orthologs, reference, learned.numpy(), codes.numpy(), (used.numpy(), kept.numpy()), own,
                false_unknown_rate=self.false_unknown_rate, seed=self.seed,
            )  # fmt: skip
        if self._adapts:
            fit_head(classifier, embedding, codes, seed=self.seed)
        # The weights are known; now the regression learns from the held-out cells, too.
        fit_linear(classifier, counts, codes, seed=self.seed)
        names = reference.cell_names[learned.numpy()]
        self.reference_ = ReferenceCells.choose(names, embedding, codes, seed=self.seed)
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
            Probability of every label, ``(cells, labels)``; :func:`celloquy.get` returns it with the labels' names.
        ``obsm["celloquy_top"]``, ``obsm["celloquy_evidence"]``
            If asked for; :func:`celloquy.get` returns the texts.
        ``obs["celloquy_cut"]``
            For a model that reads a limited number of genes of a cell: how many it left out.
        ``uns["celloquy"]["celloquy_label"]``
            How it was made.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts or too few known genes; ``adata`` is then as it was.
        """
        began = time.perf_counter()
        key_added = self._check_result(adata, top_k, len(self.labels_), key_added, copy=copy)
        return self._predict(adata, self._query(adata), began, top_k, return_evidence, key_added, copy=copy)

    def check_request(self, adata: AnnData, reference: AnnData | None = None, **asked: Any) -> None:
        """See :meth:`Task.check_request`."""
        super().check_request(adata, reference, **asked)
        if reference is not None and self.label_key in reference.obs:
            check_top(asked.get("top_k"), reference.obs[self.label_key].nunique())

    def _check_result(
        self, adata: AnnData, top_k: int | None, labels: int, key_added: str | None, *, copy: bool
    ) -> str:
        """Check what is asked for, before anything is computed, and return the prefix of the keys."""
        check_top(top_k, labels)
        prefix = free_prefix(adata, self.label_key) if key_added is None else key_added
        check_result(adata, prefix, copy=copy)
        return prefix

    def _predict(
        self, adata: AnnData, source: CellSource, began: float, top_k: int | None, return_evidence: bool,
        key_added: str, *, copy: bool,
    ) -> AnnData | None:  # fmt: skip
        cells = self._over(source, self._trained.vocabulary)
        embedding = torch.from_numpy(self._embed(cells))
        logits, novelty, expressed = self._read(cells, embedding)
        probability, record = logits.softmax(1).numpy(), self._record(cells, began)
        if self.transfer_ is not None and self.transfer_.serves(source):
            probability, novelty = self.transfer_.read(source, probability)
            record["parameters"] |= self.transfer_.described()
        known = novelty <= 0.5 if self.false_unknown_rate else np.ones(len(novelty), dtype=bool)
        obs, obsm = label_results(probability, novelty, known, self.labels_, top_k)
        obs |= genes_cut(self._trained, expressed, keys.ANNOTATION)
        if return_evidence:
            obsm[keys.EVIDENCE] = self.reference_.nearest(embedding, self.labels_)
        return deliver_labels(adata, obs, obsm, record, key_added, copy=copy)

    def _meet_the_other_species(self, cells: int) -> None:
        """Take the model in the box, which knows both species, unless one was given, or asked to be trained."""
        usual = self.epochs is None and self.training is None and self.config is SHAPE
        if self._pretrained is None and usual and cells >= LEAST_TO_ADAPT:
            self._pretrained = resolve_model(keys.CELLS_MINI)

    def _held_out(self, codes: Tensor) -> float:
        """Share of the cells that is held out: more of few, because calibration takes some cells of every label."""
        share = self.trainer.options.validation
        return max(0.15, share) if share and len(codes) <= 5000 else share

    def _adapt(self, cells: CellReader, classes: int) -> tuple[LabelClassifier, Tensor]:
        """Adapt the pretrained model to the reference, and return its embedding; sets ``model_``."""
        assert self._pretrained is not None
        model = self._pretrained.adapted(cells, ADAPTED_WIDTH)
        if model is self._pretrained:
            raise ArgumentError(
                "The reference is too small for a model to adapt to it.",
                found=f"{len(cells):,} cells",
                expected="some dozens of cells with counts",
                remedy="pass more cells, or leave `model` out.",
                argument="reference",
            )
        self._fitted(model, [])
        with torch.random.fork_rng(devices=[]):
            classifier = LabelClassifier(len(model.vocabulary), model.embedding_width, classes).eval()
        return classifier, torch.from_numpy(self._embed(cells))

    def _fit_embedding(self, model: Model, classifier: LabelClassifier, counts: CellBatch, codes: Tensor) -> None:
        """Train a model and a classifier's head on its embedding; sets ``model_`` and ``history_``."""
        trainer, options, n = self.trainer, self.trainer.options, len(counts)
        _, precision = trainer.hardware(model.config.width)
        data = MaskedCells(
            counts, model, batch_size=options.batch_size or min(1000, max(32, n // 7)),
            held_out=self._held_out(codes), seed=self.seed, labels=codes,
            cells_per_sentence=options.cells_per_sentence, parts=options.parts or 1,
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
        if self._adapts:
            classifier.weight.copy_(
                calibrate([GENES_BESIDE * linear + embedded], codes) * torch.tensor([GENES_BESIDE, 1])
            )
        else:
            classifier.weight.copy_(calibrate([linear, embedded], codes))
        classifier.novelty.fit(linear, self.false_unknown_rate)
        if len(codes):
            with torch.no_grad():
                confidence, found = classifier(counts, embedding)[0].softmax(1).max(1)
            self.calibration_error_ = calibration_error((found == codes).numpy(), confidence.numpy())

    @torch.no_grad()
    def _read(self, cells: CellReader, embedding: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Calibrated logits ``(cells, labels)``, novelty and expressed genes ``(cells,)``, read in blocks."""
        read = []
        for block in runs(0, len(cells), BLOCK):
            batch = cells.read(block.start, block.stop)
            read.append((*self.classifier_(batch, embedding[block]), batch.indptr.diff()))
        logits, novelty, expressed = (torch.cat(parts) for parts in zip(*read, strict=True))
        return logits, novelty.numpy(), expressed.numpy()

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        values = {
            "labels": self.labels_,
            "calibration_error": self.calibration_error_,
            "cells": self.reference_.names,
        }
        weights = {f"classifier.{name}": weight for name, weight in self.classifier_.state_dict().items()}
        tensors = weights | {"codes": self.reference_.codes, "embedding": self.reference_.embedding}
        if self.transfer_ is not None:
            values["transfer"], of_transfer = self.transfer_.state()
            tensors |= {f"transfer.{name}": one for name, one in of_transfer.items()}
        return values, tensors

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.labels_ = tuple(values["labels"])
        self.calibration_error_ = float(values["calibration_error"])
        self.reference_ = ReferenceCells(list(values["cells"]), tensors["codes"], tensors["embedding"])
        weights = {name: weight for name, weight in tensors.items() if name.startswith("classifier.")}
        genes, classes = weights["classifier.gene"].shape
        self.classifier_ = LabelClassifier(genes, weights["classifier.head.weight"].shape[1], classes).eval()
        of_transfer = {name.removeprefix("transfer."): one for name, one in tensors.items() if "transfer." in name}
        self.transfer_ = SpeciesTransfer.from_state(values["transfer"], of_transfer) if of_transfer else None
        self.classifier_.load_state_dict({name.removeprefix("classifier."): w for name, w in weights.items()})
