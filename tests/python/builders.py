"""Builders of cells that several test files need."""

import numpy as np
import torch
from scipy import sparse

from celloquy.data.batch import CellBatch


def cell_batch(counts, *, tissue=None, position=None, batch=None, panel=None, measured=None) -> CellBatch:
    """Make a batch of dense counts ``(cells, genes)``.

    By default all cells are of one tissue, one panel that measures all genes, and no batch, and have no position.
    """
    rows = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    n_cells, n_genes = rows.shape
    return CellBatch(
        indptr=torch.from_numpy(rows.indptr.astype(np.int64)),
        indices=torch.from_numpy(rows.indices.astype(np.int32)),
        values=torch.from_numpy(rows.data),
        tissue=torch.zeros(n_cells, dtype=torch.int64) if tissue is None else torch.as_tensor(tissue),
        position=torch.full((n_cells, 2), torch.nan) if position is None else torch.as_tensor(position),
        batch=torch.full((n_cells,), -1) if batch is None else torch.as_tensor(batch),
        panel=torch.zeros(n_cells, dtype=torch.int64) if panel is None else torch.as_tensor(panel),
        measured=torch.ones(1, n_genes, dtype=torch.bool) if measured is None else torch.as_tensor(measured),
    )
