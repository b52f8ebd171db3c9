"""The counts that a model reads equal the plain sums over columns."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.data import CellColumns, CellSource
from celloquy.data.features import genes_among
from celloquy.errors import ArgumentError, CountsError, GenesError
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
    nothing = ("",) * len(GENES)
    return cq.GeneVocabulary(tuple(GENES.values()), tuple(GENES), nothing, nothing, nothing)


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


def test_a_column_that_is_there_twice_is_refused():
    adata = ad.AnnData(np.ones((4, 2), dtype=np.float32), var=pd.DataFrame(index=["CD3E", "LYZ"]))
    column = pd.DataFrame({"sample": ["a", "a", "b", "b"]}, index=adata.obs_names)
    adata.obs = pd.concat([column, column], axis=1)
    with pytest.raises(ArgumentError, match=r"Column 'sample' is in adata\.obs several times"):
        CellSource(adata, CellColumns(tissue_key="sample"))


def test_a_layer_called_x_or_raw_is_not_taken_for_x_or_raw():
    counts = np.arange(8, dtype=np.float32).reshape(4, 2)
    adata = ad.AnnData(counts, var=pd.DataFrame(index=["CD3E", "LYZ"]), layers={"raw": counts + 50, "X": counts + 100})
    for columns in (CellColumns(), CellColumns(layer="X")):
        source = CellSource(adata, columns)
        assert source.counts.source == "X"
        np.testing.assert_array_equal(source.counts.read(0, 4).toarray(), counts)
    assert CellSource(adata, CellColumns(layer="raw")).counts.source == "layers['raw']"
    adata.X = None
    with pytest.raises(CountsError, match="adata has no matrix of counts"):
        CellSource(adata)


@pytest.mark.parametrize("argument", ["layer", "counts", "tissue_key", "spatial_key", "batch_key", "species"])
@pytest.mark.parametrize("value", [5, b"X", ["a"], {"a": 1}, pd.Series([1, 2]), np.array([1, 2])], ids=str)
def test_what_is_no_name_is_refused_in_one_line(argument, value):
    adata = ad.AnnData(np.ones((2, 2), dtype=np.float32), var=pd.DataFrame(index=["CD3E", "LYZ"]))
    with pytest.raises(ArgumentError, match=f"`{argument}` can't be used") as caught:
        CellSource(adata, CellColumns(**{argument: value}))
    assert "\n" not in caught.value.problem


FEATURES = [
    ("MS4A1", "Gene Expression"),
    ("CD3E", "Antibody Capture"),
    ("LYZ", "Gene Expression"),
    ("LYZ-1", "CRISPR Guide Capture"),
    ("CD3E-1", "Gene Expression"),
    ("MT-CO1", "Custom"),
    ("chr1:1-200", "Peaks"),
    ("LYZ_hashtag", "Multiplexing Capture"),
]


@pytest.mark.parametrize("place", ["X", "raw"])
def test_antibodies_guides_and_peaks_never_reach_a_gene(vocabulary, place):
    names, types = zip(*FEATURES, strict=True)
    counts = np.tile(2 ** np.arange(len(names)), (3, 1)).astype(np.float32)
    adata = ad.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame({"feature_types": types}, index=list(names)))
    if place == "raw":
        adata.raw = adata
        adata = adata[:, :1].copy()
        adata.X = adata.X.astype(np.float32) * 0.3
    cells = CellSource(adata).over(vocabulary)
    assert dense_counts(cells.read_all()).tolist() == [[16, 4, 1, 0]] * 3
    assert cells.report.not_genes == ("CD3E", "LYZ-1", "MT-CO1", "chr1:1-200", "LYZ_hashtag")
    assert (cells.report.names, cells.report.share) == (3, 1)
    assert CellSource(adata).expressed_names() == ["MS4A1", "LYZ", "CD3E-1"]
    # They keep their columns: the counts of a cell with all features can still be had.
    assert cells.own_counts(0, 3).shape == (3, len(names))


@pytest.mark.parametrize(
    ("types", "genes"),
    [
        (["gex", "adt", "atac", "gex"], [0, 3]),
        (["Gene Expression", None, "Whatever 10x invents", "Gene Expression"], [0, 1, 3]),
        (["Protein", "my own word", "x", None], [1, 2, 3]),
        (["protein_coding", "lncRNA", "protein_coding", "lncRNA"], [0, 1, 2, 3]),
    ],
)
def test_a_feature_is_a_gene_by_its_type(types, genes):
    var = pd.DataFrame({"feature_types": pd.Series(types, dtype="object")})
    for table in (var, var.astype("category")):
        assert np.flatnonzero(genes_among(table, "X")).tolist() == genes


def test_an_object_without_a_gene_is_refused_by_its_types():
    var = pd.DataFrame({"feature_types": ["Peaks", "Peaks"]}, index=["CD3E", "LYZ"])
    with pytest.raises(GenesError, match=r"None of the features in X of adata are genes[\s\S]*Peaks"):
        CellSource(ad.AnnData(np.ones((2, 2)), var=var))


def test_what_is_wrong_with_the_genes_of_an_object_is_told_once(vocabulary):
    adata = ad.AnnData(np.array([[1.0, 9, 1, 1]] * 3), var=pd.DataFrame(index=["CD3E", "xx1", "Cd3e", "Lyz2"]))
    source = CellSource(adata)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        source.over(vocabulary)
        source.over(vocabulary.take([0, 1]))
        source.over(vocabulary.take([0]), selected=True)
    assert sorted(one.category.__name__ for one in told) == ["GeneCoverageWarning", "MixedSpeciesWarning"]
