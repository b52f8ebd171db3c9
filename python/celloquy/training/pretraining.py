"""Pretrain a model on counts in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch

from celloquy.checks import check_number, refuse
from celloquy.data import CellColumns
from celloquy.errors import CheckpointError
from celloquy.genes import GeneVocabulary
from celloquy.models import Model, ModelConfig
from celloquy.models.base import find_family
from celloquy.models.directory import LEAST_ROOM, check_directory
from celloquy.models.presets import resolve_config
from celloquy.runtime.hardware import Precision
from celloquy.runtime.memory import memory_budget
from celloquy.runtime.processes import check_alike, start_processes
from celloquy.training.corpus import Corpus, CorpusOptions, open_corpus
from celloquy.training.inputs import list_inputs
from celloquy.training.keeper import HISTORY, Keeper
from celloquy.training.loop import Schedule
from celloquy.training.masked_counts import MaskedCells, MaskedCounts
from celloquy.training.options import PRETRAINING, TrainingOptions, choose_options
from celloquy.training.snapshots import Snapshots, fingerprint, unfinished_folder
from celloquy.training.trainer import Trainer
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData


def pretrain(
    corpus: AnnData | str | PathLike[str] | Sequence[AnnData | str | PathLike[str]],
    *,
    config: ModelConfig | str = "mini",
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    vocabulary: GeneVocabulary | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_key: str | None = None,
    species: Literal["auto"] | None = None,
    temperature: float = 1.0,
    skip_bad_files: bool = False,
    max_memory: int | str | None = None,
    epochs: int | None = None,
    training: TrainingOptions | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    devices: int | None = None,
    num_nodes: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Model:
    """Pretrain a model, which learns to fill in masked counts.

    The same call with the same seed gives the same model, bit for bit, on one machine with the same number of threads.

    Parameters
    ----------
    corpus
        One or several objects of raw counts, cells × genes: in memory, or on disk as an h5ad file, a zarr directory, a
        folder or a pattern (``"data/*.h5ad"``) of these, or a manifest, see Notes. They may have different genes
        measured, and each is a batch of its own. Together they may be larger than the memory.
    config
        Size of the model, ``"mini"``, ``"small"`` or ``"base"``, with its family before it if that is not CellPLM
        (``"genecompass/mini"``), or a configuration. The batches of the cells set a cell model's covariates.
    out
        Target directory of the model with the best validation loss and of ``history.csv``, written during the training:
        new or empty.
    overwrite
        Replace a saved model that is in ``out``. What the same call has left there, whole or interrupted, is replaced
        in any case.
    resume
        Keep the state of the training beside ``out`` at least every minute or so, and go on where an earlier call was
        interrupted or killed, at any point: the model is then the same, bit for bit, as without the interruption. The
        first call and all that repeat it are the same. A training that is complete is not repeated.
    vocabulary
        Genes of the model; by default the known genes that are expressed in the inputs.
    layer, counts, tissue_key, spatial_key, batch_key, species
        Reading options, see :class:`celloquy.CellColumns`.
    temperature
        Temperature of the inputs' shares of an epoch. 1 takes every cell once; with ``T``, an input of ``n`` cells has
        a share of ``n^(1/T)`` times its weight, so that a large one does not drown the others.
    skip_bad_files
        Leave out files that can't be used, each with a warning. By default the first one is an error.
    max_memory
        Memory for the cells, in bytes or as text such as ``"4 GB"``; by default half of the free memory. Cells that
        do not fit are read from disk in every epoch, in blocks and ahead of the model.
    epochs
        Number of passes over the cells; the default depends on the number of cells, with more passes for fewer cells.
    training
        Further choices, see :class:`celloquy.TrainingOptions`; ``epochs`` replaces its own.
    precision
        Precision of the matrix products: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which takes bfloat16 if the
        hardware has it and the model is wide.
    device
        Device: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``, which takes a GPU if there is one.
    devices, num_nodes
        Number of processes on each machine, each with a device of its own, and number of machines; by default as many
        as torchrun or SLURM has started, or one. They share the cells of every step: the model is that of one process
        that computes as many ``parts``, see :class:`celloquy.TrainingOptions`, but for rounding.
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
    CheckpointError, DiskError
        If ``out`` can't be written to, or something is there. This is told before the training; if writing fails all
        the same, the error says where the model is kept.

    Notes
    -----
    A manifest is a table (``.tsv`` or ``.csv``) with one line for each file. Its columns are ``path``, relative to the
    manifest, and any of ``layer``, ``tissue_key``, ``spatial_key``, ``batch_key``, ``species``, ``weight`` and
    ``label_key``. An empty place takes the option of the call. ``weight`` multiplies the share of the file in an epoch;
    the same share of every label in the column ``label_key`` is held out.

    Every file is checked once: what was found is kept in the cache folder of the user (on Linux
    ``~/.cache/celloquy``), and a file that stays as it is is not checked again.

    ``history.csv`` gets a line after every epoch; where TensorBoard is installed, the folder ``tensorboard`` of ``out``
    gets the same figures. An interrupt (Ctrl-C) leaves the best model so far in ``out``.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.pretrain(adata, out="model/")
    >>> cq.embed(adata, model=model)
    """
    start = time.perf_counter()
    columns = CellColumns(
        layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, batch_key=batch_key,
        species=species,
    )  # fmt: skip
    trainer = Trainer(
        options=choose_options(training, epochs), precision=precision, device=device, seed=seed, progress=progress
    )
    if vocabulary is not None and not isinstance(vocabulary, GeneVocabulary):
        refuse("vocabulary", vocabulary, "a celloquy.GeneVocabulary")
    options, shape = trainer.options, resolve_config(config)
    family = find_family(shape.family)
    family.require(("fill in",), "pretraining")
    device_used, exact = trainer.hardware(shape.width)
    # Whether what is there is of this very training is not known yet.
    folder = None if out is None else check_directory(out, overwrite=True, room=0)
    check_number("temperature", temperature, least=1)
    if resume and folder is None:
        refuse("resume", resume, "False where there is no `out`", "name as `out` where the model is to be written.")
    reading = CorpusOptions(memory_budget(max_memory), temperature, seed)
    processes = start_processes(device_used, devices, num_nodes)
    first = processes.is_global_zero
    # The first process checks the files, the others find what it has found.
    with processes.rank_zero_first():
        if folder is not None and first:
            check_directory(folder, overwrite=True)
        cells = open_corpus(
            list_inputs(corpus, columns), vocabulary, reading, skip_bad_files=skip_bad_files,
            progress=progress and first,
        )  # fmt: skip
    size = options.cells_a_step(len(cells), PRETRAINING)
    schedule = options.schedule(len(cells), shape.width, pace=PRETRAINING)
    with ExitStack() as stack:
        stack.enter_context(closing(cells))
        unfinished = None
        if resume and folder is not None:
            unfinished = stack.enter_context(unfinished_folder(folder, locked=first))
        identity = {
            "celloquy": VERSION,
            "torch": torch.__version__,
            "cells": cells.digest,
            "cells in a pool": cells.pool_cells,
            "config": json.loads(shape.to_json()),
            "options": {**asdict(options), "batch_size": size, "temperature": float(temperature)},
            "schedule": asdict(schedule),
            "device": f"{device_used.type}, {exact}",
            "seed": int(seed),
        }
        check_alike(processes, identity)
        snapshots = None if unfinished is None else Snapshots(unfinished, identity)
        if (
            snapshots is not None
            and folder is not None
            and not snapshots.exist()
            and (finished := _finished(folder, fingerprint(identity))) is not None
        ):
            return finished
        # A resumed training has as many parts a step as it began with, whatever the number of processes.
        parts = options.parts or processes.world_size
        if snapshots is not None:
            parts = snapshots.parts(parts)
        stack.enter_context(trainer.seeded())
        model = family.initialise(shape, cells.vocabulary, cells.sample(), batches=len(cells.batches), seed=seed)
        model.survey(cells.runs())
        data = MaskedCells(
            cells, model, batch_size=size, held_out=options.validation, seed=seed,
            cells_per_sentence=options.cells_per_sentence, parts=parts, labels=cells.label,
            masking=model.pretraining_masking,
        )  # fmt: skip
        if folder is not None:
            going_on = snapshots is not None and snapshots.exist()
            may_replace = overwrite or going_on or _finished(folder, fingerprint(identity)) is not None
            weights = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
            check_directory(folder, overwrite=may_replace, room=0)
            # No process writes before all have looked.
            processes.barrier()
            if first:
                check_directory(folder, overwrite=may_replace, room=weights + LEAST_ROOM)
        keeper = Keeper(model, folder if first else None, _provenance(cells, schedule, size, exact, seed))
        try:
            trainer.run(MaskedCounts(model, exact), data, schedule, keeper.on_epoch, snapshots, processes)
            keeper.provenance["run"], keeper.finished = fingerprint(identity), True
        finally:
            keeper.finish(time.perf_counter() - start)
        # The folder of the snapshots outlives the last process that reads them.
        processes.barrier()
    return model


def _finished(folder: Path, run: str) -> Model | None:
    """Return the model of a folder, if it came whole out of this very training."""
    if not (folder / HISTORY).is_file():
        return None
    try:
        model = Model.from_pretrained(folder)
    except CheckpointError:
        return None
    if model.provenance.get("run") != run:
        return None
    model.history = pd.read_csv(folder / HISTORY)
    return model


def _provenance(corpus: Corpus, schedule: Schedule, batch_size: int, precision: str, seed: int) -> dict[str, str]:
    described = {
        "celloquy": VERSION,
        "cells": f"{len(corpus):,}",
        "counts": "; ".join(f"{one.name}: {one.facts.place}" for one in corpus.sources),
        "batch size": str(batch_size),
        "learning rate": f"{schedule.learning_rate:g}",
        "precision": precision,
        "seed": str(seed),
    }
    # The decoder has numbers for the batches; these are their names.
    return described | ({"batches": json.dumps(corpus.batches)} if corpus.batches else {})
