"""Pretrain a cell model on the user's cells: from counts to a model in one call."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

import celloquy
from celloquy.errors import ArgumentError
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.compute import Precision
from celloquy.training.fitting import Fitting
from celloquy.training.loop import Record, Training
from celloquy.training.objective import MaskedCells, MaskedCounts
from celloquy.training.sources import Corpus, as_sources, find_vocabulary, read_corpus
from celloquy.training.start import start_model

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.genes import GeneVocabulary

HISTORY = "history.csv"

SAVE_EVERY = 30.0
"""Seconds between two savings of the best weights while training goes on."""


def pretrain(
    adatas: AnnData | str | PathLike[str] | Sequence[AnnData | str | PathLike[str]],
    *,
    config: CellModelConfig | str = "mini",
    out: str | PathLike[str] | None = None,
    vocabulary: GeneVocabulary | None = None,
    layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_key: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 0.01,
    validation: float = 0.1,
    patience: int | None = 30,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> CellModel:
    """Pretrain a cell model: it learns to fill in counts that are masked.

    The same call with the same seed gives the same model, bit for bit, on one machine.

    Parameters
    ----------
    adatas
        Cells × genes with raw counts, in memory or as the path of an h5ad file; one or several. Several may have
        measured different genes; each is then a batch of its own.
    config
        ``"mini"``, ``"small"``, ``"base"``, or a configuration. Its covariates are set by what the cells have.
    out
        Directory for the model with the best validation and for ``history.csv``; written while training goes on.
    vocabulary
        The genes that the model shall know; by default the known genes that are expressed in the inputs.
    layer
        Where the raw counts are (a layer, ``"X"`` or ``"raw"``), if not in the first of these that holds counts.
    tissue_key
        Column of ``obs`` that tells which cells are read together (a sample, a slice); by default all of an input.
    spatial_key
        Key of ``obsm`` with positions, ``(cells, 2)`` in any unit; by default the model is not told where a cell lies.
    batch_key
        Column of ``obs`` with the experimental batch, which the decoder is told, so that the embedding need not be.
    epochs
        Passes over the cells; by default by their number, more for few.
    batch_size
        Cells of an optimisation step. A larger tissue is cut into sentences anew in every epoch.
    learning_rate
        The highest learning rate; by default 5e-4 for ``"mini"`` and less for wider models: 1.8e-4 for ``"base"``.
    weight_decay
        Weight decay of AdamW on weight matrices.
    validation
        Share of the cells that are not trained on, but tell which epoch is the best; 0 takes the last.
    patience
        Epochs without a better validation after which training ends; None never ends it.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one.
    seed
        Of everything that is drawn at random. The state of torch's own generator stays as it is.
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
    began = time.perf_counter()
    fitting = Fitting(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, weight_decay=weight_decay,
        validation=validation, patience=patience, precision=precision, device=device, seed=seed, progress=progress,
    )  # fmt: skip
    shape = CellModelConfig.of(config)
    _, exact = fitting.hardware(shape.width)
    folder = None if out is None else _folder(out)
    sources = as_sources(adatas)
    genes = find_vocabulary(sources, layer) if vocabulary is None else vocabulary
    corpus = read_corpus(
        sources, genes, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key
    )
    size = fitting.cells_a_step(len(corpus.cells))
    training = fitting.training(len(corpus.cells), shape.width)
    with fitting.drawing():
        model = start_model(shape, genes, corpus.cells, batches=len(corpus.batches), seed=seed)
        examples = MaskedCells(corpus.cells, model, batch_size=size, held_out=validation, seed=seed)
        keeper = _Keeper(model, folder, _provenance(corpus, training, size, exact, seed))
        try:
            fitting.run(MaskedCounts(model, exact), examples, training, keeper.on_epoch)
        finally:
            keeper.finish(time.perf_counter() - began)
    return model


class _Keeper:
    """Keeps the best weights and the history of a training, in a folder where one is given."""

    def __init__(self, model: CellModel, folder: Path | None, provenance: dict[str, str]) -> None:
        self.model, self.folder, self.provenance = model, folder, provenance
        self.records: list[Record] = []
        self.saved = -math.inf

    def on_epoch(self, records: list[Record], better: bool) -> None:
        self.records = records
        if self.folder is None:
            return
        if better and time.monotonic() - self.saved > SAVE_EVERY:
            self._save()
        self._write_history()

    def finish(self, seconds: float) -> None:
        """Take up the best epoch, which the model has by now."""
        self.model.history = pd.DataFrame(self.records)  # type: ignore[assignment]
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


def _provenance(corpus: Corpus, training: Training, batch_size: int, precision: str, seed: int) -> dict[str, str]:
    described = {
        "celloquy": celloquy.__version__,
        "cells": f"{len(corpus.cells):,}",
        "counts": "; ".join(corpus.counts),
        "batch size": str(batch_size),
        "learning rate": f"{training.learning_rate:g}",
        "precision": precision,
        "seed": str(seed),
    }
    # The decoder knows batches by number; this is which is which.
    return described | ({"batches": json.dumps(corpus.batches)} if corpus.batches else {})


def _folder(out: str | PathLike[str]) -> Path:
    folder = Path(out)
    if folder.exists() and not (folder.is_dir() and ((folder / "config.json").exists() or not any(folder.iterdir()))):
        raise ArgumentError(
            f"The model can't be written to {str(folder)!r}.",
            found="something there that is not a saved model",
            expected="a new or empty directory, or a saved model to replace",
            remedy="choose another directory as `out`.",
        )
    return folder
