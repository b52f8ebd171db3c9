"""A summary of a cell from which its token starts: the mean of the words of all its genes, weighted by their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from celloquy.models.genecompass.tokens import GeneTokens
from celloquy.nn.expression import WeightedGeneSum

TINY = torch.finfo().tiny


class Summary(nn.Module):
    """Summarise cells by all their genes, also those beyond the context, linearly.

    Words start from principal components of genes, so that a summary starts as a projection of the cell's expression on
    them; attention then adds to it what a sum can't say.

    Parameters
    ----------
    width
        Width of words and summaries.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, words: Tensor, total: Tensor) -> Tensor:
        """Return the summaries ``(n, width)`` of what :func:`sums_of_words` returns."""
        summary: Tensor = self.linear(words / total.clamp(min=TINY)[:, None])
        return summary

    @torch.no_grad()
    def centre(self, words: Tensor, total: Tensor) -> None:
        """Have summaries start from how the mean word of a cell differs from that of all, with a size of about one.

        All cells express much the same genes: what is common to them would outweigh what tells them apart.
        """
        words = words / total.clamp(min=TINY)[:, None]
        mean, size = words.mean(0), words.var(0, unbiased=False).mean().sqrt().clamp(min=TINY)
        self.linear.weight.copy_(torch.eye(len(mean)) / size)
        self.linear.bias.copy_(-mean / size)


def sums_of_words(tokens: GeneTokens, word: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over each cell's genes of words times values, ``(n, width)``, and of values, ``(n,)``.

    Parameters
    ----------
    tokens
        The cells, on the device of the words.
    word
        ``(w, width)``.
    """
    cell = torch.repeat_interleave(torch.arange(len(tokens), device=word.device), tokens.lengths)
    total = tokens.values.new_zeros(len(tokens)).index_add_(0, cell, tokens.values)
    words: Tensor = WeightedGeneSum.apply(word, tokens.ids, tokens.indptr, tokens.values.to(word.dtype))
    return words, total
