"""Multinomial regressions of a label classifier: on the genes that tell the labels apart, and on an embedding."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from celloquy.data import CellBatch
from celloquy.errors import GeneCoverageWarning, GenesError
from celloquy.genes.coverage import REFUSED_BELOW, WARNED_BELOW
from celloquy.tasks.annotation.classifier import LabelClassifier, LogNormaliser
from celloquy.training.split import hold_out

GENES = 1000
"""Marker genes, at most: those whose variance between the labels is largest against that within."""

PENALTY = 10.0
"""Inverse strength of the ridge (scikit-learn's ``C``), for cells whose mean squared length is 1."""

COMPONENTS = 50
"""Principal components of these genes, at most. What many genes say together holds on another platform, too: between
lung tumour and lymph node it gained a hundredth of macro F1."""

LEAST_SPREAD = 0.05
"""Spread that is added to that of each dimension of an embedding, as a share of the largest."""

MOST_CELLS = 20_000
"""Cells that are regressed on, at most; the same share of every label."""


@torch.no_grad()
def fit_linear(classifier: LabelClassifier, cells: CellBatch, labels: Tensor, *, seed: int = 0) -> None:
    """Fit the scale of a classifier and its linear head; labels weigh the same, however many cells they have.

    Parameters
    ----------
    classifier
        The classifier, of which the linear head is fitted.
    cells
        Labelled cells.
    labels
        ``(cells,)`` int64.
    seed
        Seed of the draw of cells, if there are many.
    """
    classifier.normalise.fit(cells)
    drawn, classes = _drawn(labels.numpy(), seed), classifier.gene.shape[1]
    cells, codes = cells.select(torch.from_numpy(drawn)), labels.numpy()[drawn]
    values = _matrix(cells, classifier.normalise(cells))
    genes = _markers(values, codes, classes)
    if not len(genes):
        # With a pretrained model it is known no earlier.
        raise GenesError(
            "There is no gene to tell the labels apart by.",
            found=f"{values.shape[1]:,} genes, in none of which the labels differ",
            expected="genes that are expressed in at least three cells of the reference",
            remedy="look at the counts of the reference, and at the names of its genes.",
            argument="reference",
        )
    mean = classifier.normalise.mean.numpy()[genes].astype(np.float64)
    centred = values[:, genes].toarray() - mean
    by_gene, by_components = genewise(centred, codes), _by_components(centred, codes, seed)
    weight, bias = every_class(by_gene[0] + by_components[0], by_gene[1] + by_components[1])
    classifier.gene.zero_()
    classifier.gene[torch.from_numpy(genes)] = torch.from_numpy(weight.T).to(classifier.gene)
    classifier.bias.copy_(torch.from_numpy(bias))
    classifier.novelty.set_centres(classifier.linear_logits(cells), torch.from_numpy(codes))


@torch.no_grad()
def fit_head(classifier: LabelClassifier, embedding: Tensor, labels: Tensor, *, seed: int = 0) -> None:
    """Fit the head on the embedding by a regression; labels weigh the same.

    Dimensions are scaled half way to equal variances: what few cells tell of a small dimension is mostly noise.

    Parameters
    ----------
    classifier
        The classifier, of which the head on the embedding is fitted.
    embedding
        ``(cells, width)`` of labelled cells.
    labels
        ``(cells,)`` int64.
    seed
        Seed of the draw of cells, if there are many.
    """
    drawn = _drawn(labels.numpy(), seed)
    values = embedding.numpy()[drawn].astype(np.float64)
    spread = values.std(0)
    size = np.sqrt(spread + LEAST_SPREAD * spread.max(initial=1e-12))
    weight, bias = every_class(*genewise(values / size, labels.numpy()[drawn]))
    classifier.head.weight.copy_(torch.from_numpy(weight / size))
    classifier.head.bias.copy_(torch.from_numpy(bias))


def _drawn(codes: np.ndarray, seed: int) -> np.ndarray:
    """Places of the cells to regress on, rising: all, or of many the same share of every label."""
    if len(codes) <= MOST_CELLS:
        return np.arange(len(codes))
    return np.sort(hold_out(codes, MOST_CELLS / len(codes), np.random.default_rng(seed))[1])


def every_class(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercepts with a row for every class; scikit-learn has one row for two classes."""
    if len(bias) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


def genewise(values: np.ndarray, codes: np.ndarray, penalty: float = PENALTY) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``(classes, genes)`` and intercepts of a regression on values ``(cells, genes)``; see :data:`PENALTY`."""
    from sklearn.linear_model import LogisticRegression

    length = float(np.sqrt((values**2).sum(1).mean())) or 1.0
    regression = LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000).fit(values / length, codes)
    return regression.coef_ / length, regression.intercept_


def _by_components(values: np.ndarray, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of a regression on principal components of genes that all count alike."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    spread = values.std(0)
    # A gene that hardly varies would count by its noise.
    spread = np.maximum(spread, 0.1 * spread.max(initial=1e-12))
    components = PCA(min(COMPONENTS, *values.shape), random_state=seed).fit(values / spread)
    scores = components.transform(values / spread)
    regression = LogisticRegression(class_weight="balanced", max_iter=1000).fit(scores, codes)
    weight = regression.coef_ @ components.components_
    return weight / spread, regression.intercept_ - weight @ components.mean_


def check_shared(counts: CellBatch, known: Tensor, measured: Tensor) -> None:
    """Check that the genes which both objects measured hold enough of the reference's counts.

    Raises
    ------
    GenesError
        If they hold less than 5 %.

    Warns
    -----
    GeneCoverageWarning
        If they hold less than half.
    """
    share = float(counts.keep_genes(measured).values.sum() / counts.values.sum().clamp(min=1))
    genes = f"{int(measured.sum()):,} of the {int(known.sum()):,} genes of the reference"
    if share < REFUSED_BELOW:
        raise GenesError(
            f"Only {share:.1%} of the counts of the reference are of genes that the cells share.",
            found=f"{genes} shared",
            expected="cells in which most genes of the reference were measured",
            remedy="look at the names of the genes of both objects; take a reference with the genes of the panel.",
        )
    if share < WARNED_BELOW:
        warnings.warn(
            f"Only {share:.1%} of the counts of the reference are of genes that the cells share: {genes}.",
            GeneCoverageWarning,
            stacklevel=4,
        )


def marker_genes(cells: CellBatch, labels: Tensor, classes: int, measured: Tensor) -> np.ndarray:
    """Return the places of the genes that tell labels apart, rising, at most :data:`GENES`.

    Parameters
    ----------
    cells
        Labelled cells.
    labels
        ``(cells,)`` int64.
    classes
        Number of labels.
    measured
        ``(genes,)`` bool, the genes to choose from.
    """
    normalise = LogNormaliser(cells.n_genes)
    normalise.fit(cells)
    return _markers(_matrix(cells, normalise(cells)), labels.numpy(), classes, measured.numpy())


def _markers(
    values: sparse.csr_matrix, codes: np.ndarray, classes: int, measured: np.ndarray | bool = True
) -> np.ndarray:
    separation = f_statistic(values, codes, classes) * measured
    return np.sort(np.argsort(-separation, kind="stable")[: min(GENES, int((separation > 0).sum()))])


def f_statistic(values: sparse.csr_matrix, codes: np.ndarray, classes: int) -> np.ndarray:
    """Return the F statistic of every gene, ``(genes,)``: variance between the labels over that within."""
    cells, genes = values.shape
    member = sparse.csr_matrix((np.ones(cells), (codes, np.arange(cells))), shape=(classes, cells))
    sizes = np.bincount(codes, minlength=classes).clip(min=1)[:, None]
    means = (member @ values).toarray() / sizes
    total = np.asarray(values.multiply(values).sum(0)).ravel() - cells * np.asarray(values.mean(0)).ravel() ** 2
    between = (sizes * (means - np.asarray(values.mean(0))) ** 2).sum(0)
    within = np.maximum(total - between, 0) / max(1, cells - classes)
    # A gene of a few counts has next to no variance within; this much is there by chance.
    floor = 1e-3 * total.mean() / cells
    # A gene seen in one or two cells says nothing.
    often = np.bincount(values.indices, minlength=genes) >= 3
    return np.where(often, between / max(1, classes - 1) / (within + floor + 1e-12), 0.0)


def _matrix(cells: CellBatch, values: Tensor) -> sparse.csr_matrix:
    """Values at the non-zero counts as cells × genes, float64."""
    return replace(cells, values=values.double()).to_csr()
