"""Tiny models and tasks, trained once in a process and used by every case."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad

import celloquy as cq
from specimens import bare

CONFIG = cq.CellModelConfig(width=16, feedforward=32, latent="gaussian", latent_width=8, decoder_width=16)
QUIET: dict[str, Any] = {"progress": False, "device": "cpu", "precision": "float32"}
TUNED: dict[str, Any] = {"epochs": 1, **QUIET}
FAST: dict[str, Any] = {"config": CONFIG, **TUNED}
WANTED = 6
"""Genes of the reference that the imputed panel lacks."""


@cache
def reference() -> ad.AnnData:
    """Sixty plain cells of three labels and two batches."""
    specimen = bare(1, cells=60)
    specimen.position = specimen.random.random((60, 2))
    adata = specimen.plain()
    adata.obs["label"], adata.obs["batch"] = specimen.obs["label"].to_numpy(), specimen.obs["batch"].to_numpy()
    return adata


@cache
def model() -> cq.CellModel:
    """A model pretrained for one epoch."""
    return cq.pretrain(reference(), batch_key="batch", **FAST)


@cache
def annotator() -> cq.Annotator:
    return cq.Annotator(label_key="label", model=model(), **TUNED).fit(reference())


@cache
def explainable() -> cq.Annotator:
    """One whose model reads each cell for itself."""
    return cq.Annotator(label_key="label", model="cells-mini", **QUIET).fit(reference())


@cache
def denoiser() -> cq.Denoiser:
    return cq.Denoiser(**FAST).fit(reference())


@cache
def integrator() -> cq.Integrator:
    return cq.Integrator(batch_key="batch", model=model(), **TUNED).fit(reference())


@cache
def imputer() -> cq.Imputer:
    panel = reference()[:, WANTED:].copy()
    return cq.Imputer(n_models=2, spatial_key=None, **FAST).fit(panel, reference())


def reading(task: cq.Task, options: dict[str, Any]) -> cq.Task:
    """A fitted task with other reading options."""
    own = copy.copy(task)
    unset = dict.fromkeys(("layer", "counts", "tissue_key", "spatial_key", "species"))
    for name, value in (QUIET | unset | options).items():
        setattr(own, name, value)
    return own


@cache
def all_of_them() -> Path:
    """Save the model and the tasks in a folder of this process, in directories of their names."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-trained-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for make in (model, annotator, explainable, denoiser, integrator, imputer):
        make().save(folder / make.__name__)
    return folder
