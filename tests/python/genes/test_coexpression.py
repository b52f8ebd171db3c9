"""Genes that are expressed together within data sets are found, whatever differs between the data sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError

GENES = cq.GeneVocabulary.from_ids([f"ENSG{number:011d}" for number in range(12)])


def data_set(seed, cells=200):
    """Counts in which genes 0-3 follow one signal and genes 4-7 another; 8-11 follow none."""
    random = np.random.default_rng(seed)
    signal = np.exp(random.normal(0, 1, (cells, 3)))
    rate = np.repeat(signal, 4, axis=1)
    rate[:, 8:] = 1
    return sparse.csr_matrix(random.poisson(3 * rate).astype(np.float32))


def test_genes_that_follow_one_signal_are_neighbours():
    found = cq.genes.coexpression([data_set(0), data_set(1)], GENES, n_neighbors=3).matrix.toarray()
    for group in (range(4), range(4, 8)):
        for gene in group:
            assert set(np.argsort(-found[gene])[:3]) == {other for other in group if other != gene}
            assert found[gene][[other for other in group if other != gene]].min() > 0.15


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 11))
def test_the_matrix_is_symmetric_without_a_diagonal_and_each_gene_has_its_neighbours(seed, n):
    found = cq.genes.coexpression([data_set(seed, cells=40)], GENES, n_neighbors=n)
    assert found.features == found.ids == GENES.ids
    assert (found.matrix != found.matrix.T).nnz == 0
    assert not found.matrix.diagonal().any()
    assert found.matrix.data.min() > 0
    assert found.matrix.data.max() <= 1


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(12)), st.permutations(range(3)))
def test_the_order_of_genes_and_data_sets_changes_nothing(genes, sets):
    counts = [data_set(seed, cells=60) for seed in range(3)]
    # All neighbours, so that ties are none.
    whole = cq.genes.coexpression(counts, GENES, n_neighbors=12).matrix
    shuffled = [counts[place][:, list(genes)] for place in sets]
    again = cq.genes.coexpression(shuffled, GENES.take(genes), n_neighbors=12).matrix
    assert np.allclose(again.toarray(), whole[list(genes)][:, list(genes)].toarray(), atol=0.0101)


def test_correlations_are_those_of_numpy_shrunk_by_one_data_set_of_none():
    counts = data_set(3)
    dense = counts.toarray()
    log = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)
    expected = np.tanh(np.arctanh(np.corrcoef(log.T).clip(-0.9999, 0.9999)) / 2)
    np.fill_diagonal(expected, 0)
    found = cq.genes.coexpression([counts], GENES, n_neighbors=12).matrix.toarray()
    assert np.allclose(found, expected.round(2).clip(min=0), atol=0.0101)


def test_differences_between_data_sets_are_no_coexpression():
    random = np.random.default_rng(0)
    # Genes 0 and 1 are high in one data set and low in the other, and independent within each.
    rates = np.full((2, 12), 5.0)
    rates[0, :2], rates[1, :2] = 30, 1
    counts = [sparse.csr_matrix(random.poisson(rate, (400, 12)).astype(np.float32)) for rate in rates]
    assert cq.genes.coexpression(counts, GENES, n_neighbors=12).matrix[0, 1] < 0.1
    both = cq.genes.coexpression([sparse.vstack(counts)], GENES, n_neighbors=12)
    assert both.matrix[0, 1] > 0.3


def test_a_pair_seen_often_ranks_above_a_pair_seen_once():
    counts = [data_set(seed) for seed in range(4)]
    for one in counts[1:]:
        # The second group is in the first data set alone.
        one.data[(one.indices >= 4) & (one.indices < 8)] = 0
    found = cq.genes.coexpression(counts, GENES, n_neighbors=12).matrix
    assert found[4, 5] < 0.8 * found[0, 1]


def test_a_gene_in_few_cells_has_no_neighbours():
    counts = data_set(0).tolil()
    counts[9:, 0] = 0
    assert cq.genes.coexpression([counts.tocsr()], GENES).matrix[0].nnz == 0


def test_counts_stay_as_they_were_and_the_source_is_said():
    counts = data_set(0).astype(np.uint16)
    before = counts.copy()
    found = cq.genes.coexpression([counts], GENES)
    assert (counts != before).nnz == 0
    assert found.source == "correlations within 1 data sets, 200 cells"


@pytest.mark.parametrize(
    ("counts", "options", "argument"),
    [
        ([], {}, "counts"),
        ([np.ones((3, 12))], {}, "counts"),
        ([sparse.csr_matrix(np.ones((3, 11)))], {}, "counts"),
        ([data_set(0)], {"n_neighbors": 0}, "n_neighbors"),
    ],
)
def test_what_can_not_be_correlated_is_refused(counts, options, argument):
    with pytest.raises(ArgumentError) as caught:
        cq.genes.coexpression(counts, GENES, **options)
    assert caught.value.argument == argument
