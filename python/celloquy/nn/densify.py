"""The sum over a cell's genes as a product of dense matrices, a chunk of cells at a time.

A GPU multiplies dense matrices so much faster than it gathers rows that it pays to write out the zeros, except where
cells have few counts. There is never more than a chunk of cells × genes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

DENSE_FROM = {"cuda": 200, "mps": 0}
"""Counts a cell from which a device multiplies dense matrices; others gather. MPS has no weighted ``embedding_bag``.
For CUDA calculated from the bytes that either way moves; ``benchmarks/gpu.py`` measures it."""

CHUNK_ENTRIES = 2**27
"""Entries (cells × genes) that are dense at a time."""


def prefers_dense(device: torch.device, counts: int, cells: int) -> bool:
    """Whether to multiply dense matrices for so many counts of so many cells."""
    return device.type in DENSE_FROM and counts >= DENSE_FROM[device.type] * cells


def dense_sum(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of the rows of a table in slices, each ``(genes, columns)``, to ``(cells, width)``."""
    first = slices[0]
    out = first.new_empty(len(indptr) - 1, sum(columns.shape[1] for columns in slices))
    for cells, dense in _chunks(len(first), indices, indptr, weights.to(first)):
        out[cells] = torch.cat([dense @ columns for columns in slices], 1)
    return out


def dense_gradient(gradient: Tensor, genes: int, indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of the table, ``(genes, width)``, from that of the sums, ``(cells, width)``."""
    total = gradient.new_zeros(genes, gradient.shape[1])
    for cells, dense in _chunks(genes, indices, indptr, weights.to(gradient)):
        total.addmm_(dense.T, gradient[cells])
    return total


def _chunks(genes: int, indices: Tensor, indptr: Tensor, weights: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield runs of cells and their weights ``(cells, genes)``."""
    step = max(1, CHUNK_ENTRIES // genes)
    cells = len(indptr) - 1
    # One look at the device for all chunks, for each makes the host wait.
    edges = indptr[[*range(0, cells, step), cells]].tolist()
    for number, (first, last) in enumerate(pairwise(edges)):
        run = slice(number * step, min((number + 1) * step, cells))
        rows = torch.arange(run.stop - run.start, device=indptr.device)
        lengths = indptr[run.start + 1 : run.stop + 1] - indptr[run]
        place = torch.repeat_interleave(rows, lengths, output_size=last - first) * genes + indices[first:last]
        dense = weights.new_zeros(len(rows) * genes).index_add_(0, place, weights[first:last])
        yield run, dense.view(-1, genes)
