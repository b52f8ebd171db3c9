"""celloquy: cell language models for R and Python.

A cell model reads the raw counts of all cells of a sample together: cells are tokens, a tissue is a sentence.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celloquy.runtime.threads import let_threads_sleep
from celloquy.version import VERSION

if TYPE_CHECKING:
    from celloquy.data import CellBatch as CellBatch
    from celloquy.data import CellColumns as CellColumns
    from celloquy.data import get as get
    from celloquy.data import recover_counts as recover_counts
    from celloquy.genes import AlignmentReport as AlignmentReport
    from celloquy.genes import GeneVocabulary as GeneVocabulary
    from celloquy.genes import identify_genes as identify_genes
    from celloquy.genes import orthologs as orthologs
    from celloquy.models import CellModel as CellModel
    from celloquy.models import CellModelConfig as CellModelConfig
    from celloquy.models import FactorModel as FactorModel
    from celloquy.models import FactorModelConfig as FactorModelConfig
    from celloquy.models import GeneModel as GeneModel
    from celloquy.models import GeneModelConfig as GeneModelConfig
    from celloquy.models import Model as Model
    from celloquy.models import read_cellplm as read_cellplm
    from celloquy.models import read_genecompass as read_genecompass
    from celloquy.seurat import read_seurat as read_seurat
    from celloquy.seurat import write_seurat as write_seurat
    from celloquy.tasks import Task as Task
    from celloquy.tasks import embed as embed
    from celloquy.tasks import gene_attention as gene_attention
    from celloquy.tasks import gene_embeddings as gene_embeddings
    from celloquy.tasks import similar_genes as similar_genes
    from celloquy.tasks.annotation import Annotator as Annotator
    from celloquy.tasks.annotation import annotate as annotate
    from celloquy.tasks.annotation import known_types as known_types
    from celloquy.tasks.context import context as context
    from celloquy.tasks.denoising import Denoiser as Denoiser
    from celloquy.tasks.denoising import denoise as denoise
    from celloquy.tasks.explanation import explain as explain
    from celloquy.tasks.imputation import Imputer as Imputer
    from celloquy.tasks.imputation import impute as impute
    from celloquy.tasks.integration import Integrator as Integrator
    from celloquy.tasks.integration import integrate as integrate
    from celloquy.tasks.networks import infer_network as infer_network
    from celloquy.tasks.networks import write_network as write_network
    from celloquy.tasks.niches import niches as niches
    from celloquy.tasks.perturbation import perturb as perturb
    from celloquy.tasks.perturbation import rank_drivers as rank_drivers
    from celloquy.tasks.properties import GeneClassifier as GeneClassifier
    from celloquy.tasks.properties import classify_genes as classify_genes
    from celloquy.tasks.responses import ResponsePredictor as ResponsePredictor
    from celloquy.tasks.responses import predict_response as predict_response
    from celloquy.tasks.samples import SamplePredictor as SamplePredictor
    from celloquy.tasks.samples import predict_samples as predict_samples
    from celloquy.training import TrainingOptions as TrainingOptions
    from celloquy.training import pretrain as pretrain

let_threads_sleep()  # before torch is loaded

__version__ = VERSION

# Where each public name lives. torch, scanpy and matplotlib take seconds to import, so a module loads when first used.
_HOME = {
    "AlignmentReport": "genes",
    "Annotator": "tasks.annotation",
    "CellBatch": "data",
    "CellColumns": "data",
    "CellModel": "models",
    "CellModelConfig": "models",
    "Denoiser": "tasks.denoising",
    "FactorModel": "models",
    "FactorModelConfig": "models",
    "GeneClassifier": "tasks.properties",
    "GeneModel": "models",
    "GeneModelConfig": "models",
    "GeneVocabulary": "genes",
    "Imputer": "tasks.imputation",
    "Integrator": "tasks.integration",
    "Model": "models",
    "ResponsePredictor": "tasks.responses",
    "SamplePredictor": "tasks.samples",
    "Task": "tasks",
    "TrainingOptions": "training",
    "annotate": "tasks.annotation",
    "classify_genes": "tasks.properties",
    "context": "tasks.context",
    "denoise": "tasks.denoising",
    "embed": "tasks",
    "explain": "tasks.explanation",
    "gene_attention": "tasks",
    "gene_embeddings": "tasks",
    "get": "data",
    "identify_genes": "genes",
    "impute": "tasks.imputation",
    "infer_network": "tasks.networks",
    "integrate": "tasks.integration",
    "known_types": "tasks.annotation",
    "niches": "tasks.niches",
    "orthologs": "genes",
    "perturb": "tasks.perturbation",
    "predict_response": "tasks.responses",
    "predict_samples": "tasks.samples",
    "pretrain": "training",
    "rank_drivers": "tasks.perturbation",
    "read_cellplm": "models",
    "read_genecompass": "models",
    "read_seurat": "seurat",
    "recover_counts": "data",
    "similar_genes": "tasks",
    "write_network": "tasks.networks",
    "write_seurat": "seurat",
}
_MODULES = ("data", "errors", "evaluate", "genes", "keys", "models", "nn", "plots", "seurat", "tasks", "training")

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"celloquy.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"celloquy.{name}")
    raise AttributeError(f"module 'celloquy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
