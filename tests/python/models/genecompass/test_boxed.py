"""The gene model in the box is small, complete and of both species, and says how it was made."""

import numpy as np
import pytest
import torch

import celloquy as cq
from celloquy.models.boxed import BOX
from gene_examples import gene_cells

FOLDER = BOX / "genes-mini"


@pytest.fixture(scope="module")
def model() -> cq.GeneModel:
    return cq.GeneModel.from_pretrained("genes-mini")


def test_it_takes_at_most_sixteen_megabytes_and_has_its_card():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 16 * 2**20
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for told in ("PBMC 3k", "CC BY 4.0", "held-out", "limits", "genes-mini"):
        assert told in card


def test_it_is_whole_and_computes_in_full_precision(model):
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert model.median.dtype == torch.float64
    assert (model.median > 0).float().mean() > 0.95
    assert set(model.vocabulary.species) == {"human", "mouse"}
    for name, _ in model.config.priors:
        assert model.fusion.vectors(name).any()


@pytest.mark.parametrize(
    "genes", [["CD3D", "MS4A1", "NKG7", "LYZ", "GNLY", "CD8A"], ["Cd3d", "Ms4a1", "Nkg7", "Lyz2", "Cd8a", "Ccl5"]]
)
def test_cells_of_either_species_are_embedded_by_its_name(genes):
    adata = gene_cells(30, genes=genes)
    cq.embed(adata, model="genes-mini", progress=False)
    embedding = adata.obsm["X_celloquy"]
    assert np.isfinite(embedding).all()
    assert len(np.unique(embedding.round(4), axis=0)) > 20


def test_a_t_cell_gene_is_nearer_to_another_than_to_a_gene_of_monocytes(model):
    genes = cq.gene_embeddings(model)
    rows = {
        symbol: place for place, symbol in enumerate(genes.obs["symbol"]) if genes.obs["species"].iloc[place] == "human"
    }
    vectors = genes.X - genes.X.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cd3d, cd3e, lyz = (vectors[rows[name]] for name in ("CD3D", "CD3E", "LYZ"))
    assert cd3d @ cd3e > cd3d @ lyz
