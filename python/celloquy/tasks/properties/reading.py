"""Read labels off a block of features: a regression with a ridge, whose strength genes that are held out choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.extmath import randomized_svd

Matrix = NDArray[np.float64]

COMPONENTS: Final = 200
"""Principal components of a block's features, of the genes with a label, at most."""
STRENGTHS: Final = (0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the ridge (scikit-learn's ``C``) that are tried, the strongest first."""
TIE: Final = 1e-9
"""Components of less variance than this are of no use."""
FEW_GENES: Final = 1500
"""Genes up to which components are those of their products, which is exact, and faster with many features."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A linear reading of labels off a block.

    Attributes
    ----------
    weights
        ``(width, k)``: of the ``k`` classes, or of the one number.
    offset
        ``(k,)``.
    """

    weights: Matrix
    offset: Matrix

    def scores(self, features: sparse.csr_matrix, classes: int) -> Matrix:
        """Return log probabilities of the classes ``(genes, classes)``, or the number ``(genes, 1)``."""
        return _scores(np.asarray(features @ self.weights), self.offset, classes)


def read(
    features: sparse.csr_matrix, labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64]
) -> tuple[Reading, Matrix]:
    """Fit a reading; return it, and its scores ``(genes, k)`` of each gene where it is fitted to the other folds.

    Parameters
    ----------
    features
        ``(genes, width)``, of a mean length of about 1.
    labels
        ``(genes,)``: classes from 0, or numbers of mean 0 and variance 1.
    classes
        Number of classes; 0 for numbers.
    fold
        ``(genes,)``: fold of each gene; the strength of the ridge is the one that serves held-out genes best.
    """
    axes = axes_of(features, COMPONENTS)
    reduced = np.asarray(features @ axes)
    lowest, best, held = np.inf, STRENGTHS[0], np.zeros((len(labels), max(1, classes)))
    for strength in STRENGTHS:
        tried = _held_out(reduced, labels, classes, fold, strength)
        loss = float(loss_of_genes(tried, labels, classes).mean())
        if loss >= lowest:
            # Weaker ridges take longer, and fit worse still.
            break
        lowest, best, held = loss, strength, tried
    weights, offset = regression(reduced, labels, classes, best)
    return Reading(axes @ weights, offset), held


def loss_of_genes(scores: Matrix, labels: NDArray[np.generic], classes: int) -> NDArray[np.float64]:
    """Return the loss of each gene: minus the log probability of its class, or the squared error of its number."""
    if classes:
        return -scores[np.arange(len(labels)), labels.astype(np.int64)]
    return np.asarray((scores[:, 0] - labels.astype(np.float64)) ** 2)


def axes_of(features: sparse.csr_matrix, components: int) -> Matrix:
    """Return the first principal axes of features, ``(width, components)``; all of few features, as they are."""
    if features.shape[1] <= components:
        return np.eye(features.shape[1])
    most = min(components, *features.shape)
    # Means stay in: scaled features have nearly none, and the offset of a regression takes up the rest.
    if features.shape[0] <= FEW_GENES:
        squares, genes = eigh((features @ features.T).toarray())
        squares, genes = squares[::-1][:most], genes[:, ::-1][:, :most]
        kept = squares > TIE
        return np.asarray(features.T @ (genes[:, kept] / np.sqrt(squares[kept])))
    _, size, axes = randomized_svd(features, most, random_state=0)
    return np.asarray(axes[size**2 > TIE].T)


def _held_out(
    features: Matrix, labels: NDArray[np.generic], classes: int, fold: NDArray[np.int64], strength: float
) -> Matrix:
    found = np.zeros((len(labels), max(1, classes)))
    for number in np.unique(fold):
        own = fold == number
        weights, offset = regression(features[~own], labels[~own], classes, strength)
        found[own] = _scores(features[own] @ weights, offset, classes)
    return found


def regression(features: Matrix, labels: NDArray[np.generic], classes: int, strength: float) -> tuple[Matrix, Matrix]:
    """Weights ``(width, k)`` and offset ``(k,)``."""
    if not classes:
        ridge = Ridge(alpha=1 / strength).fit(features, labels)
        return np.asarray(ridge.coef_, dtype=np.float64)[:, None], np.array([float(ridge.intercept_)])
    there = np.unique(labels)
    weights = np.zeros((features.shape[1], classes))
    # A class of which a fold leaves no gene has the probability of half a gene.
    offset = np.full(classes, np.log(0.5 / len(labels)))
    if len(there) == 1:
        offset[there] = 0.0
        return weights, offset
    fitted = LogisticRegression(C=strength, max_iter=300, tol=1e-4).fit(features, labels)
    if len(there) == 2:
        weights[:, there] = np.stack([-fitted.coef_[0], fitted.coef_[0]], 1) / 2
        offset[there] = np.array([-fitted.intercept_[0], fitted.intercept_[0]]) / 2
    else:
        weights[:, there], offset[there] = fitted.coef_.T, fitted.intercept_
    return weights, offset


def _scores(products: Matrix, offset: Matrix, classes: int) -> Matrix:
    scores = products + offset
    return np.asarray(log_softmax(scores, axis=1)) if classes else scores


def beside(parts: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
    """Return blocks side by side."""
    return sparse.csr_matrix(sparse.hstack(list(parts), format="csr"))
