"""celloquy: a cell language model for R and Python.

Cells are tokens, a tissue is a sentence: the model reads the raw counts of all cells of a sample together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celloquy.data import CellBatch, recover_counts
    from celloquy.genes import AlignmentReport, GeneVocabulary, identify_genes, orthologs
    from celloquy.models import CellModel, CellModelConfig
    from celloquy.seurat import read_seurat, write_seurat
    from celloquy.tasks import embed
    from celloquy.tasks.annotation import Annotator, annotate
    from celloquy.tasks.denoising import Denoiser, denoise
    from celloquy.tasks.imputation import Imputer, impute
    from celloquy.tasks.integration import Integrator, integrate
    from celloquy.training import pretrain
    from celloquy.training.fitting import Fitting

__version__ = "0.1.0"

# Where each public name lives. torch, scanpy and matplotlib take seconds to import, so a module loads when first used.
_HOME = {
    "AlignmentReport": "celloquy.genes",
    "Annotator": "celloquy.tasks.annotation",
    "CellBatch": "celloquy.data",
    "CellModel": "celloquy.models",
    "CellModelConfig": "celloquy.models",
    "Denoiser": "celloquy.tasks.denoising",
    "Fitting": "celloquy.training.fitting",
    "GeneVocabulary": "celloquy.genes",
    "Imputer": "celloquy.tasks.imputation",
    "Integrator": "celloquy.tasks.integration",
    "annotate": "celloquy.tasks.annotation",
    "denoise": "celloquy.tasks.denoising",
    "embed": "celloquy.tasks",
    "identify_genes": "celloquy.genes",
    "impute": "celloquy.tasks.imputation",
    "integrate": "celloquy.tasks.integration",
    "orthologs": "celloquy.genes",
    "pretrain": "celloquy.training",
    "read_seurat": "celloquy.seurat",
    "recover_counts": "celloquy.data",
    "write_seurat": "celloquy.seurat",
}
_MODULES = ("data", "errors", "evaluate", "genes", "keys", "models", "nn", "plots", "seurat", "tasks", "training")

__all__ = [
    "AlignmentReport",
    "Annotator",
    "CellBatch",
    "CellModel",
    "CellModelConfig",
    "Denoiser",
    "Fitting",
    "GeneVocabulary",
    "Imputer",
    "Integrator",
    "annotate",
    "denoise",
    "embed",
    "identify_genes",
    "impute",
    "integrate",
    "orthologs",
    "pretrain",
    "read_seurat",
    "recover_counts",
    "write_seurat",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"celloquy.{name}")
    raise AttributeError(f"module 'celloquy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
