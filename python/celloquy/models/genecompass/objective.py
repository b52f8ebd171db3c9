"""The task of pretraining: name the hidden genes of a cell, and tell their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from celloquy.models.genecompass.encoding import cells_of_like_length
from celloquy.models.genecompass.hiding import NOT_ASKED, Tokeniser, hide
from celloquy.models.losses import FillingLosses

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.models.genecompass.tokens import GeneTokens
    from celloquy.nn.masking import BiLevelMask
    from celloquy.nn.transformer import Transformer

LOGITS_AT_A_TIME = {"cpu": 2**24, "cuda": 2**27, "mps": 2**24}
"""Scores of genes that are in memory at a time; they are computed anew for the gradient."""


class Learner(Tokeniser, Protocol):
    """A gene model, as far as its training asks for it."""

    partner: Tensor
    encoder: Transformer

    @property
    def cell(self) -> Tensor:
        """Tokens that stand for the cell."""

    def fold(self, ids: Tensor, species: Tensor) -> Tensor:
        """Return words and priors of tokens."""

    def summarised(self, tokens: GeneTokens) -> Tensor:
        """Return what the tokens of cells start from."""

    def cells_first(self, folded: Tensor, values: Tensor, start: Tensor) -> Tensor:
        """Return what the encoder reads."""

    def predict_genes(self, vectors: Tensor) -> Tensor:
        """Return the logits of every word."""

    def predict_values(self, vectors: Tensor) -> Tensor:
        """Return values."""


@dataclass(frozen=True, slots=True)
class MaskedLosses:
    """How well hidden genes are named, and their values told."""

    loss: Tensor
    """Scalar: both, weighted."""
    genes: Tensor
    """Scalar: cross entropy of the genes in nats, a mean over the places whose gene is asked for."""
    values: Tensor
    """Scalar: squared error of the values, a mean over the places whose value is asked for."""


def masked_losses(model: Learner, vectors: Tensor, labels: Tensor, targets: Tensor) -> MaskedLosses:
    """Return the losses of some genes' vectors of the last layer.

    Predictions are made at the places that are asked for, and nowhere else.

    Parameters
    ----------
    model
        The model.
    vectors
        ``(..., width)``.
    labels
        ``(...)`` int64: the gene of each place whose gene is asked for, and -100 elsewhere.
    targets
        ``(...)``: the value of each place whose value is asked for, and NaN elsewhere.
    """
    named, valued = labels != NOT_ASKED, ~targets.isnan()
    genes = _surprise(model, vectors[named], labels[named]) / named.sum().clamp(min=1)
    told = model.predict_values(vectors[valued]).float()
    # A batch without hidden places has no loss, rather than none that is a number.
    values = (told - targets[valued]).square().sum() / valued.sum().clamp(min=1)
    return MaskedLosses(model.config.gene_weight * genes + model.config.value_weight * values, genes, values)


def fill_in(model: Learner, batch: CellBatch, mask: BiLevelMask) -> FillingLosses:
    """Return the losses of cells of which a mask hides some genes; see :func:`hide`.

    Cells of like length are read together, and each gene is folded once.
    """
    device, config = model.cell.device, model.config
    hidden = hide(model, batch, mask)
    tokens, lengths = hidden.seen, hidden.seen.lengths
    folded = model.fold(tokens.ids[:, None], tokens.species.repeat_interleave(lengths))[:, 0]
    start = model.summarised(hidden.clear)
    sizes = lengths.cpu()
    read, places, cells, groups = [], [], [], cells_of_like_length(sizes, device=device.type)
    for group in groups:
        longest, equal = int(sizes[group].max()), bool((sizes[group] == sizes[group[0]]).all())
        group = group.to(device)
        along = torch.arange(longest, device=device)
        there = along < lengths[group, None]
        # Padding is not read, so it may be any token.
        place = torch.where(there, tokens.indptr[group, None] + along, 0)
        whole = model.cells_first(folded[place], tokens.values[place], start[group])
        vectors = model.encoder(whole, None if equal else functional.pad(there, (1, 0), value=True))
        cells.append(vectors[:, 0])
        read.append(vectors[:, 1:][there])
        places.append(place[there])
    place, order = torch.cat(places), torch.cat(groups).argsort().to(device)
    labels = hidden.labels[place]
    losses = masked_losses(model, torch.cat(read), labels, hidden.targets[place])
    loss, parts, cell = losses.loss, {"genes": losses.genes, "values": losses.values}, torch.cat(cells)[order]
    if config.cell_weight:
        named = labels != NOT_ASKED
        of_cell = torch.repeat_interleave(lengths)[place][named]
        parts["cells"] = _surprise(model, cell, labels[named], of_cell) / named.sum().clamp(min=1)
        loss = loss + config.cell_weight * parts["cells"]
    return FillingLosses(cell, loss, parts=parts)


def _surprise(model: Learner, vectors: Tensor, labels: Tensor, owner: Tensor | None = None) -> Tensor:
    """Return the sum of what naming genes costs, in nats.

    Parameters
    ----------
    model
        The model.
    vectors
        ``(n, width)``.
    labels
        ``(m,)``: genes to be named.
    owner
        ``(m,)``: the vector that names each; by default each has its own.
    """

    def some(vectors: Tensor, labels: Tensor, owner: Tensor | None) -> Tensor:
        scores = model.predict_genes(vectors).float()
        if owner is None:
            return functional.cross_entropy(scores, labels, reduction="sum")
        return (scores.logsumexp(1)[owner] - scores[owner, labels]).sum()

    most = max(1, LOGITS_AT_A_TIME[vectors.device.type] // len(model.partner))
    total = vectors.new_zeros((), dtype=torch.float32)
    for first in range(0, len(vectors), most):
        asked = (slice(first, first + most)) if owner is None else (owner >= first) & (owner < first + most)
        theirs = None if owner is None else owner[asked] - first
        total = total + checkpoint(some, vectors[first : first + most], labels[asked], theirs, use_reentrant=False)
    return total
