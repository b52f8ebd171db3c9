"""Readings of a cell's label that hold across species, and the cells around that speak for it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from celloquy.data.neighbours import nearest_of
from celloquy.nn.factors import DEPTH, top_axes
from celloquy.tasks.annotation.linear import every_class, genewise

PENALTY = 0.1
"""Inverse strength of the ridge: a hundredth of that within a species, where single genes can be trusted."""
COMPONENTS = 20
SHARPNESS = 20.0
"""Factor that makes cosines logits."""
NEIGHBOURS, AXES, VARIABLE = 10, 30, 2000
"""Neighbours of a cell, among so many axes of so many variable genes."""
SPOKEN_FOR = 0.5
"""How much of a cell's label is said by its neighbours. At .8 rare labels are lost."""
LEAST = 1e-6


class Readings:
    """Three readings of a label, whose mean log probability counts."""

    def __init__(self, values: np.ndarray, codes: np.ndarray) -> None:
        self.means = np.stack([values[codes == code].mean(0) for code in range(codes.max() + 1)])
        centred = values - values.mean(0)
        axes = top_axes(torch.from_numpy(centred), min(COMPONENTS, len(values) - 1))[1]
        self.maps = [every_class(*genewise(values, codes, PENALTY))]
        weight, bias = every_class(*genewise(centred @ axes.T.numpy(), codes, PENALTY))
        weight = weight @ axes.numpy()
        self.maps.append((weight, bias - weight @ values.mean(0)))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Mean log probabilities, ``(cells, labels)``."""
        logits = [values @ weight.T + bias for weight, bias in self.maps]
        probabilities = [softmax(one) for one in (*logits, SHARPNESS * self.cosines(values))]
        found: np.ndarray = np.mean([np.log(one + LEAST) for one in probabilities], axis=0)
        return found

    def cosines(self, values: np.ndarray) -> np.ndarray:
        """Cosines to the means of the labels, all from their mean."""
        return cosines(values, self.means)


def neighbourhood(logged: sparse.csr_matrix) -> sparse.csr_matrix:
    """Mean over a cell's neighbours ``(q, q)``, those with many neighbours in common weighing more."""
    n = int(logged.shape[0])
    number = min(NEIGHBOURS, n - 1)
    if number < 1:
        return sparse.identity(n, format="csr")
    mean = np.asarray(logged.mean(0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(0)).ravel() - mean**2
    genes = np.sort(np.argsort(-variance / (mean + 0.1), kind="stable")[:VARIABLE])
    dense = torch.from_numpy(logged[:, genes].toarray())
    dense -= dense.mean(0)
    place = (dense @ top_axes(dense, min(AXES, n - 1))[1].T).numpy()
    near = nearest_of(place, place, number + 1)
    rows = np.repeat(np.arange(n), number + 1)
    edges = sparse.csr_matrix((np.ones(near.size), (rows, near.ravel())), shape=(n, n))
    edges.setdiag(0)
    edges.eliminate_zeros()
    common = edges.multiply(edges @ edges.T)
    edges = (common + common.T).tocsr()
    total = np.asarray(edges.sum(1)).ravel()
    # A cell that shares no neighbour with any speaks for itself.
    alone = sparse.diags((total == 0).astype(float))
    return sparse.csr_matrix(sparse.diags(1 / np.where(total > 0, total, 1)) @ edges + alone)


def spoken_for(around: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    """Values ``(q, c)`` of cells, in part those of their neighbours, and of theirs."""
    found = values
    for _ in range(20):
        found = (1 - SPOKEN_FOR) * values + SPOKEN_FOR * (around @ found)
    return found


def cosines(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Cosines ``(cells, labels)`` of values to means, from the mean of the means."""
    centre = means.mean(0)
    a, b = values - centre, means - centre
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / np.maximum(lengths, 1e-9)


def scale_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each gene; a gene that hardly varies would count by its noise."""
    spread = values.std(0)
    return values.mean(0), np.maximum(spread, 0.1 * spread.max(initial=1e-12))


def within_cells(logged: sparse.csr_matrix) -> np.ndarray:
    """Values of each cell, dense, less their mean and by their spread."""
    dense = logged.toarray()
    spread = dense.std(1, keepdims=True)
    return (dense - dense.mean(1, keepdims=True)) / np.maximum(spread, 1e-3)


def log_counts(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """log1p of counts per 10,000 of the shared genes."""
    depth = np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
    logged = sparse.csr_matrix(sparse.diags(DEPTH / depth) @ counts)
    logged.data = np.log1p(logged.data)
    return logged


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits ``(cells, labels)``."""
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)
