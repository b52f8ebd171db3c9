"""Pretrain a cell model on the user's cells: from counts to a model in one call."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd
import torch
from lightning_fabric import Fabric

import celloquy
from celloquy.errors import ArgumentError
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.compute import Precision, choose_device, choose_precision
from celloquy.training.loop import Record, Training, train
from celloquy.training.objective import MaskedCells, MaskedCounts
from celloquy.training.sources import Corpus, as_sources, find_vocabulary, read_corpus
from celloquy.training.start import start_at_the_average, start_at_the_components, start_with_little_noise

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
    _check_counts(epochs=epochs, batch_size=batch_size, patience=patience, seed=seed)
    _check_shares(learning_rate=learning_rate, weight_decay=weight_decay, validation=validation)
    shape = CellModelConfig.preset(config) if isinstance(config, str) else config
    if not isinstance(shape, CellModelConfig):
        raise ArgumentError(
            "`config` can't be used.",
            found=f"an object of type {type(config).__name__}",
            expected="'mini', 'small', 'base' or a CellModelConfig",
            remedy="pass one of these.",
        )
    target = choose_device(device)
    exact = choose_precision(precision, target, shape.width)
    folder = None if out is None else _folder(out)
    sources = as_sources(adatas)
    genes = find_vocabulary(sources, layer) if vocabulary is None else vocabulary
    corpus = read_corpus(
        sources, genes, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key
    )
    size = batch_size or _batch_size(len(corpus.cells))
    training = Training(
        epochs=epochs or _epochs(len(corpus.cells), size),
        learning_rate=learning_rate or 5e-4 * math.sqrt(128 / shape.width),
        weight_decay=weight_decay,
        patience=patience,
    )
    covariates = (("batch", len(corpus.batches)),) if corpus.batches else ()
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
        torch.manual_seed(seed)
        model = CellModel(shape.with_(covariates=covariates), genes)
        start_at_the_average(model, corpus.cells)
        start_at_the_components(model, corpus.cells, seed)
        start_with_little_noise(model)
        examples = MaskedCells(corpus.cells, model, batch_size=size, held_out=validation, seed=seed)
        keeper = _Keeper(model, folder, _provenance(corpus, training, size, exact, seed))
        fabric = Fabric(accelerator=target.type, devices=[target.index or 0] if target.type == "cuda" else 1)
        try:
            train(
                MaskedCounts(model, exact),
                examples,
                training,
                fabric=fabric,
                progress=progress,
                on_epoch=keeper.on_epoch,
            )
        finally:
            model.cpu().eval()
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
        self.provenance |= {f"{name} loss": f"{best[name]:.4f}" for name in ("loss", "validation") if name in best}
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


def _batch_size(cells: int) -> int:
    return min(2000, max(64, math.ceil(cells / 4)))


def _epochs(cells: int, batch_size: int) -> int:
    return min(200, max(10, round(480 / math.ceil(cells / batch_size))))


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


def _check_counts(**numbers: object) -> None:
    for name, number in numbers.items():
        least = 0 if name == "seed" else 1
        if number is None and name != "seed":
            continue
        if not isinstance(number, Integral) or int(number) < least:
            _refuse(name, number, f"a whole number of at least {least}")


def _check_shares(**numbers: object) -> None:
    for name, number in numbers.items():
        if number is None and name == "learning_rate":
            continue
        most = 0.9 if name == "validation" else 1.0
        least = 1e-12 if name == "learning_rate" else 0.0
        if not isinstance(number, Real) or not least <= float(number) <= most:
            _refuse(name, number, f"a number {'above' if least else 'from'} 0 and up to {most:g}")


def _refuse(name: str, found: object, expected: str) -> NoReturn:
    raise ArgumentError(
        f"`{name}` can't be used.",
        found=repr(found),
        expected=expected,
        remedy=f"change `{name}`, or leave it out.",
    )
