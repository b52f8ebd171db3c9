"""``Task``: what every task shares: a model made or fine-tuned, cells read over its genes, a saved form."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import MISSING, asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from celloquy.checks import check_choice, check_path
from celloquy.data import CellBatch, CellColumns, CellReader, CellSource
from celloquy.errors import ArgumentError, CheckpointError
from celloquy.genes import GeneVocabulary
from celloquy.models import Model, ModelConfig
from celloquy.models.base import find_family
from celloquy.models.checkpoint import check_files, save_files
from celloquy.models.directory import kept_elsewhere
from celloquy.models.encoding import EmbeddingOptions
from celloquy.models.presets import resolve_config
from celloquy.runtime.hardware import Precision
from celloquy.runtime.memory import memory_budget
from celloquy.tasks.pretrained import refuse_unread, resolve_model
from celloquy.tasks.results import check_result, provenance
from celloquy.tasks.saved import SHARED, TASK, TENSORS, not_fitted
from celloquy.training.corpus import find_vocabulary
from celloquy.training.loop import EpochRecord
from celloquy.training.masked_counts import MaskedCells, MaskedCounts
from celloquy.training.options import TASKS, Pace, TrainingOptions, choose_options
from celloquy.training.trainer import Trainer
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData


NOT_SAVED = ("model", "freeze_encoder", "config", "training", "device", "progress")
"""Parameters that ``task.json`` does not list as such: saved apart, or the affair of the machine."""


@dataclass(kw_only=True, eq=False, repr=False)
class Task(ABC):
    """A task with its parameters, and what :meth:`fit` found out.

    The constructor only stores. A task adds ``fit`` and ``predict``: ``fit`` begins with :meth:`_prepare`, both read
    with :meth:`_source` over one vocabulary, ``fit`` starts a model with :meth:`_start` and trains it with
    :attr:`trainer`, ``predict`` ends in :func:`celloquy.tasks.results.deliver`, and :meth:`_state` and
    :meth:`_restore` say what is saved beside the model.

    Attributes
    ----------
    model_
        The fitted model, a :class:`celloquy.Model`.
    history_
        Course of the training, a DataFrame with one row an epoch.

    Examples
    --------
    >>> import celloquy as cq
    >>> task = cq.Integrator(batch_key="donor").fit(adata)
    >>> task.history_["epoch"].tolist()
    [1, 2]
    >>> task.save("task/")
    >>> cq.Integrator.load("task/").predict(adata)
    """

    name: ClassVar[str]
    """Name of the task, as provenance and the saved form have it."""
    requires: ClassVar[tuple[str, ...]] = ("embed",)
    """Abilities that a model needs for the task, see :attr:`celloquy.Model.abilities`."""
    usual_training: ClassVar[TrainingOptions] = TrainingOptions()
    """Training options where the user gives none."""

    model: Model | str | PathLike[str] | None = None
    """Pretrained model to fine-tune, its directory or its name on the hub; by default one is trained on the cells."""
    freeze_encoder: bool = False
    """Leave the embedding of the pretrained model as it is, and train only what reads it."""
    config: ModelConfig | str = "mini"
    """``"mini"``, ``"small"``, ``"base"``, or a configuration, of a model that is trained from scratch."""
    layer: str | None = None
    """Place of the raw counts: a layer, ``"X"`` or ``"raw"``. By default the first of ``layers["counts"]``, ``X`` and
    ``raw`` that holds counts."""
    counts: Literal["round"] | None = None
    """``"round"`` rounds estimated or corrected counts, as RSEM, kallisto, SoupX and decontX leave them. By default
    values that are not whole are an error."""
    tissue_key: str | None = None
    """Column of ``obs`` with the tissue: cells of one tissue (a sample, a slice) are read together. By default all
    cells of an object are one tissue."""
    spatial_key: str | None = None
    """Key of ``obsm`` with positions, ``(cells, 2)`` in any unit. By default no cell has a position."""
    batch_key: str | None = None
    """Column of ``obs`` with the experimental batch. A model's decoder is told the batch, so that the embedding need
    not hold it. By default there are no batches."""
    species: Literal["auto"] | None = None
    """``"auto"`` maps genes of the other species through one-to-one orthologs, with a warning. By default genes of
    another species are an error. A model of both species reads either without it."""
    epochs: int | None = None
    """Passes over the cells; by default by their number, more for few."""
    training: TrainingOptions | None = None
    """Further choices of the training; ``epochs`` replaces its own."""
    precision: Precision = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide."""
    device: str = "auto"
    """``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one."""
    seed: int = 0
    """Seed of all draws: the same seed gives the same result, bit for bit, on one machine with as many threads."""
    progress: bool = True
    """Show a progress bar."""

    model_: Model | None = field(default=None, init=False)
    place_: Path | None = field(default=None, init=False)
    history_: pd.DataFrame = field(default_factory=pd.DataFrame, init=False)
    selected_: bool = field(default=False, init=False)
    shared_: Tensor | None = field(default=None, init=False)

    @property
    def columns(self) -> CellColumns:
        """How objects are read."""
        return CellColumns(**{one.name: getattr(self, one.name) for one in fields(CellColumns)})

    @property
    def trainer(self) -> Trainer:
        """How the task trains and computes."""
        options = choose_options(self.training, self.epochs, self.usual_training)
        return Trainer(
            options=options, precision=self.precision, device=self.device, seed=self.seed, progress=self.progress
        )

    def __repr__(self) -> str:
        given = [f"{one.name}={_short(getattr(self, one.name))}" for one in fields(self) if self._differs(one)]
        return f"{type(self).__name__}({', '.join(given)})"

    def _differs(self, one: Any) -> bool:
        """True if a parameter is not at its default."""
        if not one.init:
            return False
        value = getattr(self, one.name)
        return one.default is MISSING or type(value) is not type(one.default) or bool(value != one.default)

    def _check(self) -> None:
        """Check the parameters of the task; to be extended by one that has more."""
        check_choice("freeze_encoder", self.freeze_encoder, (True, False))
        if self.freeze_encoder and self.model is None:
            raise ArgumentError(
                "There is no model to leave as it is.",
                found="freeze_encoder=True, model=None",
                expected="a pretrained model",
                remedy="pass `model`, or leave `freeze_encoder` out.",
                argument="freeze_encoder",
            )
        self._refuse_with_model("config")

    def _refuse_with_model(self, name: str) -> None:
        """Refuse a parameter of a model that is trained from scratch, if it is changed and there is a model."""
        if self.model is not None and any(one.name == name and self._differs(one) for one in fields(self)):
            raise ArgumentError(
                f"`{name}` has no use with a pretrained model.",
                found=f"{name}={_short(getattr(self, name))}, and a model",
                expected="one of the two",
                remedy=f"leave `{name}` out, or `model`.",
                argument=name,
            )

    def _prepare(self) -> None:
        """Check all parameters and read the pretrained model: the first thing that ``fit`` does.

        Raises
        ------
        ArgumentError, CheckpointError, ModelError
            If a parameter can't be used, or the model can't be read or can't do what the task needs.
        """
        self._check()
        self.place_ = None
        config, _, trainer = resolve_config(self.config), self.columns, self.trainer
        trainer.hardware(config.width)
        self._pretrained = None if self.model is None else resolve_model(self.model)
        if self._pretrained is not None:
            # What is usual, such as the positions of an imputation, is no demand.
            asked = {one.name: getattr(self, one.name) if self._differs(one) else None for one in fields(self)}
            refuse_unread(self._pretrained, spatial_key=asked["spatial_key"], tissue_key=asked["tissue_key"])
        family = find_family(config.family) if self._pretrained is None else type(self._pretrained)
        family.require(self.requires, f"the task {self.name!r}")
        self._config = config

    def check_request(self, adata: AnnData, reference: AnnData | None = None, **asked: Any) -> None:
        """Check what :meth:`predict` will be asked for, as far as it can be known before :meth:`fit` takes its time.

        Raise ArgumentError if an argument of ``predict``, among those ``asked``, can't be used.
        """
        if asked.get("key_added") is not None:
            check_result(adata, asked["key_added"], copy=asked.get("copy", False))

    def kept(self) -> AbstractContextManager[None]:
        """Return a context that keeps the fitted task if what is done with it fails, and lets the error say where."""
        return kept_elsewhere(f"The fitted {type(self).__name__}", self.save, place=self.place_)

    def _source(self, adata: AnnData, *, batches: Sequence[str] | None = None, name: str = "adata") -> CellSource:
        """The cells of an object, read as the parameters say; a batch that is not known is -1."""
        return CellSource(adata, self.columns, batches=batches, name=name)

    def _over(self, source: CellSource, vocabulary: GeneVocabulary) -> CellReader:
        """The cells over a vocabulary; where the task has selected some genes of many, ``selected_`` says so.

        ``shared_`` ``(genes,)`` bool are the genes of a pretrained model that were measured in all that the task was
        fitted on: to the task no cell measures others.
        """
        cells = source.over(vocabulary, selected=self.selected_)
        return cells if self.shared_ is None else cells.within(self.shared_)

    def _vocabulary(self, source: CellSource) -> GeneVocabulary:
        """The pretrained model's genes, or those that the cells express."""
        return find_vocabulary([source]) if self._pretrained is None else self._pretrained.vocabulary

    def _start(
        self, vocabulary: GeneVocabulary, cells: CellBatch, batches: int = 0, *, seen: CellBatch | None = None,
        seed: int | None = None,
    ) -> Model:  # fmt: skip
        """A new model, or a copy of the pretrained one; to be called within ``trainer.seeded()``."""
        if self._pretrained is not None:
            return self._pretrained.with_batches(batches)
        family = find_family(self._config.family)
        seed = self.seed if seed is None else seed
        return family.initialise(self._config, vocabulary, cells, batches=batches, seed=seed, seen=seen)

    def _learning_rate_factors(self) -> dict[str, float]:
        """Factors of the learning rate, for an objective that holds the model as ``model``."""
        if self._pretrained is None:
            return {}
        factors = self._pretrained.learning_rate_factors(freeze=self.freeze_encoder)
        return {f"model.{start}": factor for start, factor in factors.items()}

    def _fit_counts(self, model: Model, cells: CellBatch, *, batch_mixing: float = 0.0, pace: Pace = TASKS) -> None:
        """Train a model to fill in masked counts, see :class:`MaskedCounts`; sets ``model_`` and ``history_``."""
        model.require(("decode", "fill in"), f"the task {self.name!r}")
        trainer, options = self.trainer, self.trainer.options
        _, precision = trainer.hardware(model.config.width)
        data = MaskedCells(
            cells, model, batch_size=options.cells_a_step(len(cells), pace), held_out=options.validation,
            seed=self.seed, cells_per_sentence=options.cells_per_sentence, parts=options.parts or 1,
        )  # fmt: skip
        schedule = options.schedule(len(cells), model.config.width, self._learning_rate_factors(), pace=pace)
        self._fitted(model, trainer.run(MaskedCounts(model, precision, batch_mixing=batch_mixing), data, schedule))

    def _fitted(self, model: Model, records: list[EpochRecord]) -> None:
        model.requires_grad_(True)
        self.model_, self.history_ = model, pd.DataFrame(records)

    def _embed(self, cells: CellReader, model: Model | None = None) -> np.ndarray:
        """The embedding ``(cells, width)`` float32, each cell read with its tissue, in bounded memory."""
        model = model or self._trained
        device, precision = self.trainer.hardware(model.config.width)
        memory = memory_budget(None, device)
        with ExitStack() as stack:
            folder = None
            if model.bytes_to_embed(len(cells), precision) > memory // 2:
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="celloquy-")))
            options = EmbeddingOptions(
                memory=memory, precision=precision, device=device, folder=folder, progress=self.progress
            )
            try:
                return np.array(model.embed(cells, options).vectors.open())
            finally:
                model.cpu()

    @property
    def _trained(self) -> Model:
        if self.model_ is None:
            raise not_fitted(type(self))
        return self.model_

    def _record(self, cells: CellReader, began: float) -> dict[str, Any]:
        """How a result was made, in the types that an h5ad file holds."""
        parameters = {
            key: value if isinstance(value, bool | int | float | str) else "" if value is None else str(value)
            for key, value in self._parameters().items()
        }
        options = "" if self.training is None else json.dumps(asdict(self.training))
        parameters |= {"freeze_encoder": self.freeze_encoder, "training": options}
        return provenance(self.name, self._trained.fingerprint, cells.source, cells.report, parameters, began)

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Fitted values beside the model, as JSON and as tensors."""

    @abstractmethod
    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`_state` returned."""

    def save(self, directory: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted task to a directory, whole or not at all: JSON and safetensors.

        The directory is that of a saved model, too: ``Model.from_pretrained(directory)`` reads its model.

        Parameters
        ----------
        directory
            Target directory, new or empty; made if missing.
        overwrite
            Replace a saved model or task that is there; by default that is an error.

        Raises
        ------
        ArgumentError, CheckpointError, DiskError
            If nothing is fitted, something is there, or the directory can't be written to.
        """
        model = self._trained
        values, tensors = self._state()
        if self.shared_ is not None:
            tensors = tensors | {SHARED: self.shared_}
        described = {
            "task": self.name,
            "version": VERSION,
            "parameters": self._parameters(),
            "training": None if self.training is None else asdict(self.training),
            "selected": self.selected_,
            "fitted": values,
            "history": self.history_.to_dict("list"),
        }

        def write(folder: Path) -> None:
            model.write(folder)
            (folder / TASK).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS)

        save_files(directory, write, overwrite=overwrite)
        self.place_ = Path(directory)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; it predicts the same, on the device of this machine.

        Raises
        ------
        CheckpointError
            If there is no such task, it is damaged, or its files are not those that were saved together.
        """
        source = check_path("directory", directory, "the path of a directory")
        model = Model.from_pretrained(source)
        if (source / TASK).is_file():
            check_files(source, (TASK, TENSORS))
        try:
            described = json.loads((source / TASK).read_text(encoding="utf-8"))
            tensors = load_file(source / TENSORS)
            kind = str(described["task"])
            if kind == cls.name:
                training = None if described["training"] is None else TrainingOptions(**described["training"])
                task = cls(**described["parameters"], config=model.config, training=training)
                task.model_, task.place_, task.selected_ = model, source, bool(described["selected"])
                task.history_ = pd.DataFrame(described["history"])
                task.shared_ = tensors.pop(SHARED, None)
                # A module draws its weights when it is made, before it gets those of the file.
                with torch.random.fork_rng(devices=[]):
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
        """The parameters as JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init and one.name not in NOT_SAVED}


def _short(value: object) -> str:
    """A value in one line: models and configurations by their class."""
    return f"<{type(value).__name__}>" if isinstance(value, Model | ModelConfig) else repr(value)
