"""Genes in which cells differ are chosen, not those in which batches do."""

from dataclasses import replace

import numpy as np
import torch
from scipy import sparse

from celloquy.data import CellBatch
from celloquy.data.variable_genes import variable_genes


def cells(counts: np.ndarray, batch: np.ndarray) -> CellBatch:
    rows, n = sparse.csr_matrix(counts.astype(np.float32)), len(counts)
    return CellBatch(
        indptr=torch.from_numpy(rows.indptr.astype(np.int64)), indices=torch.from_numpy(rows.indices.astype(np.int32)),
        values=torch.from_numpy(rows.data), tissue=torch.zeros(n, dtype=torch.int64),
        position=torch.full((n, 2), torch.nan), batch=torch.from_numpy(batch), panel=torch.zeros(n, dtype=torch.int64),
        measured=torch.ones(1, counts.shape[1], dtype=torch.bool),
    )  # fmt: skip


def test_cell_types_choose_genes_and_batches_do_not():
    rng = np.random.default_rng(0)
    kind, batch = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    rates = np.full((300, 40), 3.0)
    rates[:, :5] *= np.where(kind == 1, 4, 0.5)[:, None]
    rates[:, 5:10] *= np.where(batch == 1, 4, 0.5)[:, None]
    some = cells(rng.poisson(rates), batch)
    np.testing.assert_array_equal(variable_genes(some, 5), np.arange(5))
    assert len(variable_genes(some, 100)) == 40
    measured = torch.arange(40)[None] != 2
    assert 2 not in variable_genes(replace(some, measured=measured), 5)
