"""``SamplePredictor``: the class or the value of a patient, or of any sample, from its cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from celloquy import keys
from celloquy.checks import check_choice, check_whole_number
from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import check_column
from celloquy.data.store import opened
from celloquy.models import Model
from celloquy.runtime.hardware import Precision, choose_device
from celloquy.tasks.pretrained import embedded, resolve_model
from celloquy.tasks.properties.choice import ALL, PREVALENCE
from celloquy.tasks.samples.cells import SampleCells, read_samples
from celloquy.tasks.samples.saved import read_predictor, write_predictor
from celloquy.tasks.samples.targets import Targets, read_targets, warn_of_few
from celloquy.tasks.samples.trained import Trained, folds_of, train
from celloquy.tasks.saved import not_fitted

if TYPE_CHECKING:
    from anndata import AnnData

PARAMETERS: Final = (
    "sample_key", "target", "group_key", "label_key", "layer", "counts", "species", "precision", "seed",
)  # fmt: skip
"""Parameters that a saved predictor keeps."""


@dataclass(kw_only=True, eq=False, repr=False)
class SamplePredictor:
    """Predict the class or the value of samples, such as patients, from their cells.

    A sample is read in four ways: by the mean of its cells' embedding, by its composition (shares of states of cells),
    by its pseudobulk (mean log expression), each with a regression with a ridge, and by gated attention over its cells
    (Ilse et al. 2018). Each way is tried on samples that are held out, for which all that is learned, down to states,
    scales and genes, is learned anew without them. All predict together, each with a weight that falls with its loss on
    these samples; the most common class, or the mean, has one, too. :attr:`report_` says how each does. What each cell
    adds to the prediction is its evidence, see :meth:`deciding_cells`.

    Attributes
    ----------
    report_
        A row for each way that was tried on held-out samples: ``loss`` (minus log probability of the class in nats, or
        squared error of the standardised number), ``gain`` over the prevalence and its standard error ``gain_error``,
        ``auroc`` (a mean over classes against the others) or ``r2`` and ``spearman``, and the ``weight``. The last row,
        ``"all"``, is what predicts; there each sample is told by weights that do not rest on it.
    held_out_
        The samples that were learned from, with the truth and what was told of each by readings that did not know it.
    classes_
        Names of the classes; none where the target is a number.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.SamplePredictor(sample_key="patient", target="response").fit(adata)
    >>> print(predictor.summary())
    >>> predictor.save("predictor/")
    >>> predictor = cq.SamplePredictor.load("predictor/")
    >>> predictor.predict(adata)
    >>> predictor.deciding_cells(adata).sort_values("evidence")
    """

    name: ClassVar[str] = "samples"

    sample_key: str
    """Column of ``obs`` with the sample: a patient, an animal, a biopsy."""
    target: str
    """Column of ``obs`` with what is to be told, the same for all cells of a sample: text, categories, True and False
    are classes, numbers are a number. Samples where it is missing are not learned from."""
    group_key: str | None = None
    """Column of ``obs`` with groups that are held out together, such as the patient where a patient has several
    samples. By default each sample is a group."""
    label_key: str | None = None
    """Column of ``obs`` with types or states of cells, whose shares are the composition; by default 16 clusters of the
    embedding."""
    model: Model | str | PathLike[str] = keys.CELLS_MINI
    """Model that embeds the cells, as of :func:`celloquy.embed`; it does not adapt to the cells, so that those that are
    held out have no part in it. A model that reads a tissue reads each sample as one."""
    layer: str | None = None
    """Place of the raw counts, as of :func:`celloquy.embed`."""
    counts: Literal["round"] | None = None
    """``"round"`` rounds estimated counts."""
    species: Literal["auto"] | None = None
    """``"auto"`` maps genes of the other species, where the model knows one species alone."""
    precision: Precision = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"``."""
    device: str = "auto"
    """Where the embedding is computed: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``."""
    seed: int = 0
    """Seed of the folds, of clusters and of the attention's first weights."""
    progress: bool = True
    """Show a progress bar, and then a line that says what was found."""

    model_: Model | None = field(default=None, init=False)
    trained_: Trained | None = field(default=None, init=False)
    targets_: Targets | None = field(default=None, init=False)
    scale_: tuple[float, float] = field(default=(0.0, 1.0), init=False)

    def fit(self, adata: AnnData | str | PathLike[str]) -> Self:
        """Learn from the samples whose target is known.

        Parameters
        ----------
        adata
            Cells × genes with raw counts, or the path of such a file, which is read a run of cells at a time.

        Raises
        ------
        ArgumentError
            If a column is missing, the target varies within a sample, there is one class alone, a class has one
            sample alone, or there are fewer than four samples with a number.
        CountsError, GenesError, CheckpointError
            If there are no raw counts, too few known genes, or the model can't be read.

        Warns
        -----
        FewSamplesWarning
            If there are fewer than five samples of a class, or with a number; it says what can be claimed.
        """
        with opened(adata) as read:
            self._fit(read)
        return self

    def predict(self, adata: AnnData | str | PathLike[str]) -> pd.DataFrame:
        """Tell the class or the value of samples.

        Parameters
        ----------
        adata
            Cells as ``fit`` takes them; the target is not read. What is told of a sample does not depend on the others.

        Returns
        -------
        A table with a row for each sample: ``n_cells`` with counts, ``label``, ``probability_…`` of each class,
        ``confidence``, the probability of the label; of a number instead ``value`` and ``error``, its standard error on
        held-out samples. ``given`` is True for names of samples that were learned from, of which the table repeats what
        it was told: :attr:`held_out_` says what is told of them without.

        Raises
        ------
        ArgumentError, CountsError, GenesError
            If nothing is fitted, a column is missing, or the cells can't be read.
        """
        with opened(adata) as read:
            return self._predicted(self._read(read)[0])

    def deciding_cells(self, adata: AnnData | str | PathLike[str]) -> pd.DataFrame:
        """Tell which cells decide what is told of their sample.

        Parameters
        ----------
        adata
            Cells, as of :meth:`predict`.

        Returns
        -------
        A table with a row for each cell: ``sample``, ``label`` (or ``value``), what is told of it, and ``evidence``,
        what the cell adds to that: the sum over the cells of a sample is by how much the logit of the label, less the
        mean of the other classes, or the number, differs from that of the usual sample.

        Raises
        ------
        ArgumentError, CountsError, GenesError
            As :meth:`predict`.
        """
        with opened(adata) as read:
            return self._deciding(self._read(read)[0], read)

    @property
    def report_(self) -> pd.DataFrame:
        """See :class:`SamplePredictor`."""
        return self._fitted[1].report

    @property
    def classes_(self) -> tuple[str, ...]:
        """See :class:`SamplePredictor`."""
        return self._fitted[2].classes

    @property
    def held_out_(self) -> pd.DataFrame:
        """See :class:`SamplePredictor`."""
        _, trained, targets = self._fitted
        index = pd.Index(np.array(targets.names, dtype=object)[targets.known], name=self.sample_key)
        truth: Any = targets.labels
        if targets.classes:
            truth = _named(targets.labels, targets.classes)
        return pd.concat([pd.DataFrame({"truth": truth}, index=index), self._told(trained.held_out, index)], axis=1)

    def summary(self) -> str:
        """Return one line that says how well held-out samples are told, and by what."""
        _, trained, targets = self._fitted
        measure, shown = ("AUROC", "auroc") if targets.classes else ("R²", "r2")
        worth = {str(way): float(value) for way, value in trained.report[shown].items()}
        found, what = f"{measure} {worth[ALL]:.2f}", "a number"
        if targets.classes:
            sizes = np.bincount(targets.labels)
            what = ", ".join(f"{size} {name}" for name, size in zip(targets.classes, sizes, strict=True))
            accuracy = balanced_accuracy_score(targets.labels, trained.held_out.argmax(1))
            found += f", balanced accuracy {accuracy:.2f}"
        alone = trained.report.drop([PREVALENCE, ALL])
        best = str(alone["loss"].idxmin())
        shares = ", ".join(f"{name} {weight:.0%}" for name, weight in trained.report["weight"].drop(ALL).items())
        return (
            f"{len(targets.labels):,} samples: {what}. Told when held out: {found}; by {best} alone {worth[best]:.2f}. "
            f"Weights: {shares}."
        )

    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted predictor to a directory, whole or not at all: its model, JSON and safetensors.

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
        parameters = {name: getattr(self, name) for name in PARAMETERS}
        write_predictor(directory, *self._fitted, parameters, self.scale_, overwrite=overwrite)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; it predicts the same.

        Raises
        ------
        CheckpointError
            If there is none, or it is damaged.
        """
        saved = read_predictor(directory)
        predictor = cls(**saved.parameters)
        predictor.model_ = predictor.model = saved.model
        predictor.trained_, predictor.targets_, predictor.scale_ = saved.trained, saved.targets, saved.scale
        return predictor

    def __repr__(self) -> str:
        if self.trained_ is None:
            return f"{type(self).__name__}(sample_key={self.sample_key!r}, target={self.target!r})"
        return f"{type(self).__name__}: {self.summary()}"

    @property
    def _fitted(self) -> tuple[Model, Trained, Targets]:
        if self.model_ is None or self.trained_ is None or self.targets_ is None:
            raise not_fitted(type(self))
        return self.model_, self.trained_, self.targets_

    def _check(self) -> None:
        check_choice("progress", self.progress, (True, False))
        check_whole_number("seed", self.seed, least=0, most=2**32 - 1)
        choose_device(self.device)
        for name in ("sample_key", "target"):
            check_column(name, getattr(self, name))

    def _fit(self, adata: AnnData) -> tuple[SampleCells, CellSource]:
        """Learn, and return the cells of all samples, also of those whose target is missing."""
        self._check()
        targets = read_targets(adata, self.sample_key, self.target, self.group_key)
        cells, source = self._read(adata, targets)
        warn_of_few(targets)
        labels, scale = targets.labels, (0.0, 1.0)
        if not targets.classes:
            scale = float(labels.mean()), float(labels.std())
            labels = (labels - scale[0]) / scale[1]
        fold = folds_of(targets.groups, labels, self.seed)
        trained = train(
            cells.only(np.flatnonzero(targets.known)), labels, len(targets.classes), fold, seed=self.seed,
            progress=self.progress,
        )  # fmt: skip
        self.trained_, self.targets_, self.scale_ = trained, targets, scale
        if self.progress:
            print(self.summary())
        return cells, source

    def _read(self, adata: AnnData, learned: Targets | None = None) -> tuple[SampleCells, CellSource]:
        """The cells of samples, embedded by the fitted model, or by one that is centred on those learned from."""
        if learned is None:
            self._fitted  # noqa: B018 -- raises if nothing is fitted
        columns = CellColumns(
            layer=self.layer, counts=self.counts, species=self.species, tissue_key=self.sample_key
        )  # fmt: skip
        source = CellSource(adata, columns)
        model = self._fitted[0] if learned is None else resolve_model(self.model)
        reader = source.over(model.vocabulary)
        if learned is not None:
            # Codes of tissues are those of the samples.
            self.model_ = model = model.centred_on(reader, torch.from_numpy(learned.known[source.tissue]))
        vectors = embedded(model, reader, precision=self.precision, device=self.device, progress=self.progress)
        return read_samples(adata, reader, vectors, self.sample_key, self.label_key), source

    def _predicted(self, cells: SampleCells) -> pd.DataFrame:
        """What is told of samples, as :meth:`predict` returns it."""
        _, trained, targets = self._fitted
        index = pd.Index(np.array(cells.names, dtype=object), name=self.sample_key)
        told = self._told(trained.scores(cells, len(targets.classes)), index)
        told.insert(0, "n_cells", cells.sizes)
        learned = {name for name, known in zip(targets.names, targets.known, strict=True) if known}
        told["given"] = [name in learned for name in cells.names]
        return told

    def _deciding(self, cells: SampleCells, adata: AnnData) -> pd.DataFrame:
        """What each cell adds, as :meth:`deciding_cells` returns it."""
        _, trained, targets = self._fitted
        many = len(targets.classes)
        scores, each = trained.scores(cells, many), trained.evidence(cells, many)
        index = pd.Index(np.array(cells.names, dtype=object))
        told, size = self._told(scores, index)["label" if many else "value"], self.scale_[1]
        if many:
            # Against the mean of the other classes, not of all.
            each, size = each[np.arange(len(each)), scores.argmax(1)[cells.sample]][:, None], many / (many - 1)
        evidence = np.where(cells.sample >= 0, each[:, 0] * size, 0.0)
        sample = adata.obs[self.sample_key].astype(str)
        own = told.iloc[index.get_indexer(sample)].array
        return pd.DataFrame({"sample": sample, told.name: own, "evidence": evidence}, index=adata.obs_names)

    def _told(self, scores: NDArray[np.float64], index: pd.Index[Any]) -> pd.DataFrame:
        """What scores say, in columns."""
        classes = self.classes_
        if not classes:
            mean, size = self.scale_
            error = float(np.sqrt(self.report_["loss"].to_dict()[ALL])) * size
            return pd.DataFrame({"value": scores[:, 0] * size + mean, "error": error}, index=index)
        shares = np.exp(scores)
        columns: dict[str, Any] = {"label": _named(shares.argmax(1), classes)}
        columns |= {f"probability_{label}": shares[:, code] for code, label in enumerate(classes)}
        return pd.DataFrame(columns | {"confidence": shares.max(1)}, index=index)


def _named(codes: NDArray[np.int64], classes: tuple[str, ...]) -> pd.Categorical[Any]:
    """Codes of classes as categories, in the order of the classes."""
    return pd.Categorical(np.array(classes, dtype=object)[codes], categories=list(classes))
