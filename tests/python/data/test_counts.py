"""Raw counts are found in any place and container, and nothing else is taken for them."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from celloquy.data import choose_counts
from celloquy.errors import ArgumentError, CountsError

CONTAINERS = {
    "csr_matrix": sparse.csr_matrix,
    "csc_matrix": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "dense": lambda x: np.array(x),
    "dense by column": np.asfortranarray,
    "int64 indices": lambda x: _wide(sparse.csr_matrix(x)),
    "unsorted": lambda x: _shuffled(sparse.csr_matrix(x)),
    "explicit zeros": lambda x: _with_zeros(x),
    "read-only": lambda x: _read_only(sparse.csr_matrix(x)),
}
DTYPES = [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64]


def _wide(x):
    x.indptr, x.indices = x.indptr.astype(np.int64), x.indices.astype(np.int64)
    return x


def _shuffled(x):
    for start, stop in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        x.indices[start:stop], x.data[start:stop] = x.indices[start:stop][::-1].copy(), x.data[start:stop][::-1].copy()
    x.has_sorted_indices = False
    return x


def _with_zeros(x):
    rows, columns = np.nonzero(np.ones_like(x, dtype=bool))
    return sparse.csr_matrix((x[rows, columns], (rows, columns)), shape=x.shape)


def _read_only(x):
    for array in (x.data, x.indices, x.indptr):
        array.flags.writeable = False
    return x


@st.composite
def matrices(draw, most=100):
    """Matrices of counts, with empty cells and genes."""
    cells, genes = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    counts = rng.poisson(draw(st.sampled_from([0.1, 1.0, 20.0])), size=(cells, genes)).clip(0, most)
    counts[rng.random(cells) < 0.2] = 0
    return counts


def read_all(counts, step):
    return np.vstack([counts.read(i, min(i + step, counts.n_cells)).toarray() for i in range(0, counts.n_cells, step)])


@pytest.mark.parametrize("container", CONTAINERS)
@given(matrix=matrices(), dtype=st.sampled_from(DTYPES), step=st.integers(1, 13))
def test_every_container_and_type_gives_the_same_counts(container, matrix, dtype, step):
    counts = choose_counts(ad.AnnData(CONTAINERS[container](matrix.astype(dtype))))
    np.testing.assert_array_equal(read_all(counts, step), matrix)
    np.testing.assert_array_equal(counts.genes_total(), matrix.sum(0))
    block = counts.read(0, counts.n_cells)
    assert block.dtype == np.float32
    assert block.has_canonical_format
    assert block.data.all()


@given(matrix=matrices())
def test_half_precision_is_read(matrix):
    counts = choose_counts(ad.AnnData(np.ones(matrix.shape), layers={"counts": matrix.astype(np.float16)}))
    np.testing.assert_array_equal(read_all(counts, 5), matrix)


def test_duplicate_entries_are_summed_without_overflow():
    adata = ad.AnnData(sparse.csr_matrix((1, 2), dtype=np.uint8))
    adata.layers["counts"] = sparse.csr_matrix(
        (np.array([200, 200], np.uint8), np.array([1, 1]), np.array([0, 2])), shape=(1, 2)
    )
    assert choose_counts(adata).read(0, 1).toarray().tolist() == [[0, 400]]


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize("place", ["X", "counts", "raw"])
def test_a_backed_file_gives_the_same_counts(tmp_path, form, place):
    matrix = np.random.default_rng(0).poisson(0.5, (30, 20)).astype(np.float32)
    stored = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.array}[form](matrix)
    adata = ad.AnnData(stored)
    if place == "counts":
        adata = ad.AnnData(stored * 0.5, layers={"counts": stored})
    elif place == "raw":
        adata.raw = adata
        adata.X = stored * 0.5
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    counts = choose_counts(backed)
    assert counts.source == {"X": "X", "counts": "layers['counts']", "raw": "raw"}[place]
    np.testing.assert_array_equal(read_all(counts, 7), matrix)
    np.testing.assert_array_equal(counts.genes_total(), matrix.sum(0))
    backed.file.close()


def test_a_value_deep_in_a_file_is_checked_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("celloquy.data.matrix.RUN_ENTRIES", 40)
    matrix = np.ones((100, 20), np.float32)
    matrix[70, 3] = np.nan
    ad.AnnData(sparse.csr_matrix(matrix)).write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    counts = choose_counts(backed)
    counts.read(0, 70)
    for read in (lambda: counts.read(70, 71), counts.genes_total):
        with pytest.raises(CountsError, match=r"NaN 1 times, first at nan in cell '70', gene '3'"):
            read()
    backed.file.close()


def example_counts(n_cells=20, n_genes=10):
    return np.random.default_rng(1).poisson(2.0, (n_cells, n_genes)).astype(np.float32)


def log_normalised(x):
    return np.log1p(x / x.sum(1, keepdims=True) * 1e4)


def test_the_first_place_that_holds_counts_is_taken_and_layer_overrides():
    x = example_counts()
    adata = ad.AnnData(log_normalised(x), layers={"spliced": x + 1})
    adata.raw = ad.AnnData(x)
    assert choose_counts(adata).source == "raw"
    assert choose_counts(adata, layer="spliced").source == "layers['spliced']"
    adata.layers["counts"] = x + 2
    assert choose_counts(adata).source == "layers['counts']"
    np.testing.assert_array_equal(choose_counts(adata, layer="raw").read(0, 20).toarray(), x)
    with pytest.raises(CountsError, match="log-normalised"):
        choose_counts(adata, layer="X")


def test_genes_of_raw_are_those_of_raw():
    full = ad.AnnData(example_counts())
    adata = full[:, :4].copy()
    adata.X = log_normalised(adata.X + 1)
    adata.raw = full
    assert len(choose_counts(adata).var_names) == 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: np.where(x == x.max(), np.nan, x), "NaN"),
        (lambda x: np.where(x == x.max(), -np.inf, x), "infinity"),
        (lambda x: np.where(x == x.max(), -3, x), r"negative values, first -3 in cell"),
        (lambda x: (x - x.mean(0)) / x.std(0), r"scaled(.|\n)*standard deviations of about 1"),
        (log_normalised, r"log-normalised(.|\n)*recover_counts"),
        (lambda x: x / x.sum(1, keepdims=True) * 1e4, r"is normalised(.|\n)*recover_counts"),
        (lambda x: x + 0.3 * np.random.default_rng(0).random(x.shape), "no counts"),
        (lambda x: x > 1, "bool"),
        (lambda x: x.astype(complex), "complex"),
    ],
)
@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix])
def test_values_that_are_no_counts_are_refused_by_what_they_are(spoil, message, container):
    adata = ad.AnnData(np.ones((20, 60), np.float32))
    # Set as a layer: AnnData itself changes some types of X.
    adata.layers["counts"] = container(spoil(example_counts(20, 60)))
    with pytest.raises(CountsError, match=message) as caught:
        choose_counts(adata, layer="counts")
    assert caught.value.remedy
    assert choose_counts(adata).source == "X"


def test_the_error_lists_what_each_place_holds_if_none_holds_counts():
    adata = ad.AnnData(log_normalised(example_counts()))
    adata.raw = ad.AnnData(example_counts() - 5)
    with pytest.raises(CountsError, match=r"X of adata is log-normalised(.|\n)*raw of adata"):
        choose_counts(adata)


def test_missing_or_empty_matrices_are_refused():
    with pytest.raises(CountsError, match="no matrix"):
        choose_counts(ad.AnnData(obs={"a": [1, 2]}))
    with pytest.raises(CountsError, match="no cells"):
        choose_counts(ad.AnnData(np.ones((0, 3))))
    with pytest.raises(CountsError, match="no genes"):
        choose_counts(ad.AnnData(np.ones((3, 0))))
    with pytest.raises(CountsError, match=r"'spliced'(.|\n)*'X'") as no_layer:
        choose_counts(ad.AnnData(example_counts()), layer="spliced")
    with pytest.raises(ArgumentError, match="not an AnnData") as no_object:
        choose_counts(example_counts())
    assert (no_layer.value.argument, no_object.value.argument) == ("layer", "adata")


@given(matrix=matrices())
def test_the_callers_arrays_are_never_written(matrix):
    stored = _read_only(_shuffled(sparse.csr_matrix(matrix.astype(np.float32))))
    before = stored.data.copy(), stored.indices.copy(), stored.indptr.copy()
    adata = ad.AnnData(np.zeros(matrix.shape, np.float32))
    adata.layers["counts"] = stored
    read_all(choose_counts(adata), 3)
    for array, old in zip((stored.data, stored.indices, stored.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_real_files_in_memory_and_backed_agree(shared):
    for file in sorted((shared / "data").glob("s*/*.h5ad"))[:6]:
        with h5py.File(file) as stored:
            assert "X" in stored
        memory, backed = ad.read_h5ad(file), ad.read_h5ad(file, backed="r")
        here, there = choose_counts(memory), choose_counts(backed)
        n = min(50, here.n_cells)
        assert (here.read(0, n) != there.read(0, n)).nnz == 0
        np.testing.assert_array_equal(here.genes_total(), there.genes_total())
        backed.file.close()


def test_an_error_names_the_layers_that_hold_counts():
    adata = ad.AnnData(np.array([[0.5, 1.0], [2.0, 0.3]]))
    adata.layers["spliced"] = np.array([[1.0, 2.0], [3.0, 0.0]])
    with pytest.raises(CountsError, match="pass layer='spliced', which holds whole numbers"):
        choose_counts(adata)


def test_rounding_errors_are_shown_and_told_to_be_rounded():
    adata = ad.AnnData(np.array([[1.0, 2.0000002], [3.0, 7.0]]))
    with pytest.raises(CountsError, match=r"almost counts[\s\S]*first 2\.0000002[\s\S]*round"):
        choose_counts(adata)


def like(kind, cells=60, genes=40, seed=0):
    """Counts as a tool leaves them, and the whole numbers that they round to."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, 12, size=(1, genes)), size=(cells, genes)).astype(np.float64)
    if kind == "rsem":
        counts += 0.27 * (counts > 0) * (rng.random(counts.shape) < 0.2)
    elif kind == "decontx":
        counts *= rng.uniform(0.85, 0.99, size=(cells, genes))
    elif kind == "expm1":
        counts *= 1 + 1e-7
    return counts.astype(np.float32) if kind != "expm1" else counts


@pytest.mark.parametrize("container", [np.array, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(
    ("kind", "named"),
    [("rsem", "RSEM, Salmon and kallisto"), ("decontx", "SoupX, decontX and CellBender"), ("expm1", "almost counts")],
)
def test_estimated_and_corrected_counts_are_named_and_rounded_when_asked(kind, named, container):
    adata = ad.AnnData(container(like(kind)))
    before = adata.copy()
    with pytest.raises(CountsError, match=rf"{named}[\s\S]*counts=\"round\""):
        choose_counts(adata)
    counts = choose_counts(adata, counts="round")
    assert counts.source == "X, rounded"
    read = counts.read(0, counts.n_cells)
    assert np.array_equal(read.toarray(), np.rint(like(kind)).astype(np.float32))
    assert np.all(read.data)
    assert np.array_equal(counts.genes_total(), np.rint(like(kind)).sum(0))
    assert np.array_equal(
        before.X.toarray() if sparse.issparse(before.X) else before.X, like(kind).astype(before.X.dtype)
    )


def test_whole_numbers_are_not_called_rounded():
    assert choose_counts(ad.AnnData(np.array([[1.0, 2.0]])), counts="round").source == "X"


def test_a_file_of_estimated_counts_is_rounded_as_it_is_read(tmp_path):
    ad.AnnData(sparse.csr_matrix(like("rsem"))).write_h5ad(tmp_path / "a.h5ad")
    counts = choose_counts(ad.read_h5ad(tmp_path / "a.h5ad", backed="r"), counts="round")
    assert np.array_equal(counts.read(3, 50).toarray(), np.rint(like("rsem"))[3:50])


def per_million(x):
    """Transcripts per million: counts divided by the length of each gene."""
    rate = x / (1 + np.arange(x.shape[1]) % 7)
    return 1e6 * rate / rate.sum(1, keepdims=True)


@pytest.mark.parametrize("counts", [None, "round"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (per_million, "normalised, not raw|same total"),
        (lambda x: np.log1p(1e4 * 0.93 * x / (0.93 * x).sum(1, keepdims=True)), "log-normalised"),
        (lambda x: np.log1p(like("decontx") / 3), "as logarithms do"),
        (lambda x: x - 1.1, "negative"),
        (lambda x: np.where(x == 1, np.nan, x), "not finite"),
    ],
    ids=["per million", "log-normalised", "logarithms", "negative", "missing"],
)
def test_what_is_no_count_is_not_rounded_either(spoil, message, counts):
    adata = ad.AnnData(sparse.csr_matrix(spoil(like("none").clip(1)).astype(np.float32)))
    with pytest.raises(CountsError, match=message):
        choose_counts(adata, counts=counts)


def test_another_word_than_round_is_refused():
    with pytest.raises(ArgumentError, match="counts"):
        choose_counts(ad.AnnData(np.ones((2, 2))), counts="floor")


def test_spliced_and_unspliced_counts_are_named_with_the_line_that_adds_them():
    adata = ad.AnnData(
        obs=pd.DataFrame(index=list("ab")),
        var=pd.DataFrame(index=list("cde")),
        layers={"spliced": np.ones((2, 3)), "unspliced": np.ones((2, 3))},
    )
    with pytest.raises(CountsError, match=r"layers\['spliced'\] \+ adata.layers\['unspliced'\]"):
        choose_counts(adata)


def test_a_layer_without_counts_is_refused_with_the_places_that_hold_some():
    adata = ad.AnnData(example_counts(), layers={"data": log_normalised(example_counts())})
    with pytest.raises(CountsError, match=r"layers\['data'\] of adata[\s\S]*layer='X'"):
        choose_counts(adata, layer="data")


@pytest.mark.parametrize("container", ["csr", "csc"])
@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_sparse_matrix_whose_parts_do_not_fit_each_other_is_refused(container, part):
    """anndata takes what a damaged file has for right, and scipy reads beyond such arrays."""
    matrix = sparse.csr_matrix(example_counts()).asformat(container)
    adata = ad.AnnData(matrix)
    if part == "data":
        adata.X.data = adata.X.data[: len(adata.X.data) // 2]
    elif part == "indices":
        adata.X.indices[0] = 10_000
    else:
        adata.X.indptr[1] = adata.X.indptr[-1] + 5
    with pytest.raises(CountsError, match="can't be read"):
        choose_counts(adata).read(0, adata.n_obs)


@pytest.mark.parametrize("threads", [1, 3])
def test_many_runs_are_checked_and_summed_by_any_number_of_threads(monkeypatch, threads):
    """The first value that is no count is told, whichever thread meets it first."""
    monkeypatch.setattr("celloquy.data.matrix.CACHED_ENTRIES", 50)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    counts = np.random.default_rng(0).poisson(1.0, (100, 20)).astype(np.float32)
    adata = ad.AnnData(sparse.csr_matrix(counts))
    np.testing.assert_array_equal(choose_counts(adata).genes_total(), counts.sum(0))
    counts[[40, 80], 3] = -1
    with pytest.raises(CountsError, match="negative") as caught:
        choose_counts(ad.AnnData(sparse.csr_matrix(counts)))
    assert "'40'" in caught.value.found
