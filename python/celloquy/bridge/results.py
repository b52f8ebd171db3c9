"""What a verb has written into an AnnData, as the vectors and matrices that R makes its results of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy import keys
from celloquy.data.tables import get, text_array

if TYPE_CHECKING:
    from anndata import AnnData


def embedding_to_r(adata: AnnData, key: str) -> np.ndarray:
    """Return an embedding, cells × dimensions, in R's type of numbers."""
    return np.asarray(adata.obsm[key], dtype=np.float64)


def numbers_by_cell(adata: AnnData, key: str) -> np.ndarray:
    """Return a column of ``obs`` that holds numbers."""
    return adata.obs[key].to_numpy(dtype=np.float64)


def genes_cut(adata: AnnData) -> np.ndarray | None:
    """Return how many expressed genes of each cell were not read; None if the model reads all of them."""
    return adata.obs[keys.CUT].to_numpy(dtype=np.int32) if keys.CUT in adata.obs else None


def text_by_cell(adata: AnnData, key: str) -> np.ndarray:
    """Return a column of ``obs`` as text."""
    return text_array(adata.obs[key])


def table_to_r(adata: AnnData, key: str) -> dict[str, Any]:
    """Return a table of numbers, cells × features in Python, as features × cells with names."""
    table = get(adata, key)
    return {
        "values": table.to_numpy(dtype=np.float64).T,
        "features": text_array(table.columns),
        "cells": text_array(table.index),
    }


def texts_to_r(adata: AnnData, key: str) -> dict[str, np.ndarray]:
    """Return the columns of a table of text, by name."""
    return {str(name): text_array(column) for name, column in get(adata, key).items()}
