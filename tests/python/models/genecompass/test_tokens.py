"""Tokens: the expressed genes of a cell with their values, whatever the form of the counts."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from builders import cell_batch
from celloquy.data import CellSource
from celloquy.models.genecompass.medians import GeneMedians
from celloquy.models.genecompass.tokens import tokenise
from gene_examples import HUMAN, MOUSE, PAIRS, gene_cells, small_gene_model
from strategies import cell_batches, dense_counts

MODEL = small_gene_model()


def tokens_of(adata, model=MODEL):
    return model.tokenise(CellSource(adata).over(model.vocabulary).read_all())


def slowly(counts, median, context):
    """Ids and values of one cell."""
    found = sorted((-count / median[gene], gene) for gene, count in enumerate(counts) if count)[:context]
    return [gene for _, gene in found], [np.log2(1 - negative) for negative, _ in found]


@given(batch=cell_batches(), context=st.integers(1, 50), seed=st.integers(0, 99), scaled=st.booleans())
def test_tokens_are_the_genes_by_falling_value_and_ties_by_their_order(batch, context, seed, scaled):
    # Few medians, so that many genes tie: 2 / 1 and 1 / 0.5, 1 / 0.1 and 3 / 0.3.
    known = torch.tensor([0.5, 1.0, 0.1, 0.3], dtype=torch.float64)
    random = torch.Generator().manual_seed(seed)
    median = known[torch.randint(4, (2, batch.n_genes), generator=random)]
    species = torch.randint(2, (len(batch),), generator=random)
    found = tokenise(batch, torch.arange(batch.n_genes) + 2, median, species, context=context, scaled=scaled)
    for cell, counts in enumerate(dense_counts(batch).numpy().astype(float)):
        own = slice(found.indptr[cell], found.indptr[cell + 1])
        ratio = counts / median[species[cell]].numpy()
        order = sorted(np.flatnonzero(counts), key=lambda gene: (-round(ratio[gene], 9), gene))
        assert (found.ids[own] - 2).tolist() == order[:context]
        scale = 1e4 / max(counts.sum(), 1) if scaled else 1.0
        np.testing.assert_allclose(found.values[own], np.log2(1 + scale * ratio[order[:context]]), rtol=2e-6)
        assert found.cut[cell] == len(order) - len(order[:context])


@given(
    seed=st.integers(0, 50),
    genes=st.permutations(range(len(HUMAN))),
    dtype=st.sampled_from([np.int32, np.int64, np.float32, np.float64, np.uint16]),
    storage=st.sampled_from([np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array]),
    zeros=st.booleans(),
    split=st.booleans(),
)
def test_tokens_depend_on_no_order_of_genes_duplicates_zeros_type_or_storage(seed, genes, dtype, storage, zeros, split):
    adata = gene_cells(seed=seed)
    expected = tokens_of(adata)
    counts, names = adata.X.toarray()[:, genes], [HUMAN[gene] for gene in genes]
    if split:  # a gene of two columns
        part = np.minimum(counts[:, :1], 1)
        counts, names = np.hstack([counts, part]), [*names, names[0]]
        counts[:, :1] -= part
    matrix = storage(counts.astype(dtype))
    if zeros and sparse.issparse(matrix):
        matrix = matrix.astype(dtype)
        matrix.data[:1] = 0
        counts = matrix.toarray()
        plain = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
        plain.var_names = names
        expected = tokens_of(plain)
    other = AnnData(matrix)
    other.var_names = names
    found = tokens_of(other)
    for part in ("indptr", "ids", "values", "species", "cut"):
        assert torch.equal(getattr(found, part), getattr(expected, part))


def test_a_cell_is_cut_to_the_context_and_says_how_much_was_left_out():
    adata = gene_cells(6, empty=True)
    short = small_gene_model(context=5)
    found, whole = tokens_of(adata, short), tokens_of(adata)
    assert found.lengths.tolist() == [min(5, n) for n in whole.lengths.tolist()]
    assert (found.cut + found.lengths).tolist() == whole.lengths.tolist()
    assert found.lengths[0] == 0
    assert found.lengths[-1] == 1
    ids, values = found.padded()
    assert ids.shape == values.shape == (6, 5)
    assert ((ids == 0) == (values == 0)).all()


def test_a_mouse_cell_carries_the_tokens_of_human_homologues_and_its_own_medians():
    counts = gene_cells(5).X.toarray()[:, :PAIRS]
    human, mouse = (AnnData(counts.copy()) for _ in range(2))
    human.var_names, mouse.var_names = HUMAN[:PAIRS], MOUSE[:PAIRS]
    of_human, of_mouse = tokens_of(human), tokens_of(mouse)
    assert of_human.species.tolist() == [0] * 5
    # Every gene is a pair, so that nothing but the names tells the species.
    assert of_mouse.species.tolist() == [1] * 5
    for cell in range(5):
        own = slice(of_human.indptr[cell], of_human.indptr[cell + 1])
        assert set(of_human.ids[own].tolist()) == set(of_mouse.ids[own].tolist())
    first, medians = of_mouse.ids[0], MODEL.median
    count = counts[0][int(first) - 2]
    assert float(of_mouse.values[0]) == pytest.approx(
        np.log2(1 + count * 1e4 / counts[0].sum() / float(medians[MODEL.partner[first]])), rel=1e-5
    )
    assert float(medians[first]) != float(medians[MODEL.partner[first]])


def test_where_a_batch_does_not_say_it_the_species_is_that_of_the_genes_it_measures():
    n = len(MODEL.vocabulary)
    measured = torch.zeros(3, n, dtype=torch.bool)
    measured[:, :PAIRS] = True
    measured[1, PAIRS : len(HUMAN)] = True
    measured[2, len(HUMAN) :] = True
    batch = cell_batch(np.ones((3, n)) * measured.numpy(), panel=torch.arange(3), measured=measured)
    assert MODEL.species_of(batch).tolist() == [0, 0, 1]


def test_values_do_not_grow_with_depth_if_counts_are_scaled_and_do_if_not():
    adata, deeper = gene_cells(), gene_cells()
    deeper.X = deeper.X * 3
    raw = small_gene_model(depth="raw")
    np.testing.assert_allclose(tokens_of(adata).values, tokens_of(deeper).values, rtol=1e-6)
    assert (tokens_of(adata, raw).values < tokens_of(deeper, raw).values).all()
    assert torch.equal(tokens_of(adata, raw).ids, tokens_of(deeper).ids)


def medians_of(batches, *, scaled=False):
    counted = GeneMedians(batches[0].n_genes, scaled=scaled)
    for batch in batches:
        counted.add(batch)
    return counted.medians()


@given(batch=cell_batches(), scaled=st.booleans())
def test_the_median_of_a_gene_is_over_the_cells_that_express_it(batch, scaled):
    counts = dense_counts(batch).double().numpy()
    if scaled:
        counts *= 1e4 / counts.sum(1, keepdims=True).clip(1e-9)
    expected = [np.median(column[column > 0]) if column.any() else 0 for column in counts.T]
    found = medians_of([batch], scaled=scaled)
    np.testing.assert_allclose(found, expected, rtol=2**-9 if scaled else 1e-6)
    in_parts = medians_of([batch[:1], batch[1:]], scaled=scaled)
    assert torch.equal(in_parts, found)


def test_medians_of_both_species_come_from_their_own_cells_and_else_from_the_other():
    human, mouse = gene_cells(30), gene_cells(30, seed=1, genes=MOUSE)
    human.X = human.X.multiply(np.arange(len(HUMAN)) > 0).tocsr()
    model = small_gene_model(depth="raw")
    batches = [CellSource(one).over(model.vocabulary).read_all() for one in (human, mouse)]
    model.survey(iter(batches))
    of_human, of_mouse = (medians_of([batch]) for batch in batches)
    first = int(model.token[0])
    assert of_human[0] == 0 < of_mouse[0]
    assert model.median[first] == of_mouse[0] == model.median[model.partner[first]]
    assert model.median[first + 1] == of_human[1]
    assert model.median[model.partner[first + 1]] == of_mouse[1]
    assert model.median[model.token[len(HUMAN)]] == of_mouse[len(HUMAN)] > 0


@pytest.fixture(scope="module")
def reference(shared):
    """The released script's tokens, and the model of its token table that makes them."""
    folder = shared / "fixtures" / "genecompass"
    table = pd.read_csv(folder / "tokenised_tokens.tsv", sep="\t", keep_default_na=False)
    medians = dict(pd.read_csv(folder / "tokenised_medians.tsv", sep="\t").itertuples(index=False))
    homologue = {int(row.homologue_token): row for row in table.itertuples() if row.homologue_token}
    rows, token = [], []
    for row in table[2:].itertuples():
        if row.species == "human":
            other = homologue.get(row.token)
            rows.append((row.gene, row.symbol, *((other.gene, other.symbol) if other else ("", "")), ""))
            token.append(row.token)
        elif not row.homologue_token:
            rows.append(("", "", row.gene, row.symbol, ""))
            token.append(row.token)
    config = cq.GeneModelConfig(width=4, heads=1, layers=1, priors=(), words="own", depth="raw", positions="none")
    model = cq.GeneModel(config, cq.GeneVocabulary(*zip(*rows, strict=True)))
    model.token = torch.tensor(token)
    model.partner = torch.arange(len(table))
    for human, mouse in homologue.items():
        model.partner[human] = mouse.token
    model.median = torch.tensor([medians.get(gene, 0.0) for gene in table["gene"]], dtype=torch.float64)
    # The symbols are made up, so no table of ours knows them.
    numbers = dict(np.load(folder / "tokenised.npz"))
    ids = dict(zip(table["symbol"], table["gene"], strict=True))
    numbers["genes"] = np.array([ids.get(symbol, symbol) for symbol in numbers["symbols"]])
    return numbers, model


def test_tokens_equal_those_of_the_released_script(reference):
    numbers, model = reference
    kept = np.isin(numbers["cells"], numbers["kept_cells"])
    adata = AnnData(sparse.csr_matrix(numbers["counts"][kept]))
    adata.var_names = numbers["genes"]
    ids, values = tokens_of(adata, model).padded()
    assert ids.shape[1] == numbers["length"].max()
    np.testing.assert_array_equal(ids, numbers["input_ids"][:, : ids.shape[1]])
    np.testing.assert_allclose(values, numbers["values"][:, : ids.shape[1]], atol=1e-6)
    assert not numbers["input_ids"][:, ids.shape[1] :].any()


def test_mouse_tokens_are_those_of_the_released_script_but_for_the_shared_words(reference):
    numbers, model = reference
    adata = AnnData(sparse.csr_matrix(numbers["mouse_counts"]))
    adata.var_names = numbers["mouse_genes"]
    ids, values = tokens_of(adata, model).padded()
    np.testing.assert_array_equal(model.partner[ids], numbers["mouse_input_ids"][:, : ids.shape[1]])
    np.testing.assert_allclose(values, numbers["mouse_values"][:, : ids.shape[1]], atol=1e-6)
