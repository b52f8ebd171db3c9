"""The dense products that a GPU computes equal the sums of gathered rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from celloquy.nn import densify
from celloquy.nn.expression import ExpressionEmbedder

GENES, WIDTH = 25, 8


def counts(n_cells: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices, indptr and values of cells, some of them empty."""
    random = torch.Generator().manual_seed(seed)
    dense = torch.poisson(torch.rand(n_cells, GENES, generator=random), generator=random)
    dense[torch.rand(n_cells, generator=random) < 0.2] = 0
    rows, columns = dense.nonzero(as_tuple=True)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(rows, minlength=n_cells).cumsum(0)])
    return columns.to(torch.int32), indptr, dense[rows, columns]


@given(cells=st.integers(0, 30), seed=st.integers(0, 2**31), chunk=st.integers(1, 200))
def test_dense_sums_and_gradients_equal_gathered_ones(cells, seed, chunk):
    torch.manual_seed(0)
    model, given_counts = ExpressionEmbedder(GENES, WIDTH, dropout=0.0, norm_groups=4), counts(cells, seed)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(densify, "CHUNK_ENTRIES", chunk)
        for way in ("gathered", "dense"):
            model.gene.grad = None
            sums = model.gene_sum(*given_counts)
            sums.square().sum().backward()
            found[way] = sums.detach(), model.gene.grad
            patch.setattr(densify, "DENSE_FROM", {"cpu": 0})
        table = model.table(torch.float32, 0)
        torch.testing.assert_close(model.gene_sum(*given_counts, table), found["gathered"][0], rtol=1e-5, atol=1e-6)
    for gathered, dense in zip(*found.values(), strict=True):
        torch.testing.assert_close(dense, gathered, rtol=1e-5, atol=1e-6)


def test_a_gpu_gathers_cells_with_few_counts_and_a_cpu_all_cells():
    cuda, mps, cpu = map(torch.device, ("cuda", "mps", "cpu"))
    few, many = densify.DENSE_FROM["cuda"] * 10 - 1, densify.DENSE_FROM["cuda"] * 10
    assert [densify.prefers_dense(cuda, counts, 10) for counts in (few, many)] == [False, True]
    assert densify.prefers_dense(mps, few, 10)
    assert not densify.prefers_dense(cpu, many, 10)
