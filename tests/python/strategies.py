"""What the tests are tried on: cells with no counts, genes that were not measured, tissues of one cell, any mask."""

import numpy as np
import torch
from hypothesis import strategies as st
from scipy import sparse

from celloquy.data.batch import CellBatch
from celloquy.nn.masking import BiLevelMask, Masking


@st.composite
def cell_batches(draw, min_cells=0, max_cells=9, max_genes=40):
    """Cells of several tissues and panels, some empty; counts only where a gene was measured."""
    cells, genes = draw(st.integers(min_cells, max_cells)), draw(st.integers(1, max_genes))
    panels, tissues = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    depth = draw(st.sampled_from([0.05, 0.6, 5.0, 300.0]))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    measured = random.random((panels, genes)) < draw(st.sampled_from([1.0, 0.7, 0.1]))
    panel = random.integers(0, panels, cells)
    counts = random.negative_binomial(0.7, 1 / (1 + depth), size=(cells, genes)) * measured[panel]
    counts[random.random(cells) < 0.2] = 0
    position = random.random((cells, 2)).astype(np.float32)
    position[random.random(cells) < 0.3] = np.nan
    rows = sparse.csr_matrix(counts.astype(np.float32))
    return CellBatch(
        indptr=torch.from_numpy(rows.indptr.astype(np.int64)),
        indices=torch.from_numpy(rows.indices.astype(np.int32)),
        values=torch.from_numpy(rows.data),
        tissue=torch.from_numpy(random.integers(0, tissues, cells)),
        position=torch.from_numpy(position),
        batch=torch.from_numpy(random.integers(-1, 2, cells)),
        panel=torch.from_numpy(panel),
        measured=torch.from_numpy(measured),
    )


def dense_counts(batch: CellBatch) -> torch.Tensor:
    """The counts as ``(cells, genes)``."""
    rows = (batch.values.numpy(), batch.indices.numpy(), batch.indptr.numpy())
    return torch.from_numpy(sparse.csr_matrix(rows, shape=(len(batch), batch.n_genes)).toarray())


def masks(cells):
    """Bi-level masks of a number of cells, from nothing hidden to nearly everything."""
    return st.builds(
        lambda seed, share, beta, cap: BiLevelMask.draw(cells, Masking(share=share, beta=beta, cap=cap), seed=seed),
        seed=st.integers(0, 2**31),
        share=st.sampled_from([0.0, 0.3, 0.75, 1.0]),
        beta=st.sampled_from([(5.0, 13.0), (1.0, 1.0), (50.0, 1.0)]),
        cap=st.sampled_from([0.9, 1.0]),
    )
