"""Groups of like neighbourhoods: the niches, the largest first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

STATES = 16
"""Number of states of cells whose shares are the composition of a neighbourhood."""


def states_of(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the state of every cell, ``(n, states)`` of 0 and 1: k-means of the embedding ``(n, width)``."""
    found = _in_any_order(cells, lambda vectors: _k_means(vectors, STATES, seed=0))
    return np.eye(found.max() + 1, dtype=np.float32)[found]


def grouped(vectors: NDArray[np.float32], n_niches: int | None, resolution: float, seed: int) -> pd.Categorical[Any]:
    """Return the niche of every cell: ``"0"`` is the largest, ``"1"`` the next.

    Parameters
    ----------
    vectors
        Embedding of the neighbourhoods, ``(n, width)``.
    n_niches
        Number of niches, which k-means finds; None leaves it to Leiden.
    resolution
        Resolution of Leiden: the higher, the more niches.
    seed
        Seed of both.
    """
    found = _in_any_order(
        vectors,
        lambda one: _leiden(one, resolution, seed) if n_niches is None else _k_means(one, n_niches, seed),
    )
    sizes = np.bincount(found)
    rank = np.empty_like(sizes)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return pd.Categorical(rank[found].astype(str), categories=[str(one) for one in range(len(sizes))])


def _in_any_order(
    vectors: NDArray[np.float32], find: Callable[[NDArray[np.float64]], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Codes of clusters that do not hang on the order of the cells, which are drawn by their place."""
    order = np.lexsort(np.round(vectors[:, ::-1], 3).T)
    codes = np.empty(len(vectors), dtype=np.int64)
    codes[order] = find(vectors[order].astype(np.float64))
    return codes


def _k_means(vectors: NDArray[np.float64], n_niches: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    # No more than there are, such as of empty cells alone.
    distinct = len(np.unique(vectors, axis=0))
    found = KMeans(min(n_niches, distinct), n_init=10, random_state=seed).fit_predict(vectors)
    return cast("NDArray[np.int64]", found.astype(np.int64))


def _leiden(vectors: NDArray[np.float64], resolution: float, seed: int) -> NDArray[np.int64]:
    import scanpy as sc
    from anndata import AnnData

    adata = AnnData(vectors)
    most = min(15, len(vectors) - 1)
    with warnings.catch_warnings(action="ignore"):  # of scipy, where cells are the same
        # Exact neighbours, whatever the number of cells.
        sc.pp.neighbors(adata, n_neighbors=most, use_rep="X", transformer="sklearn", random_state=seed)
    sc.tl.leiden(adata, resolution=resolution, random_state=seed, flavor="igraph", n_iterations=2)
    return cast("NDArray[np.int64]", adata.obs["leiden"].cat.codes.to_numpy().astype(np.int64))
