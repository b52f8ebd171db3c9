"""Score how well an embedding mixes batches and keeps cell types apart.

These are the scores of Luecken et al. 2022 (Nature Methods), computed by scikit-learn: from 0 to 1, higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from celloquy.errors import ArgumentError

NEIGHBOURS = 90
"""Number of neighbours over which mixing is measured: three times the perplexity of LISI in Korsunsky et al. 2019; at
most a tenth of the cells."""

CLUSTERED_NEIGHBOURS = 15
"""Number of neighbours in the graph that is clustered."""

RESOLUTIONS = tuple(step / 10 for step in range(1, 21))
"""Resolutions of the Leiden clusterings; as is usual, the one that agrees best with the labels is scored."""


def score_integration(
    embedding: np.ndarray, batch: Sequence[str], label: Sequence[str], *, seed: int = 0
) -> dict[str, float]:
    """Score an embedding of cells of several batches and known types.

    Parameters
    ----------
    embedding
        Embedding of the cells, ``(cells, width)``.
    batch, label
        Batch and label of each cell, ``(cells,)``; at least two different ones of each.
    seed
        Seed of the clustering.

    Returns
    -------
    ``iLISI``, ``batch ASW`` and ``kBET`` (the share of neighbourhoods whose batches are as expected), their mean
    ``batch``; ``NMI``, ``ARI``, ``label ASW`` and ``cLISI``, their mean ``biology``; ``total``, the mean of the two.

    Raises
    ------
    ArgumentError
        If the lengths differ, or there is one batch or one label.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.embed(adata)
    >>> cq.evaluate.score_integration(adata.obsm["X_celloquy"], adata.obs["donor"], adata.obs["cell_type"])
    """
    from sklearn.neighbors import NearestNeighbors

    x = np.asarray(embedding, dtype=np.float64)
    batches, labels = (np.unique(np.asarray(names, dtype=str), return_inverse=True) for names in (batch, label))
    if not len(x) == len(batches[1]) == len(labels[1]) or min(len(batches[0]), len(labels[0])) < 2:
        raise ArgumentError(
            "The embedding can't be scored.",
            found=f"{len(x)} cells, {len(batches[0])} batches, {len(labels[0])} labels",
            expected="a batch and a label for every cell, at least two of each",
            remedy="pass the embedding and columns of one object.",
        )
    # Of few cells, this many neighbours would be all cells of a type, whatever their batch.
    count = min(NEIGHBOURS, max(5, len(x) // 10), len(x) - 1)
    near = NearestNeighbors(n_neighbors=count).fit(x).kneighbors(return_distance=False)
    b, c = batches[1], labels[1]
    batch_scores = {
        "iLISI": (_lisi(b[near]) - 1) / (len(batches[0]) - 1),
        "batch ASW": _batch_silhouette(x, b, c),
        "kBET": _accepted(b[near], np.bincount(b) / len(b)),
    }
    nmi, ari = _clusters(x, c, seed)
    biology_scores = {
        "NMI": nmi,
        "ARI": ari,
        "label ASW": (_silhouette(x, c) + 1) / 2,
        "cLISI": (len(labels[0]) - _lisi(c[near])) / (len(labels[0]) - 1),
    }
    mixing, biology = (float(np.mean(list(scores.values()))) for scores in (batch_scores, biology_scores))
    return {**batch_scores, "batch": mixing, **biology_scores, "biology": biology, "total": (mixing + biology) / 2}


def _lisi(codes: np.ndarray) -> float:
    """Return the median over the cells of the effective number of codes ``(cells, neighbours)`` among neighbours."""
    shares = np.stack([(codes == code).mean(1) for code in np.unique(codes)])
    return float(np.median(1 / (shares**2).sum(0)))


def _accepted(codes: np.ndarray, expected: np.ndarray) -> float:
    """Return the share of neighbourhoods whose batches fit those of all cells, by a chi-squared test at .05."""
    from scipy.stats import chi2

    size = codes.shape[1]
    found = np.stack([(codes == batch).sum(1) for batch in range(len(expected))], 1)
    statistic = ((found - size * expected) ** 2 / (size * expected)).sum(1)
    return float((statistic < chi2.ppf(0.95, len(expected) - 1)).mean())


def _silhouette(x: np.ndarray, codes: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(x, codes))


def _batch_silhouette(x: np.ndarray, batch: np.ndarray, label: np.ndarray) -> float:
    """Return the mean over the labels of 1 minus the absolute silhouette of the batches."""
    from sklearn.metrics import silhouette_samples

    found = []
    for code in np.unique(label):
        cells = label == code
        batches = len(np.unique(batch[cells]))
        if 1 < batches < cells.sum():
            found.append(1 - np.abs(silhouette_samples(x[cells], batch[cells])).mean())
    return float(np.mean(found)) if found else 0.0


def _clusters(x: np.ndarray, label: np.ndarray, seed: int) -> tuple[float, float]:
    """Return NMI and ARI of the Leiden clusters of the neighbour graph, at the resolution with the highest NMI."""
    import random

    import igraph
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(x, min(CLUSTERED_NEIGHBOURS, len(x) - 1)).tocoo()
    graph = igraph.Graph(len(x), list(zip(near.row.tolist(), near.col.tolist(), strict=True))).simplify()
    igraph.set_random_number_generator(random.Random(seed))
    scores = []
    for resolution in RESOLUTIONS:
        found = graph.community_leiden("modularity", resolution=resolution, n_iterations=2).membership
        scores.append((float(normalized_mutual_info_score(label, found)), float(adjusted_rand_score(label, found))))
    igraph.set_random_number_generator(random)
    return max(scores)
