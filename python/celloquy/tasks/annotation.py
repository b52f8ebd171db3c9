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
from celloquy.data import CellBatch, Cells
from celloquy.data.cells import BLOCK
from celloquy.data.labels import read_labels
from celloquy.errors import ArgumentError, GenesError
from celloquy.evaluate.annotation import calibration_error
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.compute import Precision
from celloquy.nn.classifier import LabelClassifier
from celloquy.tasks.task import Task, deliver
from celloquy.training.fitting import Fitting
from celloquy.training.labelled import MaskedLabels, weigh_readings
from celloquy.training.objective import MaskedCells, split_cells
from celloquy.training.regression import fit_linear, telling_genes
from celloquy.training.selection import some_genes
from celloquy.training.split import hold_out

if TYPE_CHECKING:
    from anndata import AnnData

SHAPE = CellModelConfig(
    attention="none", latent="none", positions=False, dropout=0.2, mask_cells=0.9, mask_beta=(2.0, 8.0)
)
"""Of a model trained from scratch. Reading the cells around gained nothing from some hundreds of labelled cells,
and without it a label does not depend on which cells are annotated together; a latent with noise costs accuracy."""

NEAREST = 5
"""Reference cells that are given as evidence for a cell."""

KEPT_REFERENCE = 50_000
"""Reference cells that are kept as evidence, at most; the same share of every label."""


@dataclass(kw_only=True)
class Annotator(Task):
    """Gives cells the labels of a reference.

    Two readings of a cell are added: regressions on the genes that tell the labels apart and on their principal
    components, and the embedding of a cell model that is trained, or fine-tuned, on the labels. How much each counts is
    found on held-out cells, which makes the probabilities calibrated. Everything is learned from the reference alone;
    of the cells to be annotated the fit knows at most the names of their genes.

    Parameters are those of :class:`celloquy.tasks.Task`, and the following.

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
    unknown: float = 0.02
    """Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
    laboratory, or treated ones, it will be more: then try 0.005."""
    config: CellModelConfig | str = SHAPE
    """``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.unknown < 1:
            raise ArgumentError(
                "`unknown` can't be used.",
                found=repr(self.unknown),
                expected="a share from 0 to below 1",
                remedy="leave it out, or pass 0 to have every cell labelled.",
            )
        self.labels_: tuple[str, ...] = ()
        self.calibration_error_ = float("nan")

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
        CountsError, GenesError, ArgumentError
            If there are no raw counts, no known genes or none shared, or no usable labels.
        """
        labels = read_labels(reference, self.label_key, reserved=keys.UNKNOWN)
        codes, classes = torch.from_numpy(labels.codes), len(labels.names)
        vocabulary, self.selected_ = self._vocabulary(reference), False
        cells = self._cells(reference, vocabulary)
        counts = cells.read_all()
        # What is held out is drawn before anything is learned, so that nothing has seen it.
        used, kept = split_cells(counts, self._held_out(codes), self.fitting.seed, codes)
        if self.model is None:
            measured = cells.measured if query is None else cells.measured & self._cells(query, vocabulary).measured
            chosen = telling_genes(counts.select(used), codes[used], classes, measured)
            if not len(chosen):
                raise GenesError(
                    "There is no gene to tell the labels apart by.",
                    found=f"{int(measured.sum()):,} shared genes, in none of which the labels differ",
                    expected="genes that are expressed in at least three cells of the reference",
                    remedy="look at the counts of the reference, and at the names of the genes of both.",
                )
            vocabulary, self.selected_ = some_genes(vocabulary, chosen), True
            cells = self._cells(reference, vocabulary)
            counts = cells.read_all()
        with self.fitting.drawing():
            model = self._start(vocabulary, counts.select(used))
            width = model.config.latent_width
            classifier = LabelClassifier(len(vocabulary), width, classes, dropout=model.config.dropout)
            self._fit_embedding(model, classifier, counts, codes)
        self.classifier_, self.labels_ = classifier, labels.names
        embedding = torch.from_numpy(self._embed(cells))
        fit_linear(classifier, counts.select(used), codes[used], seed=self.fitting.seed)
        self._calibrate(counts.select(kept), embedding[kept], codes[kept])
        # The weights are known; now the regression learns from the held-out cells, too.
        fit_linear(classifier, counts, codes, seed=self.fitting.seed)
        self._remember(reference.obs_names.to_numpy(dtype=str), embedding, codes)
        return self

    def predict(
        self, adata: AnnData, *, top_k: int | None = None, return_evidence: bool = False, copy: bool = False
    ) -> AnnData | None:
        """Label cells.

        Parameters
        ----------
        adata
            Cells × genes with raw counts.
        top_k
            Give the most probable labels, so many, too.
        return_evidence
            Give the five reference cells that lie nearest in the embedding, too.
        copy
            Return a copy with the result, and leave ``adata`` as it is.

        Returns
        -------
        None, or the copy. Written are

        ``obs["celloquy_label"]``
            The label, ``"unknown"`` where the cell is unlike all of the reference.
        ``obs["celloquy_confidence"]``
            How probable the most probable label is, from 0 to 1.
        ``obs["celloquy_novelty"]``
            How unlike all labels of the reference the cell is, from 0 to 1; unknown above one half.
        ``obsm["celloquy_probability"]``
            The probability of every label, ``(cells, labels)``.
        ``obsm["celloquy_top"]``, ``obsm["celloquy_evidence"]``
            If asked for.
        ``uns["celloquy"]``
            How it was made.

        Raises
        ------
        CountsError, GenesError, ArgumentError
            If nothing is fitted, there are no raw counts or too few known genes; ``adata`` is then as it was.
        """
        began = time.perf_counter()
        cells = self._cells(adata, self._trained.vocabulary)
        if top_k is not None and not 1 <= top_k <= len(self.labels_):
            raise ArgumentError(
                "`top_k` can't be used.",
                found=repr(top_k),
                expected=f"from 1 to {len(self.labels_)}, the number of labels",
                remedy="leave it out; obsm['celloquy_probability'] has the probabilities of all labels.",
            )
        embedding = torch.from_numpy(self._embed(cells))
        logits, novelty = self._read(cells, embedding)
        probability = logits.softmax(1).numpy()
        best = probability.argmax(1)
        known = novelty <= 0.5 if self.unknown else np.ones(len(best), dtype=bool)
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
            obsm[keys.EVIDENCE] = self._evidence(embedding, adata.obs_names)
        return deliver(adata, obs=obs, obsm=obsm, uns=self._provenance(cells, began), copy=copy)

    def _held_out(self, codes: Tensor) -> float:
        """Share of the cells that is held out: more of few, for calibration takes some cells of every label."""
        return self.fitting.validation if len(codes) > 5000 or not self.fitting.validation else max(
            0.15, self.fitting.validation
        )  # fmt: skip

    def _fit_embedding(self, model: CellModel, classifier: LabelClassifier, counts: CellBatch, codes: Tensor) -> None:
        """Train a model and a classifier's reading of its embedding; sets ``model_`` and ``history_``."""
        fitting, n = self.fitting, len(counts)
        _, precision = fitting.hardware(model.config.width)
        examples = MaskedCells(
            counts, model, batch_size=fitting.batch_size or min(1000, max(32, n // 7)),
            held_out=self._held_out(codes), seed=fitting.seed, labels=codes,
        )  # fmt: skip
        training = replace(
            fitting.training(n, model.config.width, self._slower()),
            epochs=fitting.epochs or min(60, max(10, 300_000 // n)),
            learning_rate=fitting.learning_rate or (1e-3 if self.model is None else 2e-4),
        )
        sizes = torch.bincount(codes, minlength=classifier.gene.shape[1])
        self._fitted(model, fitting.run(MaskedLabels(model, classifier, sizes, precision), examples, training))

    def _calibrate(self, counts: CellBatch, embedding: Tensor, codes: Tensor) -> None:
        """Weigh the two readings, and learn how known cells look, on cells that neither was fitted to."""
        classifier = self.classifier_
        with torch.no_grad():
            linear, embedded = classifier.linear(counts), classifier.embedded(embedding)
        classifier.weight.copy_(weigh_readings(linear, embedded, codes))
        classifier.novelty.fit(linear, self.unknown)
        if len(codes):
            with torch.no_grad():
                confidence, found = classifier(counts, embedding)[0].softmax(1).max(1)
            self.calibration_error_ = calibration_error((found == codes).numpy(), confidence.numpy())

    @torch.no_grad()
    def _read(self, cells: Cells, embedding: Tensor) -> tuple[Tensor, np.ndarray]:
        """Calibrated logits ``(cells, labels)`` and novelty ``(cells,)``, read in blocks."""
        starts = range(0, len(cells), BLOCK)
        blocks = [slice(start, min(start + BLOCK, len(cells))) for start in starts]
        read = [self.classifier_(cells.read(b.start, b.stop), embedding[b]) for b in blocks]
        logits, novelty = (torch.cat(parts) for parts in zip(*read, strict=True))
        return logits, novelty.numpy()

    def _remember(self, names: np.ndarray, embedding: Tensor, codes: Tensor) -> None:
        """Keep reference cells to show as evidence."""
        kept = np.arange(len(names))
        if len(kept) > KEPT_REFERENCE:
            share = KEPT_REFERENCE / len(kept)
            kept = np.sort(hold_out(codes.numpy(), share, np.random.default_rng(self.fitting.seed))[1])
        self._cells_kept, self._codes_kept, self._embedding_kept = names[kept].tolist(), codes[kept], embedding[kept]

    def _evidence(self, embedding: Tensor, index: pd.Index) -> pd.DataFrame:
        """The nearest reference cells and their labels, a row for every cell."""
        from sklearn.neighbors import NearestNeighbors

        count = min(NEAREST, len(self._codes_kept))
        nearest = NearestNeighbors(n_neighbors=count).fit(self._embedding_kept.numpy())
        near = nearest.kneighbors(embedding.numpy(), return_distance=False)
        cells, labels = np.array(self._cells_kept), np.array(self.labels_)[self._codes_kept.numpy()]
        columns: dict[str, np.ndarray] = {}
        for rank in range(count):
            columns |= {f"cell_{rank + 1}": cells[near[:, rank]], f"label_{rank + 1}": labels[near[:, rank]]}
        return pd.DataFrame(columns, index=index)

    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        values = {
            "labels": self.labels_,
            "calibration_error": self.calibration_error_,
            "cells": self._cells_kept,
        }
        weights = {f"classifier.{name}": weight for name, weight in self.classifier_.state_dict().items()}
        return values, weights | {"codes": self._codes_kept, "embedding": self._embedding_kept}

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.labels_ = tuple(values["labels"])
        self.calibration_error_ = float(values["calibration_error"])
        self._cells_kept = list(values["cells"])
        self._codes_kept, self._embedding_kept = tensors["codes"], tensors["embedding"]
        weights = {name: weight for name, weight in tensors.items() if name.startswith("classifier.")}
        genes, classes = weights["classifier.gene"].shape
        self.classifier_ = LabelClassifier(genes, weights["classifier.head.weight"].shape[1], classes).eval()
        self.classifier_.load_state_dict({name.removeprefix("classifier."): w for name, w in weights.items()})


def annotate(
    adata: AnnData,
    *,
    reference: AnnData,
    label_key: str,
    model: CellModel | str | PathLike[str] | None = None,
    frozen: bool = False,
    config: CellModelConfig | str = SHAPE,
    unknown: float = 0.02,
    top_k: int | None = None,
    return_evidence: bool = False,
    layer: str | None = None,
    species: Literal["auto"] | None = None,
    epochs: int | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Annotate cells with the cell types of a labelled reference.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, human or mouse.
    reference
        Labelled cells, with raw counts.
    label_key
        Column of the reference's ``obs`` with the labels.
    model
        A pretrained model, or its directory, to be fine-tuned; by default one is trained on the reference.
    frozen
        Leave the pretrained model's embedding as it is.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch.
    unknown
        Share of held-out reference cells that may be called unknown; 0 never calls a cell unknown. Of cells of another
        laboratory, or treated ones, it will be more: then try 0.005.
    top_k, return_evidence
        Give the most probable labels, and the nearest reference cells, too; see :meth:`Annotator.predict`.
    layer
        Where the raw counts are, in both objects.
    species
        ``"auto"`` maps genes of the other species through one-to-one orthologs, with a warning.
    epochs, precision, device, seed, progress
        As in :func:`celloquy.pretrain`.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy, with the keys that :meth:`Annotator.predict` tells of.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError
        As :meth:`Annotator.fit` and :meth:`Annotator.predict`; ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata, reference=atlas, label_key="cell_type")
    >>> adata.obs[["celloquy_label", "celloquy_confidence"]]
    """
    annotator = Annotator(
        label_key=label_key, model=model, frozen=frozen, config=config, unknown=unknown, layer=layer, species=species,
        fitting=Fitting(epochs=epochs, precision=precision, device=device, seed=seed, progress=progress),
    )  # fmt: skip
    annotator.fit(reference, query=adata)
    return annotator.predict(adata, top_k=top_k, return_evidence=return_evidence, copy=copy)
