"""The sum over the genes of a cell as a product of dense matrices, a chunk of cells at a time.

A GPU multiplies dense matrices so much faster than it gathers rows that writing out the zeros saves time, unless the
cells have few counts. No more than one chunk of cells × genes exists at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

DENSE_FROM = {"cuda": 200, "mps": 0}
"""Number of counts a cell from which a device multiplies dense matrices; other devices gather rows. MPS has no weighted
``embedding_bag``. The number for CUDA follows from the bytes that each way moves; ``benchmarks/gpu.py`` measures it."""

CHUNK_ENTRIES = 2**27
"""Number of entries (cells × genes) of a dense chunk."""


def prefers_dense(device: torch.device, n_counts: int, n_cells: int) -> bool:
    """Return whether a device sums a number of counts of a number of cells faster with dense matrices."""
    return device.type in DENSE_FROM and n_counts >= DENSE_FROM[device.type] * n_cells


def dense_sum(slices: Sequence[Tensor], indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of the rows of a table in slices, each ``(genes, columns)``, to ``(cells, width)``."""
    first = slices[0]
    out = first.new_empty(len(indptr) - 1, sum(columns.shape[1] for columns in slices))
    for cells, dense in _chunks(len(first), indices, indptr, weights.to(first)):
        out[cells] = torch.cat([dense @ columns for columns in slices], 1)
    return out


def dense_gradient(gradient: Tensor, n_genes: int, indices: Tensor, indptr: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of the table, ``(genes, width)``, from the gradient of the sums, ``(cells, width)``."""
    total = gradient.new_zeros(n_genes, gradient.shape[1])
    for cells, dense in _chunks(n_genes, indices, indptr, weights.to(gradient)):
        total.addmm_(dense.T, gradient[cells])
    return total


def _chunks(n_genes: int, indices: Tensor, indptr: Tensor, weights: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield runs of cells and their dense weights ``(cells, genes)``."""
    step = max(1, CHUNK_ENTRIES // n_genes)
    n_cells = len(indptr) - 1
    # The device is read once for all chunks, because the host waits for each read.
    edges = indptr[[*range(0, n_cells, step), n_cells]].tolist()
    for number, (first, last) in enumerate(pairwise(edges)):
        run = slice(number * step, min((number + 1) * step, n_cells))
        rows = torch.arange(run.stop - run.start, device=indptr.device)
        lengths = indptr[run.start + 1 : run.stop + 1] - indptr[run]
        place = torch.repeat_interleave(rows, lengths, output_size=last - first) * n_genes + indices[first:last]
        dense = weights.new_zeros(len(rows) * n_genes).index_add_(0, place, weights[first:last])
        yield run, dense.view(-1, n_genes)
