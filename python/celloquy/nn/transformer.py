"""A transformer over padded sequences: softmax attention, norms after the sums, as in BERT.

Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from celloquy.nn.dropout import Dropout, read_with_dropout

EPSILON = 1e-12
"""What the norms add to the variance, as in BERT."""


class TransformerLayer(nn.Module):
    """Mix every token with all tokens of its sequence, and then by itself.

    Shapes: ``n`` sequences, ``l`` tokens, ``w`` width.

    Parameters
    ----------
    width, heads, feedforward
        Width of a token, number of heads (a divisor), hidden width of the feed-forward block.
    dropout
        Share dropped in training, of the attention weights too.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        """Queries, keys and values in one product."""
        self.out = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, eps=EPSILON)
        self.expand = nn.Linear(width, feedforward)
        self.contract = nn.Linear(feedforward, width)
        self.norm_feedforward = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None, first: int | None = None) -> Tensor:
        """Return the mixed tokens ``(n, l, w)``.

        Parameters
        ----------
        tokens
            ``(n, l, w)``.
        mask
            ``(n, 1, 1, l)`` bool, tokens that are read; all by default.
        first
            Compute the first so many tokens alone, each of which still reads all.
        """
        chosen = tokens if first is None else tokens[:, :first]
        if first is None:
            query, key, value = map(self._split, self.qkv(tokens).chunk(3, -1))
        else:
            width = tokens.shape[-1]
            query = self._split(functional.linear(chosen, self.qkv.weight[:width], self.qkv.bias[:width]))
            rest = functional.linear(tokens, self.qkv.weight[width:], self.qkv.bias[width:])
            key, value = map(self._split, rest.chunk(2, -1))
        read = self._read(query, key, value, mask)
        mixed = self.norm_attention(chosen + self.dropout(self.out(read.transpose(1, 2).flatten(2))))
        wide = functional.gelu(self.expand(mixed))
        result: Tensor = self.norm_feedforward(mixed + self.dropout(self.contract(wide)))
        return result

    def attention(self, tokens: Tensor, mask: Tensor | None, queries: Tensor) -> Tensor:
        """Return how much some tokens read of every token, the mean over the heads, ``(n, q, l)`` float32.

        Parameters
        ----------
        tokens, mask
            As of :meth:`forward`.
        queries
            ``(n, q)`` int64: places of the tokens that read.
        """
        width, size = tokens.shape[-1], tokens.shape[-1] // self.heads
        asking = tokens.gather(1, queries[..., None].expand(-1, -1, width))
        query = functional.linear(asking, self.qkv.weight[:width], self.qkv.bias[:width]).float()
        key = functional.linear(tokens, self.qkv.weight[width : 2 * width], self.qkv.bias[width : 2 * width]).float()
        total = query.new_zeros(len(tokens), queries.shape[1], tokens.shape[1])
        # Head by head, so that the scores of one are in memory at a time.
        for head in range(self.heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[..., own] @ key[..., own].mT / size**0.5
            if mask is not None:
                scores = scores.masked_fill(~mask[:, 0], -torch.inf)
            total += scores.softmax(-1)
        return total / self.heads

    def _read(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return what tokens read, ``(n, heads, l, w / heads)``."""
        dropped = self.dropout.share if self.training else 0.0
        if not dropped or query.device.type != "cpu":
            return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)
        if mask is None:
            return read_with_dropout(query, key, value, dropped)
        sequences = zip(query, key, value, mask[:, 0, 0], strict=True)
        return torch.stack([read_with_dropout(q, k[:, read], v[:, read], dropped) for q, k, v, read in sequences])

    def _split(self, tokens: Tensor) -> Tensor:
        """``(n, l, w)`` to ``(n, heads, l, w / heads)``."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Transformer(nn.Module):
    """Layers one after the other; parameters as of :class:`TransformerLayer`."""

    def __init__(self, width: int, *, layers: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, heads, feedforward, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, first: int | None = None) -> Tensor:
        """Return the tokens ``(n, l, w)`` after the last layer.

        Parameters
        ----------
        tokens
            ``(n, l, w)``.
        mask
            ``(n, l)`` bool, tokens that are read; all by default.
        first
            Return the first so many tokens alone, so that the last layer computes no others.
        """
        reads = None if mask is None else mask[:, None, None]
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, reads, first if number == last else None)
        return tokens


class TiedHead(nn.Module):
    """Predict from tokens: a transform as wide as they are, then a product with a table that may be shared.

    Parameters
    ----------
    width
        Width of a token.
    outputs
        Number of predictions.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Return predictions ``(..., outputs)`` of tokens ``(..., width)`` by a table ``(outputs, width)``."""
        return functional.linear(self.norm(functional.gelu(self.transform(tokens))), table, self.bias)
