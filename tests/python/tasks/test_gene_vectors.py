"""Genes are described by vectors, outside of cells and in them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, GenesError, ModelError
from examples import small_model
from gene_examples import HUMAN, MOUSE, PAIRS, gene_cells, small_gene_model

MODEL = small_gene_model()
N_GENES = len(HUMAN) + len(MOUSE)


def grouped(n=40, **options) -> ad.AnnData:
    adata = gene_cells(n, empty=True, **options)
    adata.obs["type"] = pd.Categorical(np.array(["T cell", "B cell"])[np.arange(n) % 2])
    return adata


def slowly(adata, model=MODEL) -> tuple[np.ndarray, np.ndarray]:
    """Mean vectors of all genes of the vocabulary, and the numbers of cells, one cell at a time."""
    tokens = model.tokenise(CellSource(adata).over(model.vocabulary).read_all())
    sums, times = np.zeros((len(model.vocabulary), 16)), np.zeros(len(model.vocabulary))
    for cell in range(len(tokens)):
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        with torch.no_grad():
            _, vectors = model.encode(tokens.ids[own][None], tokens.values[own][None], tokens.species[cell][None])
        rows = tokens.ids[own].numpy() - 2
        sums[rows] += vectors[0].numpy()
        times[rows] += 1
    return sums / times[:, None].clip(1), times


def test_genes_have_vectors_outside_of_cells_and_both_of_a_pair_have_their_own():
    vectors = cq.gene_embeddings(MODEL)
    assert vectors.shape == (N_GENES, 16)
    assert set(vectors.obs["gene"]) == {*HUMAN, *MOUSE}
    assert vectors.obs["species"].value_counts().to_dict() == {"human": len(HUMAN), "mouse": len(MOUSE)}
    by_gene = dict(zip(vectors.obs["gene"], vectors.X, strict=True))
    assert not np.allclose(by_gene[HUMAN[0]], by_gene[MOUSE[0]])
    ids = torch.tensor([[2, 5]])
    with torch.no_grad():
        for species, genes in enumerate((HUMAN, MOUSE)):
            read = MODEL.embedded(ids, torch.ones(1, 2), torch.tensor([species]))[0, 1:]
            np.testing.assert_allclose(np.stack([by_gene[genes[0]], by_gene[genes[3]]]), read, atol=1e-5)
    assert not MODEL.training


@pytest.mark.parametrize("genes", [HUMAN, MOUSE])
def test_in_cells_a_vector_is_the_mean_over_the_cells_that_express_the_gene(genes, tmp_path):
    adata = grouped(genes=genes)
    expected, times = slowly(adata)
    vectors = cq.gene_embeddings(MODEL, adata, progress=False)
    rows = [MODEL.vocabulary.index(gene) for gene in vectors.obs["gene"]]
    assert set(vectors.obs["gene"]) <= set(genes)
    np.testing.assert_allclose(vectors.X, expected[rows], atol=1e-5)
    np.testing.assert_array_equal(vectors.obs["n_cells"], times[rows])
    assert sorted(rows) == np.flatnonzero(times).tolist()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_allclose(cq.gene_embeddings(MODEL, tmp_path / "cells.h5ad", progress=False).X, vectors.X)


def test_in_groups_every_group_has_vectors_of_its_own_cells():
    adata = grouped()
    vectors = cq.gene_embeddings(MODEL, adata, by="type", progress=False)
    for name in ("T cell", "B cell"):
        own = vectors[vectors.obs["group"] == name]
        alone = cq.gene_embeddings(MODEL, adata[adata.obs["type"] == name].copy(), progress=False)
        assert own.obs["gene"].tolist() == alone.obs["gene"].tolist()
        np.testing.assert_allclose(own.X, alone.X, atol=1e-5)
        assert own.obs["n_cells"].tolist() == alone.obs["n_cells"].tolist()
    assert vectors.obs_names.is_unique
    assert f"{HUMAN[0]}|T cell" in vectors.obs_names


def test_some_genes_are_described_in_the_order_in_which_they_are_named():
    whole = cq.gene_embeddings(MODEL)
    chosen = [HUMAN[5], MOUSE[2], HUMAN[0]]
    some = cq.gene_embeddings(MODEL, genes=chosen)
    assert some.obs["gene"].tolist() == chosen
    np.testing.assert_allclose(some.X, whole[[f"{gene}" for gene in chosen]].X, atol=1e-6)
    # In mouse cells a human gene is read as its homologue.
    in_mouse = cq.gene_embeddings(MODEL, gene_cells(genes=MOUSE), genes=[HUMAN[3], HUMAN[PAIRS]], progress=False)
    assert in_mouse.obs["gene"].tolist() == [MOUSE[3]]


def test_similar_genes_have_the_highest_cosine():
    vectors = cq.gene_embeddings(MODEL)
    found = cq.similar_genes(HUMAN[4], vectors, n=5)
    assert len(found) == 5
    assert HUMAN[4] not in found["gene"].tolist()
    assert found["cosine"].is_monotonic_decreasing
    assert cq.similar_genes(HUMAN[4], MODEL, n=5).equals(found)
    vectors.X[vectors.obs["gene"] == HUMAN[9]] = vectors[vectors.obs["gene"] == HUMAN[4]].X
    nearest = cq.similar_genes(HUMAN[4], vectors, n=1)
    assert nearest["gene"].tolist() == [HUMAN[9]]
    assert float(nearest["cosine"].iloc[0]) == pytest.approx(1, abs=1e-5)


def test_genes_of_real_names_are_found_by_any_of_them():
    genes = cq.GeneVocabulary.both(["CD3D", "MS4A1", "NKG7", "C3"])
    model = cq.GeneModel(cq.GeneModelConfig(width=8, heads=1, priors=()), genes)
    vectors = cq.gene_embeddings(model, genes=["MS4A1", "Cd3d", "CD20", "C3"])
    assert vectors.obs["symbol"].tolist() == ["MS4A1", "Cd3d", "C3"]
    assert vectors.obs["species"].tolist() == ["human", "mouse", "human"]
    whole = cq.gene_embeddings(model)
    assert whole.obs_names.is_unique
    assert cq.similar_genes("CD20", whole, n=2).shape[0] == 2
    assert cq.similar_genes("ENSG00000125730", whole, n=2)["symbol"].notna().all()
    with pytest.raises(GenesError, match="several vectors"):
        cq.similar_genes("C3", whole)


def test_loadings_are_the_vectors_of_a_factor_model():
    vectors = cq.gene_embeddings("cells-mini", genes=["CD3D", "CD3E", "HBB"])
    assert vectors.shape == (3, 100)
    model = cq.Model.from_pretrained("cells-mini")
    row = model.vocabulary.index(vectors.obs["gene"].iloc[0])
    np.testing.assert_allclose(vectors.X[0], model.loadings[row].detach().numpy())
    assert "CD3E" in cq.similar_genes("CD3D", "cells-mini", n=10)["symbol"].tolist()
    with pytest.raises(ModelError, match="A FactorModel can't describe genes"):
        cq.gene_embeddings(model, gene_cells(), progress=False)


def test_what_has_no_vectors_is_refused():
    with pytest.raises(ModelError, match=r"A CellModel can't describe genes[\s\S]*such as a GeneModel"):
        cq.gene_embeddings(small_model())
    with pytest.raises(GenesError, match=r"does not know these genes[\s\S]*GFP"):
        cq.gene_embeddings(MODEL, genes=["GFP", HUMAN[0]])
    with pytest.raises(ArgumentError, match="`by` has no use without cells"):
        cq.gene_embeddings(MODEL, by="type")
    with pytest.raises(ArgumentError) as caught:
        cq.gene_embeddings(MODEL, grouped(), by="kind", progress=False)
    assert caught.value.argument == "by"
    with pytest.raises(GenesError, match="has no vector"):
        cq.similar_genes("GFP", MODEL)
    with pytest.raises(ArgumentError):
        cq.similar_genes(HUMAN[0], MODEL, n=0)
