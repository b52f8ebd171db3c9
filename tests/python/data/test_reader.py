"""The counts that a model reads equal the plain sums over columns."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from strategies import dense_counts

GENES = {"CD3E": "ENSG00000198851", "LYZ": "ENSG00000090382", "MS4A1": "ENSG00000156738", "MT-CO1": "ENSG00000198804"}


@st.composite
def objects(draw):
    """An AnnData in which a gene may have two columns and a column may be no gene, and the expected counts."""
    columns = draw(st.lists(st.sampled_from([*GENES, *GENES.values(), "nothing known"]), unique=True, min_size=1))
    cells = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]))
    counts = (random.poisson(2, (cells, len(columns))) * random.integers(0, 60, (cells, len(columns)))).clip(0, 255)
    counts[0] = 200
    if "nothing known" in columns:
        # Low counts, because an object with a low coverage is refused.
        counts[:, columns.index("nothing known")] = 1
    container = draw(st.sampled_from([sparse.csr_matrix, sparse.csc_matrix, np.asarray]))
    adata = ad.AnnData(container(counts.astype(dtype)), var=pd.DataFrame(index=columns))
    expected = np.zeros((cells, len(GENES)))
    for place, (symbol, gene) in enumerate(GENES.items()):
        for name in (symbol, gene):
            if name in columns:
                expected[:, place] += counts[:, columns.index(name)]
    return adata, expected


@pytest.fixture(scope="module")
def vocabulary():
    return cq.GeneVocabulary(tuple(GENES.values()), tuple(GENES), ("human",) * len(GENES))


@given(objects(), st.data())
def test_columns_of_one_gene_are_summed_and_the_object_is_unchanged(vocabulary, made, data):
    adata, expected = made
    assume(list(adata.var_names) != ["nothing known"])
    before = as_bytes(adata.X)
    cells = CellSource(adata).over(vocabulary)
    for _ in range(2):
        assert np.array_equal(dense_counts(cells.read_all()).numpy(), expected)
    start = data.draw(st.integers(0, adata.n_obs - 1))
    assert np.array_equal(dense_counts(cells.read(start, adata.n_obs)).numpy(), expected[start:])
    assert as_bytes(adata.X) == before


def as_bytes(matrix):
    """Return all that a matrix holds, in the order of its entries."""
    arrays = (matrix.data, matrix.indices, matrix.indptr) if sparse.issparse(matrix) else (matrix,)
    return [array.tobytes() for array in arrays]


def embeddable():
    adata = ad.AnnData(sparse.csr_matrix(np.ones((4, len(GENES)), dtype=np.float32)))
    adata.var_names = list(GENES)
    adata.obs["a"], adata.obs["b"] = "x", "y"
    adata.obsm["spatial"] = np.arange(8.0).reshape(4, 2)
    return adata


def test_positions_may_be_sparse_and_text_is_refused():
    adata = embeddable()
    dense = CellSource(adata, cq.CellColumns(spatial_key="spatial")).position
    adata.obsm["spatial"] = sparse.csr_matrix(adata.obsm["spatial"])
    np.testing.assert_array_equal(CellSource(adata, cq.CellColumns(spatial_key="spatial")).position, dense)
    adata.obsm["spatial"] = pd.DataFrame({"x": list("abcd"), "y": 1.0}, index=adata.obs_names)
    with pytest.raises(cq.errors.ArgumentError, match="can't be used as positions"):
        CellSource(adata, cq.CellColumns(spatial_key="spatial"))


def test_several_columns_are_to_be_joined_first():
    with pytest.raises(cq.errors.ArgumentError, match=r"`batch_key` can't be used[\s\S]*join several columns"):
        CellSource(embeddable(), cq.CellColumns(batch_key=["a", "b"]))
