"""The sparse embedder equals the dense product, forward and backward."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from celloquy.nn.expression import ExpressionEmbedder

GENES, WIDTH = 25, 8


@st.composite
def count_rows(draw):
    """Counts of a few cells, with empty cells and huge counts."""
    cells = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = rng.poisson(draw(st.sampled_from([0.05, 0.5, 3, 5000])), size=(cells, GENES))
    counts[rng.random(cells) < 0.2] = 0
    return sparse.csr_matrix(counts.astype(np.float32))


def embedder() -> ExpressionEmbedder:
    torch.manual_seed(0)
    return ExpressionEmbedder(GENES, WIDTH, dropout=0.0, norm_groups=4)


def tensors(rows: sparse.csr_matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.from_numpy(rows.indices.astype(np.int32)),
        torch.from_numpy(rows.indptr.astype(np.int64)),
        torch.from_numpy(rows.data),
    )


@given(rows=count_rows())
def test_sum_of_genes_equals_the_dense_product(rows):
    model = embedder()
    found = model.gene_sum(*tensors(rows))
    expected = torch.from_numpy(rows.toarray()).log1p() @ model.gene
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@given(rows=count_rows(), seed=st.integers(0, 1000))
def test_gradient_equals_the_dense_gradient(rows, seed):
    model = embedder()
    toward = torch.randn(rows.shape[0], WIDTH, generator=torch.Generator().manual_seed(seed))
    (model.gene_sum(*tensors(rows)) * toward).sum().backward()
    found, model.gene.grad = model.gene.grad, None
    ((torch.from_numpy(rows.toarray()).log1p() @ model.gene) * toward).sum().backward()
    torch.testing.assert_close(found, model.gene.grad, rtol=1e-5, atol=1e-6)


@given(rows=count_rows(), seed=st.integers(0, 1000))
def test_order_of_genes_within_a_cell_is_irrelevant(rows, seed):
    model, rng = embedder(), np.random.default_rng(seed)
    shuffled = rows.copy()
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        order = start + rng.permutation(stop - start)
        shuffled.indices[start:stop], shuffled.data[start:stop] = rows.indices[order], rows.data[order]
    torch.testing.assert_close(model.gene_sum(*tensors(shuffled)), model.gene_sum(*tensors(rows)), rtol=1e-5, atol=1e-6)


def test_a_cell_without_counts_gets_a_finite_vector():
    model = embedder()
    indices, indptr, values = tensors(sparse.csr_matrix((3, GENES), dtype=np.float32))
    assert model.finish(model.gene_sum(indices, indptr, values)).isfinite().all()
