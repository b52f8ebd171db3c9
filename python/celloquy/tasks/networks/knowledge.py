"""Scores from what is known of genes before these cells are read: shared features, and co-expression elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.errors import GenesError
from celloquy.genes import PRIORS, GeneVocabulary, prior
from celloquy.genes.orthology import ortholog_of
from celloquy.keys import CELLS_MINI
from celloquy.models import Model
from celloquy.tasks.networks.moments import Array


class CorrelatesGenes(Protocol):
    """A model of the ability ``"correlate genes"``."""

    def gene_correlations(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the correlations of genes, rows of the vocabulary, in the cells that the model learned from."""


def shared_features(regulators: Sequence[str], targets: Sequence[str], names: Sequence[str] = PRIORS) -> Array:
    """Return how much of what is known of a regulator holds of a target, too, ``(regulators, targets)``.

    It is the mean over the priors of the cosine of their features, each weighted by the logarithm of one over the share
    of genes that have it; 0 where a prior knows nothing of a gene, and nan where none knows it.

    Parameters
    ----------
    regulators, targets
        Ensembl ids; empty where a gene has none.
    names
        Priors that ship, see :func:`celloquy.genes.prior`.
    """
    ids = [gene for gene in dict.fromkeys((*regulators, *targets)) if gene]
    total, known = np.zeros((len(regulators), len(targets))), np.zeros((len(regulators), len(targets)), dtype=bool)
    if ids:
        vocabulary = GeneVocabulary.from_ids(ids)
        row = {gene: place for place, gene in enumerate(vocabulary.ids)}
        for name in names:
            try:
                features = prior(name, vocabulary).matrix
            except GenesError:
                # A prior that knows none of these genes says nothing.
                continue
            share = (np.bincount(features.indices, minlength=features.shape[1]) + 1) / (features.shape[0] + 1)
            weighted = sparse.csr_matrix(features.multiply(-np.log(share)))
            length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
            unit = sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, np.inf)) @ weighted)
            unit = sparse.vstack([unit, sparse.csr_matrix((1, unit.shape[1]))], format="csr")
            first, second = (unit[[row.get(gene, -1) for gene in some]] for some in (regulators, targets))
            total += (first @ second.T).toarray()
            known |= (np.diff(first.indptr) > 0)[:, None] & (np.diff(second.indptr) > 0)
    return np.where(known, total / len(names), np.nan)


def coexpression_elsewhere(regulators: Sequence[str], targets: Sequence[str], model: Model | None = None) -> Array:
    """Return the correlation of regulators with targets in the cells that a model of factors learned from.

    Parameters
    ----------
    regulators, targets
        Ensembl ids of human or mouse.
    model
        The model; by default ``cells-mini``.

    Returns
    -------
    ``(regulators, targets)``; nan where the model does not know a gene.
    """
    model = Model.from_pretrained(CELLS_MINI) if model is None else model
    model.require(["correlate genes"], "`infer_network` by coexpression")
    row = {gene: place for place, gene, _, _ in model.vocabulary.genes()}

    def rows(genes: Sequence[str]) -> NDArray[np.int64]:
        return np.array([row.get(gene, row.get(ortholog_of(gene), -1)) if gene else -1 for gene in genes])

    first, second = rows(regulators), rows(targets)
    known = np.ix_(first >= 0, second >= 0)
    found = np.full((len(first), len(second)), np.nan)
    places = torch.from_numpy(first[first >= 0]), torch.from_numpy(second[second >= 0])
    found[known] = cast("CorrelatesGenes", model).gene_correlations(*places).numpy()
    return found
