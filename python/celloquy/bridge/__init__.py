"""All that R calls, and all that it may call: no R file names another Python module.

Conversions hand each other's parts over as plain arrays, columns and lists. R drives them: it decides where everything
goes and asks for one piece at a time, so that no piece lies in memory twice. Verbs take the names and types that R has.

Importing this package loads neither torch nor anndata: R looks first whether torch may be loaded into its process.
"""

from importlib import import_module
from typing import Any

# The file in which each name lives; it loads when the name is first used.
_HOME = {
    "annotate_known": "verbs",
    "classify_genes": "properties",
    "columns_of_types": "objects",
    "columns_to_r": "objects",
    "context": "verbs",
    "copy_into": "matrices",
    "describe_error": "session",
    "embed": "verbs",
    "embedding_to_r": "results",
    "expected_seconds": "verbs",
    "explain": "genes",
    "fitted_task": "verbs",
    "frame_from_r": "values",
    "gene_attention": "genes",
    "gene_embeddings": "genes",
    "genes_cut": "results",
    "holds_counts": "objects",
    "infer_network": "genes",
    "is_anndata": "objects",
    "is_model": "verbs",
    "is_torch_loaded": "session",
    "keys": "verbs",
    "known_types": "verbs",
    "listen": "session",
    "load_torch": "session",
    "look_for_counts": "verbs",
    "make_anndata": "objects",
    "matrix_to_r": "matrices",
    "niches": "verbs",
    "numbers_by_cell": "results",
    "overview": "objects",
    "perturb": "genes",
    "predict_response": "responses",
    "predict_samples": "samples",
    "pretrain": "verbs",
    "provenance": "verbs",
    "rank_drivers": "genes",
    "read_h5ad": "files",
    "record_warnings": "session",
    "run_task": "verbs",
    "runs_r": "session",
    "sample_response": "responses",
    "stop_threads": "session",
    "similar_genes": "genes",
    "table_to_r": "results",
    "text_by_cell": "results",
    "texts_to_r": "results",
    "torch_uses_own_blas": "session",
    "types_beside_genes": "objects",
    "unconverted": "objects",
    "value_to_r": "values",
    "version": "session",
    "write_h5ad": "files",
    "write_network": "genes",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"celloquy.bridge.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celloquy.bridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_HOME)
