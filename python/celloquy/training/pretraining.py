"""Pretrain a model on counts in one call."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from celloquy.data import CellColumns
from celloquy.models import Model, ModelConfig
from celloquy.models.base import find_family, resolve_config
from celloquy.models.checkpoint import check_target
from celloquy.runtime.hardware import Precision
from celloquy.training.corpus import Corpus, as_inputs, read_corpus
from celloquy.training.loop import EpochRecord, Schedule
from celloquy.training.masked_counts import MaskedCells, MaskedCounts
from celloquy.training.options import TrainingOptions, choose_options
from celloquy.training.trainer import Trainer
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.genes import GeneVocabulary

HISTORY = "history.csv"

SAVE_EVERY = 30.0
"""Least number of seconds between two savings of the best weights during the training."""


def pretrain(
    adatas: AnnData | str | PathLike[str] | Sequence[AnnData | str | PathLike[str]],
    *,
    config: ModelConfig | str = "mini",
    out: str | PathLike[str] | None = None,
    vocabulary: GeneVocabulary | None = None,
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
) -> Model:
    """Pretrain a model, which learns to fill in masked counts.

    The same call with the same seed gives the same model, bit for bit, on one machine with the same number of threads.

    Parameters
    ----------
    adatas
        One or several objects of raw counts, cells × genes, in memory or as the path of an h5ad file. Several objects
        may have different genes measured; each is then a batch of its own.
    config
        Size of the model, ``"mini"``, ``"small"`` or ``"base"``, or a configuration. The batches of the cells set its
        covariates.
    out
        Target directory of the model with the best validation loss and of ``history.csv``, written during the training.
    vocabulary
        Genes of the model; by default the known genes that are expressed in the inputs.
    layer, tissue_key, spatial_key, batch_key, species
        Reading options, see :class:`celloquy.data.CellColumns`.
    epochs
        Number of passes over the cells; the default depends on the number of cells, with more passes for fewer cells.
    training
        Further choices, see :class:`celloquy.TrainingOptions`; ``epochs`` replaces its own.
    precision
        Precision of the matrix products: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which takes bfloat16 if the
        hardware has it and the model is wide.
    device
        Device: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``, which takes a GPU if there is one.
    seed
        Seed of all draws. The state of torch's own generator is unchanged.
    progress
        Show a progress bar.

    Returns
    -------
    The model, in evaluation mode and on the CPU; ``model.history`` is a DataFrame with a row for every epoch.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If an input holds no raw counts or no known genes, the species differ, or an argument is unfit.

    Notes
    -----
    An interrupt (Ctrl-C) leaves the best model so far in ``out``.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.pretrain(adata, out="model/")
    >>> cq.embed(adata, model=model)
    """
    start = time.perf_counter()
    columns = CellColumns(
        layer=layer, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key, species=species
    )
    trainer = Trainer(
        options=choose_options(training, epochs), precision=precision, device=device, seed=seed, progress=progress
    )
    options, shape = trainer.options, resolve_config(config)
    family = find_family(shape.family)
    family.require(("decode",), "pretraining")
    _, exact = trainer.hardware(shape.width)
    folder = None if out is None else check_target(out)
    corpus = read_corpus(as_inputs(adatas), columns, vocabulary)
    size = options.cells_a_step(len(corpus.cells))
    schedule = options.schedule(len(corpus.cells), shape.width)
    with trainer.seeded():
        model = family.initialise(shape, corpus.vocabulary, corpus.cells, batches=len(corpus.batches), seed=seed)
        data = MaskedCells(corpus.cells, model, batch_size=size, held_out=options.validation, seed=seed)
        keeper = _Keeper(model, folder, _provenance(corpus, schedule, size, exact, seed))
        try:
            trainer.run(MaskedCounts(model, exact), data, schedule, keeper.on_epoch)
        finally:
            keeper.finish(time.perf_counter() - start)
    return model


class _Keeper:
    """Keeps the best weights and the history of a training, in a folder if one is given."""

    def __init__(self, model: Model, folder: Path | None, provenance: dict[str, str]) -> None:
        self.model, self.folder, self.provenance = model, folder, provenance
        self.records: list[EpochRecord] = []
        self.saved = -math.inf

    def on_epoch(self, records: list[EpochRecord], better: bool) -> None:
        self.records = records
        if self.folder is None:
            return
        if better and time.monotonic() - self.saved > SAVE_EVERY:
            self._save()
        self._write_history()

    def finish(self, seconds: float) -> None:
        """Keep the history, and save the model, which has the weights of the best epoch by now."""
        self.model.history = pd.DataFrame(self.records)
        if not self.records:
            return
        self.provenance["seconds"] = f"{seconds:.0f}"
        self._save()
        self._write_history()

    def _save(self) -> None:
        score = "validation" if "validation" in self.records[-1] else "epoch"
        best = (min if score == "validation" else max)(self.records, key=lambda record: record[score])
        self.provenance |= {"epoch": f"{best['epoch']:.0f} of {len(self.records)}"}
        shown = {"loss": "training loss", "validation": "validation loss"}
        self.provenance |= {shown[name]: f"{best[name]:.4f}" for name in shown if name in best}
        self.model.provenance = dict(self.provenance)
        if self.folder is not None:
            self.model.save(self.folder)
            self.saved = time.monotonic()

    def _write_history(self) -> None:
        if self.folder is not None:
            pd.DataFrame(self.records).to_csv(self.folder / HISTORY, index=False)


def _provenance(corpus: Corpus, schedule: Schedule, batch_size: int, precision: str, seed: int) -> dict[str, str]:
    described = {
        "celloquy": VERSION,
        "cells": f"{len(corpus.cells):,}",
        "counts": "; ".join(corpus.counts),
        "batch size": str(batch_size),
        "learning rate": f"{schedule.learning_rate:g}",
        "precision": precision,
        "seed": str(seed),
    }
    # The decoder has numbers for the batches; these are their names.
    return described | ({"batches": json.dumps(corpus.batches)} if corpus.batches else {})
