"""From a gene and its value to a vector: a word and what is known of the gene, fused by a perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from celloquy.models.genecompass.tokens import SPECIAL
from celloquy.nn.dropout import Dropout
from celloquy.nn.transformer import EPSILON

if TYPE_CHECKING:
    from celloquy.models.genecompass.config import GeneModelConfig

FOLDED_AT_A_TIME = 8192
"""Genes whose parts are in memory at a time."""


WORD_SIZE = 0.05
"""Size of the words, a root of the mean square, that training starts from."""

LEAST_KNOWN = 0.2
"""Length of a gene's components, beside that of the median gene, that halves its word."""


class GeneFusion(nn.Module):
    """Fuse a gene's word, its value and its priors.

    Shapes: ``n`` cells, ``l`` tokens, ``w`` words, ``k`` genes for which something may be known: as many as there are
    words, and then the mouse genes of pairs, if these have no words of their own.

    ``proj(quickgelu(norm(fuse([word, value, prior 1, prior 2, ...]))))``. But for the value, what enters the norm is
    the gene's alone, so it is computed once for every gene, and not for every token: see :meth:`fold`. A gene without a
    prior has zeros for it, which the projection takes to its bias.

    Parameters
    ----------
    config
        Widths and priors.
    words
        Number of words.
    known
        Number of genes for which something may be known.
    """

    def __init__(self, config: GeneModelConfig, words: int, known: int) -> None:
        super().__init__()
        width = config.width
        self.word = nn.Parameter(torch.randn(words, width) * 0.02)
        # A name alone may be that of a method of the dictionary.
        self.projections = nn.ModuleDict(
            {f"of_{name}": nn.Linear(prior_width, width) for name, prior_width in config.priors}
        )
        for name, prior_width in config.priors:
            self.register_buffer(f"known_{name}", torch.zeros(known, prior_width))
        self.fuse = nn.Linear((1 + len(config.priors)) * width + config.values, width)
        """Columns: the word, the value if there is one, and each prior."""
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, width)
        self.position = nn.Parameter(torch.randn(config.context, width) * 0.02) if config.positions == "rank" else None
        self.last_norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(config.dropout)
        self._values = config.values

    def fold(self, words: Tensor, known: Tensor) -> Tensor:
        """Return what genes add to the fused vector before their values are known, ``(m, width)`` float32.

        Parameters
        ----------
        words, known
            ``(m,)`` int64: word of each gene, and the row of what is known of it.
        """
        width = self.word.shape[1]
        # In float32 also under autocast: the table is made once, and read by every cell.
        with torch.autocast(self.word.device.type, enabled=False):
            folded = functional.linear(self.word[words], self.fuse.weight[:, :width], self.fuse.bias)
            column = width + self._values
            for name, projection in self.projections.items():
                assert isinstance(projection, nn.Linear)
                weight = self.fuse.weight[:, column : column + width]
                vectors = self.vectors(name.removeprefix("of_"))[known]
                # Both products in one matrix, as wide as the prior.
                folded = folded + functional.linear(vectors, weight @ projection.weight, weight @ projection.bias)
                column += width
        return folded

    def table(self, known: Tensor) -> Tensor:
        """Return :meth:`fold` of all words ``(w, width)``, some at a time; ``known`` is ``(w,)``."""
        words = torch.arange(len(known), device=known.device)
        parts = zip(words.split(FOLDED_AT_A_TIME), known.split(FOLDED_AT_A_TIME), strict=True)
        return torch.cat([self.fold(*part) for part in parts])

    def vectors(self, name: str) -> Tensor:
        """Return what is known of the genes by one prior, ``(k, its width)``."""
        found: Tensor = getattr(self, f"known_{name}")
        return found

    def set_vectors(self, name: str, vectors: Tensor) -> None:
        """Replace what one prior knows of the genes."""
        setattr(self, f"known_{name}", vectors)

    @torch.no_grad()
    def set_words(self, words: Tensor, components: Tensor) -> None:
        """Add principal components ``(m, k)`` of some words ``(m,)`` to these, which are random and small.

        What cells differ in most is then told of a gene, and read off by the head that is tied to the words, from the
        first step. All genes count alike, whatever their variance, because all are to be named; but for those that the
        components hardly know.
        """
        size = components.norm(dim=1, keepdim=True)
        least = LEAST_KNOWN * size[size > 0].median().nan_to_num() + torch.finfo().tiny
        self.word[words, : components.shape[1]] += components / (size + least) * (WORD_SIZE * self.word.shape[1] ** 0.5)
        # The norm would leave little of words beside values and priors, whose size is about one.
        self.fuse.weight[:, : self.word.shape[1]] /= WORD_SIZE

    def forward(self, folded: Tensor, values: Tensor, *, placed: bool = True, places: Tensor | None = None) -> Tensor:
        """Return the vectors of the tokens, ``(n, l, width)``.

        Parameters
        ----------
        folded
            ``(n, l, width)``: rows of :meth:`fold`.
        values
            ``(n, l)``.
        placed
            False leaves positions out, which genes outside of a cell have none of.
        places
            ``(n, l)`` int64: rank of each token, where it is not its column.
        """
        if self._values:
            folded = folded + values[..., None] * self.fuse.weight[:, self.word.shape[1]]
        normed = self.norm(folded)
        fused = self.proj(normed * torch.sigmoid(1.702 * normed))
        if self.position is not None and placed:
            fused = fused + (self.position[: fused.shape[1]] if places is None else self.position[places])
        vectors: Tensor = self.dropout(self.last_norm(fused))
        return vectors


def rows_of(words: int, pairs: int, *, shared: bool) -> tuple[int, int]:
    """Return the number of words, and of genes for which something may be known, of a vocabulary.

    Parameters
    ----------
    words, pairs
        Number of rows of the vocabulary, and of those that are pairs.
    shared
        True if both genes of a pair share a word.
    """
    known = SPECIAL + words + pairs
    return (SPECIAL + words if shared else known), known
