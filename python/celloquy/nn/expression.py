"""From sparse counts to one vector a cell: the sum of the vectors of its genes, weighted by log1p of their counts.

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
"""Number of columns of a table that a CPU sums at a time: so narrow a slice stays in its cache, and it sums two to
three times as many cells a second as with whole rows of 1,024 values."""

READS_PER_ROW = 2
"""Average number of reads of a row of the table above which copying slices of the table saves time."""


class WeightedGeneSum(torch.autograd.Function):
    """``out[i] = sum over the counts of cell i of weight * table[gene]``, forward and backward without a dense matrix.

    The backward pass of torch's ``embedding_bag`` scatters one row per non-zero count. The gradient of a gene is the
    weighted sum of the gradients of the cells that express it: the same sum with genes and cells swapped. So the
    backward pass here is an ``embedding_bag`` over the transposed batch, about ten times faster on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
        """Sum rows of the table ``(genes, width)`` to ``(cells, width)``; no gradient flows to the counts."""
        ctx.save_for_backward(indices, indptr, weights)
        ctx.n_genes = len(table)
        return _weighted_sums(_slices(table, len(indices)), indices, indptr, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the table."""
        indices, indptr, weights = ctx.saved_tensors
        n_genes = ctx.n_genes
        if densify.prefers_dense(indices.device, len(indices), len(indptr) - 1):
            return densify.dense_gradient(gradients[0], n_genes, indices, indptr, weights), None, None, None
        cells = torch.arange(len(indptr) - 1, device=indptr.device, dtype=indices.dtype)
        cell_of_count = torch.repeat_interleave(cells, indptr.diff(), output_size=len(indices))
        order = torch.argsort(indices, stable=True)
        per_gene = torch.bincount(indices, minlength=n_genes)
        indptr_of_gene = torch.cat([per_gene.new_zeros(1), per_gene.cumsum(0)])
        table = _slices(gradients[0].contiguous(), len(indices))
        return _gathered_sums(table, cell_of_count[order], indptr_of_gene, weights[order]), None, None, None


def _slices(table: Tensor, n_reads: int) -> Sequence[Tensor]:
    """Cut a table ``(genes, width)`` into slices of columns if that saves time for a number of reads of its rows."""
    if table.device.type != "cpu" or n_reads <= READS_PER_ROW * len(table):
        return [table]
    columns = SLICE_COLUMNS_BFLOAT16 if table.dtype == torch.bfloat16 else SLICE_COLUMNS
    return [part.contiguous() for part in table.split(columns, 1)]


def _weighted_sums(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of the rows of a table in slices, each ``(genes, columns)``, to ``(cells, width)``."""
    if densify.prefers_dense(indices.device, len(indices), len(indptr) - 1):
        return densify.dense_sum(slices, indices, indptr, weights)
    return _gathered_sums(slices, indices, indptr, weights)


def _gathered_sums(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the same sums by ``embedding_bag``."""
    offsets, weights = indptr.to(indices.dtype), weights.to(slices[0].dtype)
    sums = [
        functional.embedding_bag(
            indices, columns, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
        for columns in slices
    ]
    return sums[0] if len(sums) == 1 else torch.cat(sums, 1)


class ExpressionEmbedder(nn.Module):
    """Embed a cell by its expressed genes; genes that a cell does not express take no time.

    Shapes: ``n`` cells, ``z`` non-zero counts.

    Parameters
    ----------
    n_genes
        Number of genes of the vocabulary.
    width
        Width of the vector of a gene and of a cell.
    dropout
        Share of the vector of a cell dropped in training.
    norm_groups
        Number of groups of the group norm; must divide ``width``.
    """

    def __init__(self, n_genes: int, width: int, *, dropout: float, norm_groups: int) -> None:
        super().__init__()
        self.gene = nn.Parameter(torch.randn(n_genes, width) * 0.005)
        self.mix = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.norm = nn.GroupNorm(norm_groups, width)

    def table(self, precision: torch.dtype, n_reads: int) -> Sequence[Tensor]:
        """Return the vectors of the genes in the form that :meth:`gene_sum` reads fastest.

        The sum takes as long as reading the vectors, so half the bytes are twice the speed; it is summed in float32.

        Parameters
        ----------
        precision
            Type of the vectors.
        n_reads
            Number of vectors that are read in all.
        """
        return _slices(self.gene.detach().to(precision), n_reads)

    def gene_sum(
        self, indices: Tensor, indptr: Tensor, values: Tensor, table: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return ``sum_g log1p(x_g) W_g`` for every cell, ``(n, width)``.

        Parameters
        ----------
        indices, indptr, values
            Sparse rows of raw counts, as in :class:`celloquy.CellBatch`.
        table
            Table of :meth:`table`, if no gradient is needed.
        """
        weights = values.log1p()
        if table is not None:
            return _weighted_sums(table, indices, indptr, weights)
        summed: Tensor = WeightedGeneSum.apply(self.gene, indices, indptr, weights)
        return summed

    def finish(self, cells: Tensor) -> Tensor:
        """Mix the summed vectors of every cell, ``(n, width)`` to ``(n, width)``."""
        mixed: Tensor = self.norm(self.dropout(self.mix(cells).relu()))
        return mixed
