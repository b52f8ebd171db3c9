"""``GeneClassifier``: any label or number of genes, learned from what is known of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.checks import check_choice, check_whole_number
from celloquy.data import CellColumns
from celloquy.genes import GeneVocabulary, Prior
from celloquy.genes.identify import species_of, symbol_of
from celloquy.models import Model
from celloquy.runtime.hardware import choose_device
from celloquy.tasks.properties.folds import FOLDS, Folds, held_out
from celloquy.tasks.properties.labelled import LabelledGenes, Unknown, labelled_genes, named_genes
from celloquy.tasks.properties.saved import read_classifier, write_classifier
from celloquy.tasks.properties.sources import blocks_of, check_evidence
from celloquy.tasks.properties.trained import Trained, train
from celloquy.tasks.saved import not_fitted

if TYPE_CHECKING:
    from anndata import AnnData

Evidence = str | pd.DataFrame | Prior | Iterable["str | pd.DataFrame | Prior"]


@dataclass(kw_only=True, eq=False, repr=False)
class GeneClassifier:
    """Learn a property of genes from some that have it and some that do not, and tell it of others.

    A property is any label, of two classes or more, or a number. Genes are described by blocks of features: priors that
    ship with the package, numbers of annotations, expression in the corpus of the models in the box, vectors of models,
    and, given cells, what these say of genes. Each block is read by a regression of its own with a ridge, all side by
    side by one more and by a forest; their blend has the weights by which held-out genes are told best, so its
    probabilities are calibrated for genes that were not learned from. Where a single block, the priors or the
    prevalence alone do better on held-out genes, they are used instead, and :attr:`report_` says so.

    Attributes
    ----------
    report_
        What was tried on held-out genes, a row for each way: ``loss`` (minus log probability of the label in nats, or
        squared error of the standardised number), ``gain`` over the prevalence and its standard error ``gain_error``,
        ``auroc`` (a mean over classes against the others) or ``r2`` and ``spearman``, whether the way was ``chosen``,
        and the ``weight`` of a reading in what was chosen.
    method_
        Name of the way that was chosen: ``"all"``, ``"priors"``, the name of a block, or ``"prevalence"``.
    held_out_
        The labelled genes with their label and what was told of them by readings of other folds.
    classes_
        Names of the classes; none where the property is a number.

    Examples
    --------
    >>> import celloquy as cq
    >>> classifier = cq.GeneClassifier().fit(table["gene"], table["dosage_sensitive"])
    >>> print(classifier.summary())
    >>> classifier.save("classifier/")
    >>> cq.GeneClassifier.load("classifier/").predict(["GATA4", "TBX5", "ZNF66"])
    """

    name: ClassVar[str] = "properties"

    model: Model | str | PathLike[str] | None = None
    """Model whose vectors of genes are read: one that embeds genes, or the directory or name of a saved one. By default
    those in the box, the loadings of ``"cells-mini"`` and the vectors of ``"genes-mini"``."""
    evidence: Evidence = "auto"
    """``"auto"``, all that can be had, or some of ``"family"``, ``"function"``, ``"domains"``, ``"signalling"`` (the
    priors, see :func:`celloquy.genes.prior`), ``"annotations"`` (how many of these a gene has), ``"expression"`` and
    ``"profiles"`` (statistics and profile over cell types, see :func:`celloquy.genes.expression`), ``"vectors"`` (of
    models) and ``"cells"`` (of ``adata``); and tables of your own, genes × features."""
    folds: Folds = "family"
    """Genes that are held out together: whole ``"family"``, so that no paralogue of a held-out gene is learned from, or
    ``"random"`` ones, for genes whose paralogues will be known."""
    unknown: Unknown = "error"
    """``"drop"`` leaves out names that stand for no gene."""
    layer: str | None = None
    """Place of the raw counts of ``adata``, as of :func:`celloquy.embed`."""
    counts: Literal["round"] | None = None
    """``"round"`` rounds estimated counts."""
    species: Literal["auto"] | None = None
    """``"auto"`` maps genes of the other species of ``adata``, where a model knows one species alone."""
    device: str = "auto"
    """``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one. A gene model alone computes there."""
    seed: int = 0
    """Seed of the folds and the trees."""
    progress: bool = True
    """Show a progress bar, and then a line that says what was chosen."""

    trained_: Trained | None = field(default=None, init=False)
    classes_: tuple[str, ...] = field(default=(), init=False)
    labelled_: LabelledGenes | None = field(default=None, init=False)
    scale_: tuple[float, float] = field(default=(0.0, 1.0), init=False)

    def fit(
        self,
        genes: Iterable[str],
        labels: Iterable[Any],
        adata: AnnData | str | PathLike[str] | None = None,
    ) -> Self:
        """Learn a property.

        Parameters
        ----------
        genes
            Symbols or Ensembl ids of human or mouse; one-to-one orthologs are one gene. The order does not matter.
        labels
            Label of each gene. Text, categories, True and False, and up to 20 whole numbers are classes; other numbers
            are numbers. Genes without a label (NaN, None) are left out.
        adata
            Cells in which the genes are described, too, as :func:`celloquy.embed` takes them: level of expression,
            correlation with the cells' principal components, and vectors of a gene model as it reads the cells, of at
            most 5,000 of them.

        Raises
        ------
        GenesError
            If a name stands for no gene; it tells the nearest names.
        ArgumentError
            If fewer than ten genes have a label, all have the same, two labels of a gene contradict, or a parameter
            can't be used.
        ModelError, CheckpointError, CountsError
            If the model has no vectors of genes, or the cells can't be read.
        """
        self._check()
        evidence = check_evidence(self.evidence, adata)
        labelled = labelled_genes(genes, labels, self.unknown)
        columns = CellColumns(layer=self.layer, counts=self.counts, species=self.species)
        blocks = blocks_of(evidence, self.model, adata, columns, self.device, self.progress)
        told, scale = _standardised(labelled)
        fold = held_out(labelled.vocabulary, labelled.labels, self.folds, self.seed)
        trained = train(
            blocks, labelled.vocabulary, told, len(labelled.classes), fold, seed=self.seed,
            progress=self.progress,
        )  # fmt: skip
        self.trained_, self.classes_, self.labelled_, self.scale_ = trained, labelled.classes, labelled, scale
        if self.progress:
            print(self.summary())
        return self

    def predict(self, genes: Iterable[str] | None = None) -> pd.DataFrame:
        """Tell the property of genes.

        Parameters
        ----------
        genes
            Symbols or Ensembl ids, of human or mouse, whichever were learned from; by default all that a block knows,
            in the species of most genes that were learned from.

        Returns
        -------
        A table with a row for each gene: ``gene`` (Ensembl id), ``symbol``, ``label``, ``probability_…`` of each class,
        ``confidence``, the probability of the label; of a number instead ``value`` and ``error``, its standard error on
        held-out genes. ``known`` is the number of blocks that know the gene; where it is 0 the prevalence is told.
        ``given`` is True for genes that were learned from, of which the table repeats what it was told:
        :attr:`held_out_` says what is told of them without.

        Raises
        ------
        ArgumentError, GenesError
            If nothing is fitted, or a name stands for no gene.
        """
        trained, labelled = self._fitted
        if genes is None:
            vocabulary = GeneVocabulary.both(
                sorted({gene for block in trained.readings.blocks for gene in block.source.ids})
            )
            own = [(row, gene) for row, gene, _, species in vocabulary.genes() if species == labelled.species]
            rows = np.array([row for row, _ in own], dtype=np.int64)
            ids = [gene for _, gene in own]
        else:
            named = named_genes(genes, self.unknown)
            vocabulary, rows, ids = named.vocabulary, named.rows, list(named.ids)
        learned = {gene for _, gene, _, _ in labelled.vocabulary.genes()}
        table = pd.DataFrame({"gene": ids, "symbol": [symbol_of(gene) for gene in ids]})
        scores, known = trained.scores(vocabulary, len(self.classes_))
        table = pd.concat([table, self._told(scores[rows])], axis=1)
        table["known"] = known[rows]
        table["given"] = [gene in learned for gene in ids]
        return table

    def check_request(self, genes: Iterable[str]) -> None:
        """Check the genes that :meth:`predict` will be asked for, before :meth:`fit` takes its time.

        Raise GenesError or ArgumentError if they can't be used.
        """
        named_genes(genes, self.unknown, "to")

    @property
    def report_(self) -> pd.DataFrame:
        """See :class:`GeneClassifier`."""
        return self._fitted[0].report

    @property
    def method_(self) -> str:
        """See :class:`GeneClassifier`."""
        return self._fitted[0].way

    @property
    def held_out_(self) -> pd.DataFrame:
        """See :class:`GeneClassifier`."""
        trained, labelled = self._fitted
        vocabulary = labelled.vocabulary
        first = {row: gene for row, gene, _, species in reversed(list(vocabulary.genes())) if species != ""}
        other = labelled.species
        first |= {row: gene for row, gene, _, species in vocabulary.genes() if species == other}
        ids = [first.get(row, vocabulary.ids[row]) for row in range(len(vocabulary))]
        table = pd.DataFrame({"gene": ids, "symbol": [symbol_of(gene) if species_of(gene) else "" for gene in ids]})
        true = labelled.labels if not self.classes_ else np.array(self.classes_, dtype=object)[labelled.labels]
        table["truth"] = true
        return pd.concat([table, self._told(trained.held_out)], axis=1)

    def summary(self) -> str:
        """Return one line that says what was chosen, and what it is worth on held-out genes."""
        trained, labelled = self._fitted
        row = trained.report.loc[trained.way]
        measure = f"AUROC {row['auroc']:.3f}" if self.classes_ else f"R² {row['r2']:.3f}"
        known = trained.report.drop(index=[trained.way]).sort_values("loss")
        other = ""
        if len(known):
            shown = "auroc" if self.classes_ else "r2"
            other = f"; next: {known.index[0]}, {known[shown].iloc[0]:.3f}"
        kind = "whole families" if self.folds == "family" else "random genes"
        what = f"{len(self.classes_)} classes" if self.classes_ else "a number"
        return (
            f"{len(labelled.labels):,} genes, {what}. Chosen: {trained.way}, {measure} on held-out genes "
            f"({kind}){other}."
        )

    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted classifier to a directory, whole or not at all: JSON, safetensors and tables of features.

        Features that do not ship with the package, of models and cells, are saved with it, so it needs neither.

        Parameters
        ----------
        directory
            Target directory, new or empty; made if missing.
        overwrite
            Replace what is saved there; by default that is an error.

        Raises
        ------
        ArgumentError, CheckpointError, DiskError
            If nothing is fitted, something is there, or the directory can't be written to.
        """
        trained, labelled = self._fitted
        parameters = {name: getattr(self, name) for name in ("folds", "unknown", "layer", "counts", "species", "seed")}
        write_classifier(directory, trained, labelled, parameters, self.scale_, overwrite=overwrite)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; it predicts the same.

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged.
        """
        saved = read_classifier(directory)
        classifier = cls(**saved.parameters)
        classifier.trained_, classifier.labelled_ = saved.trained, saved.labelled
        classifier.classes_, classifier.scale_ = saved.labelled.classes, saved.scale
        return classifier

    def __repr__(self) -> str:
        if self.trained_ is None:
            return f"{type(self).__name__}(folds={self.folds!r}, seed={self.seed})"
        return f"{type(self).__name__}: {self.summary()}"

    @property
    def _fitted(self) -> tuple[Trained, LabelledGenes]:
        if self.trained_ is None or self.labelled_ is None:
            raise not_fitted(type(self))
        return self.trained_, self.labelled_

    def _check(self) -> None:
        check_choice("folds", self.folds, FOLDS)
        check_choice("unknown", self.unknown, ("error", "drop"))
        check_choice("progress", self.progress, (True, False))
        check_whole_number("seed", self.seed, least=0, most=2**32 - 1)
        choose_device(self.device)

    def _told(self, scores: NDArray[np.float64]) -> pd.DataFrame:
        """What scores say, in columns."""
        if not self.classes_:
            mean, size = self.scale_
            error = float(np.sqrt(cast("float", self.report_.loc[self.method_, "loss"]))) * size
            return pd.DataFrame({"value": scores[:, 0] * size + mean, "error": error})
        shares = np.exp(scores)
        best = shares.argmax(1)
        columns: dict[str, Any] = {"label": pd.Categorical(np.array(self.classes_)[best], list(self.classes_))}
        columns |= {f"probability_{label}": shares[:, code] for code, label in enumerate(self.classes_)}
        return pd.DataFrame(columns | {"confidence": shares.max(1)})


def _standardised(labelled: LabelledGenes) -> tuple[NDArray[Any], tuple[float, float]]:
    """Labels as they are learned, with the mean and the size of numbers."""
    if labelled.classes:
        return labelled.labels, (0.0, 1.0)
    mean, size = float(labelled.labels.mean()), float(labelled.labels.std())
    return (labelled.labels - mean) / size, (mean, size)
