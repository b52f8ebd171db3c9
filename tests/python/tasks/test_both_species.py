"""With a model of both species every task reads cells of either, by the names of their own genes, alike."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import celloquy as cq

CONFIG = cq.CellModelConfig(
    width=16, layers=1, heads=2, feedforward=16, latent_width=8, decoder_width=16, decoder_rank=8, positions=False
)
HUMAN = cq.GeneVocabulary.from_names(
    ["CD3D", "CD3E", "MS4A1", "CD79A", "NKG7", "GZMA", "LYZ", "CST3", "INS", "GCG", "TP53", "ACTB", "PPIA", "EEF2",
     "VIM", "CD8A", "CD4", "SPI1", "PAX5", "GATA3", "MKI67", "TOP2A", "PCNA", "LDHB"]
).symbols  # fmt: skip
MOUSE = cq.orthologs(HUMAN, to="mouse").frame.set_index("name")["ortholog_symbol"]
NAMES = {"human": list(MOUSE.index), "mouse": MOUSE.tolist()}
MODEL = cq.CellModel(CONFIG, cq.GeneVocabulary.both(HUMAN, ["H2-K1", "Gm2000"])).eval()


def cells(species, seed=0):
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, 60)
    rates = np.where(kind[:, None] == np.arange(len(NAMES[species])) % 2, 8, 1)
    adata = AnnData(sparse.csr_matrix(random.poisson(rates).astype(np.float32)))
    adata.var_names, adata.obs["kind"] = NAMES[species], pd.Categorical(np.array(["even", "odd"])[kind])
    return adata


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", cq.errors.OtherSpeciesWarning)
        warnings.simplefilter("error", cq.errors.GeneCoverageWarning)
        yield


def test_the_names_are_of_two_species():
    assert len(MOUSE) > 20
    assert set(NAMES["human"]).isdisjoint(NAMES["mouse"])


@pytest.mark.parametrize("species", [None, "auto"])
def test_the_same_counts_have_the_same_embedding_under_the_names_of_either_species(species):
    human, mouse = (
        cq.embed(cells(one), model=MODEL, species=species, progress=False, copy=True).obsm["X_celloquy"]
        for one in ("human", "mouse")
    )
    np.testing.assert_array_equal(human, mouse)


def test_mouse_cells_are_annotated_by_a_human_reference():
    options = {"model": MODEL, "label_key": "kind", "epochs": 5, "progress": False, "copy": True}
    labels = [
        cq.annotate(cells(one, seed=1), reference=cells("human"), **options).obs["celloquy_label"].tolist()
        for one in ("human", "mouse")
    ]
    assert labels[0] == labels[1]
    assert np.mean(np.array(labels[1]) == cells("mouse", seed=1).obs["kind"].to_numpy()) > 0.8


def test_mouse_cells_are_denoised_like_human_cells():
    options = {"model": MODEL, "epochs": 1, "progress": False, "copy": True}
    human, mouse = (cq.denoise(cells(one), **options).layers["celloquy_denoised"] for one in ("human", "mouse"))
    np.testing.assert_array_equal(human, mouse)


def test_human_and_mouse_cells_make_one_pretrained_model():
    model = cq.pretrain(
        [cells("human"), cells("mouse", seed=1)], config=CONFIG, vocabulary=MODEL.vocabulary, epochs=1, progress=False
    )
    assert model.vocabulary == MODEL.vocabulary
