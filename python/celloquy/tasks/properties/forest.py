"""Read labels off few features by extremely randomised trees (Geurts et al. 2006), kept as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

Matrix = NDArray[np.float64]

TREES: Final = 100
LEAST_GENES: Final = 3
"""Genes of a leaf, at least."""
FEATURES: Final = 0.1
"""Share of the features of which each split is the best; a larger share served as well, and takes longer."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees, one after the other: node ``n`` is a leaf where ``feature[n]`` is -1.

    Attributes
    ----------
    roots
        ``(trees,)`` int64: first node of each tree.
    feature, threshold, left, right
        ``(nodes,)``: genes whose feature is at most the threshold go left.
    values
        ``(nodes, k)``: share of each class in a node, or the mean number.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Matrix
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    values: Matrix

    def scores(self, features: Matrix, classes: int) -> Matrix:
        """Return log probabilities of the classes ``(genes, classes)``, or the number ``(genes, 1)``."""
        # scikit-learn compares in float32, too.
        read = features.astype(np.float32)
        genes = np.arange(len(read))
        total = np.zeros((len(read), self.values.shape[1]))
        for root in self.roots:
            node = np.full(len(read), root)
            while True:
                feature = self.feature[node]
                inner = feature >= 0
                if not inner.any():
                    break
                down = np.where(read[genes, feature.clip(0)] <= self.threshold[node], self.left[node], self.right[node])
                node = np.where(inner, down, node)
            total += self.values[node]
        total /= max(1, len(self.roots))
        return as_logs(total) if classes else total


def grow(features: Matrix, labels: NDArray[np.generic], classes: int, seed: int) -> Forest:
    """Fit a forest.

    Parameters
    ----------
    features
        ``(genes, width)``.
    labels
        ``(genes,)``: classes from 0, or numbers.
    classes
        Number of classes; 0 for numbers.
    seed
        Seed of the trees.
    """
    kind: Any = ExtraTreesClassifier if classes else ExtraTreesRegressor
    fitted = kind(TREES, min_samples_leaf=LEAST_GENES, max_features=FEATURES, random_state=seed).fit(features, labels)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "threshold", "left", "right", "values")}
    roots, first = [], 0
    for one in fitted.estimators_:
        tree = one.tree_
        roots.append(first)
        leaf = tree.children_left < 0
        parts["feature"].append(np.where(leaf, -1, tree.feature))
        parts["threshold"].append(tree.threshold)
        parts["left"].append(np.where(leaf, 0, tree.children_left + first))
        parts["right"].append(np.where(leaf, 0, tree.children_right + first))
        parts["values"].append(_shares(tree.value, fitted.classes_, classes) if classes else tree.value[:, 0, :])
        first += tree.node_count
    joined = {name: np.concatenate(own) for name, own in parts.items()}
    whole = {name: joined[name].astype(np.int64) for name in ("feature", "left", "right")}
    return Forest(np.array(roots), threshold=joined["threshold"], values=joined["values"], **whole)


def as_logs(shares: Matrix) -> Matrix:
    """Return logarithms of shares, none of which is taken for certain."""
    kept = shares.clip(0.003)
    return np.asarray(np.log(kept / kept.sum(1, keepdims=True)))


def _shares(value: NDArray[Any], there: NDArray[Any], classes: int) -> Matrix:
    """Shares of all classes, also of those that the trees have not met."""
    shares = np.zeros((len(value), classes))
    own = value[:, 0, :]
    shares[:, there.astype(np.int64)] = own / own.sum(1, keepdims=True)
    return shares
