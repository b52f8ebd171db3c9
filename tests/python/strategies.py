"""Random inputs of the tests: cells without counts, genes that were not measured, tissues of one cell, any mask."""

import numpy as np
import torch
from hypothesis import strategies as st
from scipy import sparse

from builders import cell_batch
from celloquy.data.batch import CellBatch
from celloquy.nn.masking import BiLevelMask, Masking


@st.composite
def cell_batches(draw, min_cells=0, max_cells=9, max_genes=40):
    """Cells of several tissues and panels, some empty; counts only where a gene was measured."""
    n_cells, n_genes = draw(st.integers(min_cells, max_cells)), draw(st.integers(1, max_genes))
    n_panels, n_tissues = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    depth = draw(st.sampled_from([0.05, 0.6, 5.0, 300.0]))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    measured = random.random((n_panels, n_genes)) < draw(st.sampled_from([1.0, 0.7, 0.1]))
    panel = random.integers(0, n_panels, n_cells)
    counts = random.negative_binomial(0.7, 1 / (1 + depth), size=(n_cells, n_genes)) * measured[panel]
    counts[random.random(n_cells) < 0.2] = 0
    position = random.random((n_cells, 2)).astype(np.float32)
    position[random.random(n_cells) < 0.3] = np.nan
    tissue, batch = random.integers(0, n_tissues, n_cells), random.integers(-1, 2, n_cells)
    return cell_batch(counts, tissue=tissue, position=position, batch=batch, panel=panel, measured=measured)


def dense_counts(batch: CellBatch) -> torch.Tensor:
    """Return the counts as a dense matrix ``(cells, genes)``."""
    rows = (batch.values.numpy(), batch.indices.numpy(), batch.indptr.numpy())
    return torch.from_numpy(sparse.csr_matrix(rows, shape=(len(batch), batch.n_genes)).toarray())


def masks(n_cells):
    """Bi-level masks of a number of cells, from nothing hidden to nearly everything."""
    return st.builds(
        lambda seed, share, beta, cap: BiLevelMask.draw(n_cells, Masking(share=share, beta=beta, cap=cap), seed=seed),
        seed=st.integers(0, 2**31),
        share=st.sampled_from([0.0, 0.3, 0.75, 1.0]),
        beta=st.sampled_from([(5.0, 13.0), (1.0, 1.0), (50.0, 1.0)]),
        cap=st.sampled_from([0.9, 1.0]),
    )
