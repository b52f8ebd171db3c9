"""What every task shares: a model made or fine-tuned, cells read over its genes, results handed back, a saved form."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import celloquy
from celloquy import keys
from celloquy.data import CellBatch, Cells
from celloquy.errors import ArgumentError, CheckpointError
from celloquy.genes import AlignmentReport, GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.checkpoint import load_model, replace_directory, write_model
from celloquy.tasks.encoding import Encoding, vectors_fit
from celloquy.tasks.memory import memory_budget
from celloquy.training.fitting import STEPS, USUAL, Fitting
from celloquy.training.loop import Record
from celloquy.training.objective import MaskedCells, MaskedCounts
from celloquy.training.sources import Source, find_vocabulary
from celloquy.training.start import adapt_model, start_model

if TYPE_CHECKING:
    from anndata import AnnData

TASK, TENSORS = "task.json", "task.safetensors"

EMBEDDER_RATE = 0.1
"""Factor of the learning rate of a pretrained model's gene vectors: what they know took many cells to learn."""

READS = ("embedder", "position", "encoder", "norm", "latent")
"""Parts of a model that make the embedding; the decoder is not among them."""


@dataclass(kw_only=True)
class Task(ABC):
    """A task with its parameters, and what :meth:`fit` found out.

    A task adds ``fit`` and ``predict``: both read with :meth:`_cells` over one vocabulary, ``fit`` starts with
    :meth:`_start` and trains with ``fitting.run``, ``predict`` ends in :func:`deliver`, and :meth:`_state` and
    :meth:`_restore` say what is saved beside the model.

    What is fitted ends in an underscore: ``model_`` (:class:`celloquy.CellModel`), ``history_`` (DataFrame, a row an
    epoch), and what the task adds.
    """

    name: ClassVar[str]
    """As ``uns["celloquy"]`` and the saved form call the task."""

    model: CellModel | str | PathLike[str] | None = None
    """A pretrained model, or its directory, to be fine-tuned; by default one is trained on the given cells alone."""
    frozen: bool = False
    """Leave the embedding of the pretrained model as it is, and train only what reads it."""
    config: CellModelConfig | str = "mini"
    """``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch."""
    layer: str | None = None
    """Where the raw counts are (a layer, ``"X"`` or ``"raw"``), if not in the first of these that holds counts."""
    tissue_key: str | None = None
    """Column of ``obs`` that tells which cells are read together (a sample, a slice); by default all of an object."""
    spatial_key: str | None = None
    """Key of ``obsm`` with positions, ``(cells, 2)`` in any unit; by default the model is told no place."""
    batch_key: str | None = None
    """Column of ``obs`` with the experimental batch, which the decoder is told, so that the embedding need not be."""
    species: Literal["auto"] | None = None
    """``"auto"`` maps genes of the other species through one-to-one orthologs, with a warning; by default an error."""
    fitting: Fitting = USUAL
    """How to train, see :class:`celloquy.Fitting`."""

    def __post_init__(self) -> None:
        self.config = CellModelConfig.of(self.config)
        if self.species not in (None, "auto"):
            raise ArgumentError(
                "`species` can't be used.", found=repr(self.species), expected="'auto' or None", remedy="pass one."
            )
        if isinstance(self.model, str | PathLike):
            self.model = CellModel.from_pretrained(self.model)
        if self.frozen and self.model is None:
            raise ArgumentError(
                "There is no model to leave as it is.",
                found="frozen=True, model=None",
                expected="a pretrained model",
                remedy="pass `model`, or leave `frozen` out.",
            )
        self.model_: CellModel | None = None
        self.selected_ = False
        self.history_ = pd.DataFrame()

    def _vocabulary(self, *adatas: AnnData) -> GeneVocabulary:
        """The pretrained model's genes, or those that the objects express."""
        if isinstance(self.model, CellModel):
            return self.model.vocabulary
        sources = [Source(f"input {number}", adata) for number, adata in enumerate(adatas, start=1)]
        return find_vocabulary(sources, self.layer, self.species)

    def _cells(self, adata: AnnData, vocabulary: GeneVocabulary, *, batches: Sequence[str] | None = None) -> Cells:
        """The cells of an object over a vocabulary, read as the parameters say; a batch that is not known is -1.

        Where the task has chosen some genes of many, ``selected_`` says so.
        """
        return Cells(
            adata, vocabulary, layer=self.layer, tissue_key=self.tissue_key, spatial_key=self.spatial_key,
            batch_key=self.batch_key, batches=batches, species=self.species, selected=self.selected_,
        )  # fmt: skip

    def _start(self, vocabulary: GeneVocabulary, cells: CellBatch, batches: int = 0) -> CellModel:
        """A new model, or a copy of the pretrained one; to be called within ``fitting.drawing()``."""
        if isinstance(self.model, CellModel):
            return adapt_model(self.model, batches=batches)
        assert isinstance(self.config, CellModelConfig)
        return start_model(self.config, vocabulary, cells, batches=batches, seed=self.fitting.seed)

    def _slower(self) -> dict[str, float]:
        """Factors of the learning rate, for an objective that holds the model as ``model``."""
        if self.model is None:
            return {}
        return dict.fromkeys((f"model.{part}." for part in READS), 0.0) if self.frozen else {
            "model.embedder.gene": EMBEDDER_RATE
        }  # fmt: skip

    def _fit_counts(self, model: CellModel, cells: CellBatch, *, mixing: float = 0.0, steps: int = STEPS) -> None:
        """Train a model to fill in masked counts, see :class:`MaskedCounts`; sets ``model_`` and ``history_``.

        ``steps`` is about how many optimisation steps are taken where no epochs are asked for.
        """
        fitting = self.fitting
        _, precision = fitting.hardware(model.config.width)
        examples = MaskedCells(
            cells, model, batch_size=fitting.cells_a_step(len(cells)), held_out=fitting.validation, seed=fitting.seed
        )
        training = fitting.training(len(cells), model.config.width, self._slower(), steps=steps)
        self._fitted(model, fitting.run(MaskedCounts(model, precision, mixing=mixing), examples, training))

    def _fitted(self, model: CellModel, records: list[Record]) -> None:
        model.requires_grad_(True)
        self.model_, self.history_ = model, pd.DataFrame(records)

    def _embed(self, cells: Cells, model: CellModel | None = None) -> np.ndarray:
        """The embedding ``(cells, latent)`` float32, each cell read with its tissue, in bounded memory."""
        model = model or self._trained
        device, precision = self.fitting.hardware(model.config.width)
        memory = memory_budget(None, device)
        with ExitStack() as stack:
            folder = None
            if not vectors_fit(model, len(cells), memory, precision):
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="celloquy-")))
            encoding = Encoding(
                model, cells, batch_size=None, memory=memory, precision=precision, device=device, folder=folder,
                identity={},
            )  # fmt: skip
            try:
                encoding.run(progress=self.fitting.progress)
            finally:
                model.cpu()
            return np.array(encoding.latent.open())

    @property
    def _trained(self) -> CellModel:
        if self.model_ is None:
            raise ArgumentError(
                f"This {type(self).__name__} has not been fitted.",
                remedy=f"call fit() first, or {type(self).__name__}.load(directory).",
            )
        return self.model_

    def _provenance(self, cells: Cells, began: float) -> dict[str, Any]:
        """How a result was made, in the types that an h5ad file holds."""
        parameters = {
            key: value if isinstance(value, bool | int | float | str) else "" if value is None else str(value)
            for key, value in self._parameters().items()
        }
        return provenance(self.name, self._trained.fingerprint, cells.source, cells.report, parameters, began)

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What was fitted beside the model, as JSON and as tensors."""

    @abstractmethod
    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`_state` returned."""

    def save(self, directory: str | PathLike[str]) -> None:
        """Write the fitted task to a directory, whole or not at all: JSON and safetensors.

        The directory is that of a saved model, too: ``CellModel.from_pretrained(directory)`` reads its model.

        Raises
        ------
        ArgumentError, CheckpointError
            If nothing is fitted, or something else than a saved model is there.
        """
        model = self._trained
        values, tensors = self._state()
        described = {
            "task": self.name,
            "version": celloquy.__version__,
            "parameters": self._parameters(),
            "fitting": asdict(self.fitting),
            "selected": self.selected_,
            "fitted": values,
            "history": self.history_.to_dict("list"),
        }

        def write(folder: Path) -> None:
            write_model(model, folder)
            (folder / TASK).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS)

        replace_directory(directory, write)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; it predicts the same.

        Raises
        ------
        CheckpointError
            If there is no such task, or it is damaged.
        """
        source = Path(directory)
        model = load_model(CellModel, source)
        try:
            described = json.loads((source / TASK).read_text(encoding="utf-8"))
            tensors = load_file(source / TENSORS)
            kind = str(described["task"])
            if kind == cls.name:
                task = cls(**described["parameters"], config=model.config, fitting=Fitting(**described["fitting"]))
                task.model_, task.selected_ = model, bool(described["selected"])
                task.history_ = pd.DataFrame(described["history"])
                task._restore(described["fitted"], tensors)
                return task
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"There is no {cls.__name__} in {str(source)!r}.",
                found=str(error).splitlines()[0],
                expected=f"a directory that {cls.__name__}.save() wrote",
                remedy="check the path, or fit and save it again.",
            ) from error
        raise CheckpointError(
            f"There is no {cls.__name__} in {str(source)!r}.",
            found=f"one for the task {kind!r}",
            expected=f"one for the task {cls.name!r}",
            remedy="load it with the class that saved it.",
        )

    def _parameters(self) -> dict[str, Any]:
        """The parameters as JSON; model, shape and training are saved apart."""
        apart = ("model", "frozen", "config", "fitting")
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in apart}


def provenance(
    task: str, model: str, counts: str, report: AlignmentReport, parameters: Mapping[str, Any], began: float
) -> dict[str, Any]:
    """Return how a result was made, in the types that an h5ad file holds.

    Parameters
    ----------
    task
        What was done.
    model
        Fingerprint of the model.
    counts
        Where the counts were found.
    report
        What became of the genes.
    parameters
        Of the call: text, numbers and truth values.
    began
        ``time.perf_counter()`` when the call began.
    """
    genes = {
        "names": report.names,
        "matched": report.matched,
        "share": report.share,
        "weighed_by": report.weighed_by,
        "species": report.species,
        "rules": dict(report.rules),
        "summed": np.array([" + ".join(duplicate.names) for duplicate in report.duplicates], dtype=str),
        "yielded": np.array(report.yielded, dtype=str),
        "ambiguous": np.array(list(report.ambiguous), dtype=str),
        "unknown": np.array(report.unknown, dtype=str),
        "elsewhere": np.array(report.elsewhere, dtype=str),
    }
    return {
        "version": celloquy.__version__,
        "task": task,
        "model": model,
        "counts": counts,
        "genes": genes,
        "parameters": dict(parameters),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began, 3),
    }


def deliver(
    adata: AnnData,
    *,
    uns: dict[str, Any],
    obs: Mapping[str, Any] | None = None,
    obsm: Mapping[str, Any] | None = None,
    layers: Mapping[str, Any] | None = None,
    copy: bool,
) -> AnnData | None:
    """Write results to an object, or to a copy that is returned; to be called when nothing can fail any more."""
    result = adata.copy() if copy else adata
    for target, values in ((result.obs, obs), (result.obsm, obsm), (result.layers, layers)):
        for key, value in (values or {}).items():
            target[key] = value
    result.uns[keys.PROVENANCE] = uns
    return result if copy else None


def concatenate(parts: Sequence[CellBatch]) -> CellBatch:
    """Return the cells of several objects as one, each with tissues of its own."""
    tissues, shifted = 0, []
    for part in parts:
        shifted.append(replace(part, tissue=part.tissue + tissues))
        tissues += int(part.tissue.max()) + 1 if len(part) else 0
    return CellBatch.concatenate(shifted)
