"""What is known of genes as vectors of a given width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from celloquy.genes import GeneVocabulary, Prior, coexpression, prior

if TYPE_CHECKING:
    import pandas as pd

    from celloquy.data import CellBatch

COEXPRESSION = "coexpression"
"""Name of the prior that is computed from the cells of a pretraining."""

CELLS_A_BATCH = 2000
"""Cells of a batch whose correlations are taken, at most: more would tell the same."""

LEAST = 1e-5
"""Size of a gene's vector, beside the largest, below which it is nothing."""


def coexpression_of(cells: CellBatch, vocabulary: GeneVocabulary) -> Prior:
    """Return which genes are expressed together within the batches of some cells."""
    counts = []
    for one in cells.batch.unique():
        own = torch.nonzero(cells.batch == one)[:, 0]
        counts.append(cells.select(own[:: -(-len(own) // CELLS_A_BATCH)]).to_csr())
    return coexpression(counts, vocabulary)


def known_rows(
    known: str | pd.DataFrame | Prior, vocabulary: GeneVocabulary, token: Tensor, partner: Tensor, like: Tensor
) -> Tensor:
    """Return a prior as a gene model keeps it, ``(k, width)``: by word, and by the mouse genes of pairs.

    Parameters
    ----------
    known
        See :func:`celloquy.genes.prior`.
    vocabulary
        Genes of the model.
    token, partner
        See :class:`celloquy.GeneModel`.
    like
        Rows of the same shape.
    """
    places: list[int] = []
    rows: list[tuple[str, ...]] = []
    for row, gene, symbol, species in vocabulary.genes():
        word = int(token[row])
        places.append(int(partner[word]) if species == "mouse" else word)
        if species == "mouse":
            rows.append(("", "", gene, symbol, ""))
        else:
            rows.append((gene, symbol, "", "", "") if species else ("", "", "", "", gene))
    found = torch.zeros_like(like)
    one_by_one = GeneVocabulary(*zip(*rows, strict=True))
    found[torch.tensor(places, device=like.device)] = known_vectors(known, one_by_one, like.shape[1]).to(like)
    # What is not known of a gene is taken from the other one of its pair.
    unknown, mouse = ~found.any(1), partner[token]
    for own, other in ((mouse, token), (token, mouse)):
        found[own[unknown[own]]] = found[other[unknown[own]]]
    return found


def known_vectors(known: str | pd.DataFrame | Prior, genes: GeneVocabulary, width: int) -> Tensor:
    """Return a prior of genes as vectors, ``(genes, width)`` float32.

    Features that are no more than the width are followed by zeros, more are reduced to principal components. Where they
    are reduced, and where the prior is no table of the user's, the squares of every known gene have a mean of one: how
    much is written about a gene says nothing of what it is.

    Parameters
    ----------
    known
        See :func:`celloquy.genes.prior`.
    genes
        The genes.
    width
        Width of the vectors.
    """
    features = prior(known, genes).matrix
    vectors = torch.zeros(len(genes), width)
    n_features = features.shape[1]
    if n_features <= width:
        vectors[:, :n_features] = torch.from_numpy(features.toarray())
        if not isinstance(known, str | Prior):
            return vectors
    else:
        from sklearn.utils.extmath import randomized_svd

        rank = min(width, len(genes))
        left, strength, _ = randomized_svd(features, rank, n_iter=7, random_state=0)
        vectors[:, :rank] = torch.from_numpy(left * strength)
    size = vectors.square().mean(1, keepdim=True).sqrt()
    # What little rounding leaves of a gene that is not known, or of none of the components.
    return torch.where(size > LEAST * size.max(), vectors / size, 0.0)
