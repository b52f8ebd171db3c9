"""From sparse counts to one vector a cell: the sum of its genes' vectors, weighted by log1p of their counts.

Wen et al. 2024, CellPLM, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from celloquy.nn import densify
from celloquy.nn.dropout import Dropout

SLICE_COLUMNS, SLICE_COLUMNS_BFLOAT16 = 32, 128
"""Columns of a table that a processor sums at a time: so narrow a slice of the table stays in its cache, and two to
three times as many cells are summed a second as with whole rows of 1,024 values."""

ROWS_READ_AGAIN = 2
"""How often the rows of a table must be read on average before it pays to copy slices of it."""


class WeightedGeneSum(torch.autograd.Function):
    """``out[i] = sum over the counts of cell i of weight * table[gene]``, forward and backward without a dense matrix.

    torch's own backward of ``embedding_bag`` scatters one row per non-zero. Seen from the genes it is the same sum with
    the roles swapped: a gene's gradient is the weighted sum of the gradients of the cells that express it. So it is an
    ``embedding_bag`` over the transposed batch, about ten times quicker on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
        """Sum ``(genes, width)`` rows into ``(cells, width)``; no gradient flows to the counts."""
        ctx.save_for_backward(indices, indptr, weights)
        ctx.genes = len(table)
        return _sums(_slices(table, len(indices)), indices, indptr, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the table."""
        indices, indptr, weights = ctx.saved_tensors
        genes = ctx.genes
        if densify.prefers_dense(indices.device, len(indices), len(indptr) - 1):
            return densify.dense_gradient(gradients[0], genes, indices, indptr, weights), None, None, None
        cells = torch.arange(len(indptr) - 1, device=indptr.device, dtype=indices.dtype)
        cell_of_count = torch.repeat_interleave(cells, indptr.diff(), output_size=len(indices))
        order = torch.argsort(indices, stable=True)
        per_gene = torch.bincount(indices, minlength=genes)
        indptr_of_gene = torch.cat([per_gene.new_zeros(1), per_gene.cumsum(0)])
        table = _slices(gradients[0].contiguous(), len(indices))
        return _gathered(table, cell_of_count[order], indptr_of_gene, weights[order]), None, None, None


def _slices(table: Tensor, read: int) -> Sequence[Tensor]:
    """Cut a table ``(genes, width)``, of which so many rows are read, into columns, if that pays."""
    if table.device.type != "cpu" or read <= ROWS_READ_AGAIN * len(table):
        return [table]
    columns = SLICE_COLUMNS_BFLOAT16 if table.dtype == torch.bfloat16 else SLICE_COLUMNS
    return [part.contiguous() for part in table.split(columns, 1)]


def _sums(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows of a table in slices, each ``(genes, columns)``, to ``(cells, width)``."""
    if densify.prefers_dense(indices.device, len(indices), len(indptr) - 1):
        return densify.dense_sum(slices, indices, indptr, weights)
    return _gathered(slices, indices, indptr, weights)


def _gathered(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """The same by ``embedding_bag``."""
    offsets, weights = indptr.to(indices.dtype), weights.to(slices[0].dtype)
    sums = [
        functional.embedding_bag(
            indices, columns, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
        for columns in slices
    ]
    return sums[0] if len(sums) == 1 else torch.cat(sums, 1)


class ExpressionEmbedder(nn.Module):
    """Embed a cell by its expressed genes; genes that a cell does not express cost nothing.

    Shapes: ``n`` cells, ``z`` non-zero counts.

    Parameters
    ----------
    genes
        Size of the vocabulary.
    width
        Width of a gene's and of a cell's vector.
    dropout
        Share of the cell's vector dropped in training.
    norm_groups
        Groups of the group norm; must divide ``width``.
    """

    def __init__(self, genes: int, width: int, *, dropout: float, norm_groups: int) -> None:
        super().__init__()
        self.gene = nn.Parameter(torch.randn(genes, width) * 0.005)
        self.mix = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.norm = nn.GroupNorm(norm_groups, width)

    def table(self, precision: torch.dtype, read: int) -> Sequence[Tensor]:
        """Return the genes' vectors as :meth:`gene_sum` reads them fastest, if so many of them are read in all.

        Reading them is what the sum costs, so half the bytes are twice the speed; it stays float32 inside.
        """
        return _slices(self.gene.detach().to(precision), read)

    def gene_sum(
        self, indices: Tensor, indptr: Tensor, values: Tensor, table: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return ``sum_g log1p(x_g) W_g`` for every cell, ``(n, width)``.

        Parameters
        ----------
        indices, indptr, values
            Raw counts ``(z,)`` in rows, as in :class:`celloquy.CellBatch`.
        table
            Of :meth:`table`, where no gradient is wanted.
        """
        weights = values.log1p()
        if table is not None:
            return _sums(table, indices, indptr, weights)
        summed: Tensor = WeightedGeneSum.apply(self.gene, indices, indptr, weights)
        return summed

    def finish(self, cells: Tensor) -> Tensor:
        """Mix the summed vectors of every cell, ``(n, width)`` to ``(n, width)``."""
        mixed: Tensor = self.norm(self.dropout(self.mix(cells).relu()))
        return mixed
