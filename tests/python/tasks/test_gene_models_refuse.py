"""Gene models and objects that do not fit: one clear error, or what is stated of them; the object stays as it was."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CelloquyError, CheckpointError, CountsError, GenesError, ModelError
from gene_examples import HUMAN, MOUSE, gene_cells, small_gene_model

MODEL = small_gene_model()
NO_MEDIANS = small_gene_model()
NO_MEDIANS.median = torch.zeros_like(NO_MEDIANS.median)


def whole_object(counts=None, genes=HUMAN, n=40) -> ad.AnnData:
    """Cells with all that an object may have, so that a change of it is seen."""
    adata = gene_cells(n, genes=genes)
    if counts is not None:
        adata.X = sparse.csr_matrix(counts(adata.X.toarray()))
    adata.obs["type"] = pd.Categorical(np.array(["T", "B"])[np.arange(n) % 2])
    adata.obsm["X_pca"] = np.ones((n, 2))
    adata.layers["other"] = adata.X * 0.5
    adata.uns["celloquy"] = {"older": {"version": "0"}}
    return adata


def assert_same(adata: ad.AnnData, before: ad.AnnData) -> None:
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    for place in ("obsm", "layers", "uns"):
        assert list(getattr(adata, place)) == list(getattr(before, place))
    assert adata.uns["celloquy"] == before.uns["celloquy"]
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


VERBS = {
    "embed": lambda adata, model: cq.embed(adata, model=model, progress=False),
    "annotate": lambda adata, model: cq.annotate(
        adata, reference=whole_object(), label_key="type", model=model, epochs=1, progress=False
    ),
    "gene_embeddings": lambda adata, model: cq.gene_embeddings(model, adata, by="type", progress=False),
    "gene_attention": lambda adata, model: cq.gene_attention(model, adata, HUMAN[:3], progress=False),
}
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@each_verb
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (lambda x: x * 1.5, "not raw counts"),
        (np.log1p, "not raw counts"),
        (lambda x: -x, "negative values"),
        (lambda x: np.where(x > 0, np.nan, 0), "not finite"),
    ],
)
def test_what_are_no_counts_is_refused(verb, counts, message):
    adata = whole_object(counts)
    before = adata.copy()
    with pytest.raises(CountsError, match=message):
        verb(adata, MODEL)
    assert_same(adata, before)


@each_verb
def test_genes_of_another_species_are_refused_by_name(verb):
    adata = whole_object()
    adata.var_names = [f"ENSDARG{i:011d}" for i in range(adata.n_vars)]
    before = adata.copy()
    with pytest.raises(GenesError, match="neither human nor mouse") as caught:
        verb(adata, MODEL)
    assert caught.value.argument == "species"
    assert_same(adata, before)


@each_verb
def test_genes_of_both_species_in_one_object_are_refused(verb):
    human, mouse = whole_object(), whole_object(genes=MOUSE)
    adata = ad.AnnData(sparse.hstack([human.X, mouse.X]).tocsr(), obs=human.obs)
    adata.var_names = [*HUMAN, *MOUSE]
    with pytest.raises(GenesError, match="human and mouse together"):
        verb(adata, MODEL)


@each_verb
def test_a_model_without_any_median_is_refused_with_what_to_do(verb):
    adata = whole_object()
    before = adata.copy()
    with pytest.raises(ModelError, match=r"no median of any gene[\s\S]*celloquy convert --medians") as caught:
        verb(adata, NO_MEDIANS)
    assert caught.value.argument == "medians"
    assert_same(adata, before)


def test_a_gene_without_a_median_counts_as_one_of_median_1():
    one = small_gene_model()
    assert float(one.median[one.token[0]]) == 0
    other = small_gene_model()
    other.median[other.token[0]] = 1
    for verb in ("embed", "gene_embeddings"):
        found, expected = (VERBS[verb](adata := whole_object(), model) or adata for model in (one, other))
        if verb == "embed":
            found, expected = (adata.obsm["X_celloquy"] for adata in (found, expected))
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_array_equal(found.X, expected.X)


def test_cells_without_counts_are_embedded_as_what_stands_for_a_cell_and_named():
    adata = whole_object(lambda x: x * 0)
    cq.embed(adata, model=MODEL, progress=False)
    vectors = adata.obsm["X_celloquy"]
    cells, _ = MODEL.encode(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0))
    np.testing.assert_allclose(vectors, np.tile(cells.detach().numpy(), (40, 1)), atol=1e-5)
    assert list(adata.uns["celloquy"]["X_celloquy"]["empty_cells"]) == adata.obs_names.tolist()
    assert cq.gene_embeddings(MODEL, adata, progress=False).shape == (0, 16)
    assert cq.gene_attention(MODEL, adata, HUMAN[:3], progress=False).empty


def test_one_gene_alone_reads_itself_and_the_cell():
    adata = whole_object()[:, 5].copy()
    cq.embed(adata, model=MODEL, progress=False)
    assert np.isfinite(adata.obsm["X_celloquy"]).all()
    found = cq.gene_attention(MODEL, adata, [HUMAN[5]], progress=False)
    assert found["n_cells"].tolist() == [int((adata.X > 0).sum())]
    assert 0 < float(found["attention"].iloc[0]) < 1
    assert cq.gene_embeddings(MODEL, adata, progress=False).obs["gene"].tolist() == [HUMAN[5]]


def test_counts_below_the_median_are_small_values_and_no_zeros():
    model = small_gene_model(depth="raw")
    model.median = torch.full_like(model.median, 1e4)
    adata = whole_object()
    from celloquy.data import CellSource

    tokens = model.tokenise(CellSource(adata).over(model.vocabulary).read_all())
    assert tokens.lengths.tolist() == np.asarray((adata.X > 0).sum(1)).ravel().tolist()
    counts = np.sort(adata.X.toarray()[3].astype(np.float64))[::-1]
    own = tokens.values[tokens.indptr[3] : tokens.indptr[4]]
    np.testing.assert_allclose(own, np.log2(1 + counts[counts > 0] / 1e4), rtol=1e-5)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "genes.tsv"])
@each_verb
def test_a_model_of_which_a_file_is_truncated_is_refused(verb, file, tmp_path):
    MODEL.save(tmp_path / "model")
    damaged = tmp_path / "model" / file
    damaged.write_bytes(damaged.read_bytes()[:-100])
    adata = whole_object()
    before = adata.copy()
    with pytest.raises(CheckpointError):
        verb(adata, tmp_path / "model")
    assert_same(adata, before)


def test_a_released_checkpoint_as_a_model_is_told_how_to_be_converted(shared):
    with pytest.raises(CheckpointError, match=r"no celloquy model[\s\S]*celloquy convert[\s\S]*GeneCompass"):
        cq.embed(whole_object(), model=shared / "fixtures" / "genecompass", progress=False)


@pytest.mark.parametrize("species", ["human", "fish", 1])
@each_verb
def test_a_species_that_is_none_of_the_choices_is_refused(verb, species):
    calls = {
        VERBS["embed"]: lambda adata: cq.embed(adata, model=MODEL, species=species),
        VERBS["annotate"]: lambda adata: cq.annotate(
            adata, reference=adata, label_key="type", model=MODEL, species=species
        ),
        VERBS["gene_embeddings"]: lambda adata: cq.gene_embeddings(MODEL, adata, species=species),
        VERBS["gene_attention"]: lambda adata: cq.gene_attention(MODEL, adata, HUMAN[:3], species=species),
    }
    with pytest.raises(ArgumentError, match="`species` can't be used") as caught:
        calls[verb](whole_object())
    assert caught.value.argument == "species"


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: cq.gene_embeddings(MODEL, genes=[]), "genes"),
        (lambda: cq.gene_embeddings(MODEL, genes=[1]), "genes"),
        (lambda: cq.gene_attention(MODEL, whole_object(), [], progress=False), "genes"),
        (lambda: cq.gene_embeddings(3), "model"),
        (lambda: cq.similar_genes(3, MODEL), "gene"),
        (lambda: cq.similar_genes(HUMAN[0], 3), "vectors"),
        (lambda: cq.similar_genes(HUMAN[0], whole_object()), "vectors"),
    ],
)
def test_arguments_of_other_types_are_refused_by_name(call, argument):
    with pytest.raises(CelloquyError) as caught:
        call()
    assert caught.value.argument == argument
