"""Before any training the decoder predicts the mean counts, gene vectors hold components, and the latent is quiet."""

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from hypothesis import given

from builders import cell_batch
from celloquy.data import CellSource
from celloquy.genes import GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.models.cellplm.initialise import (
    LEAST_MEAN,
    set_gene_components,
    set_mean_counts,
    shrink_latent_variance,
)
from celloquy.nn import components
from strategies import cell_batches, dense_counts

CONFIG = CellModelConfig(width=16, heads=2, feedforward=16, latent_width=4, latent_hidden=8, decoder_width=8)


def model_for(genes, **changes):
    torch.manual_seed(0)
    ids = [f"ENSG{number:011d}" for number in range(genes)]
    return CellModel(CONFIG.replace(**changes), GeneVocabulary.from_ids(ids))


@given(batch=cell_batches(min_cells=1))
def test_the_decoder_starts_at_the_mean_over_the_cells_that_measured_a_gene(batch):
    model = model_for(batch.n_genes)
    set_mean_counts(model.decoder, batch)
    counts = np.ma.array(dense_counts(batch).numpy(), mask=~batch.measured[batch.panel].numpy())
    expected = np.maximum(counts.astype(np.float64).mean(0).filled(0), LEAST_MEAN)
    with torch.no_grad():
        silent = torch.zeros(1, model.config.decoder_rank)
        np.testing.assert_allclose(model.decoder.mean(silent)[0], expected, rtol=1e-4)


@given(batch=cell_batches(min_cells=1))
def test_any_cells_give_finite_gene_vectors(batch):
    model = model_for(batch.n_genes)
    set_gene_components(model.embedder, batch, seed=0)
    assert model.embedder.gene.isfinite().all()


def two_kinds(cells, genes=40):
    """Cells of two kinds, each with ten genes of its own, at depths of 100 to 1,000."""
    random = np.random.default_rng(0)
    kind = np.arange(cells) % 2
    profile = np.full((2, genes), 1.0)
    profile[0, :10] = profile[1, 10:20] = 20
    depth = random.integers(100, 1000, cells)[:, None]
    return random.poisson(depth * (profile / profile.sum(1, keepdims=True))[kind]).astype(np.float32), kind


@pytest.mark.parametrize("most", [5000, 60])
def test_what_cells_differ_in_most_comes_first(monkeypatch, most):
    monkeypatch.setattr(components, "CELLS_FOR_COMPONENTS", most)
    counts, kind = two_kinds(300)
    model = model_for(counts.shape[1])
    names = pd.DataFrame(index=list(model.vocabulary.ids))
    batch = CellSource(AnnData(counts, var=names)).over(model.vocabulary).read(0, len(counts))
    set_gene_components(model.embedder, batch, seed=0)
    depth = counts.sum(1, keepdims=True)
    logged = torch.from_numpy(np.log1p(counts * np.median(depth) / depth))
    first = (logged @ model.embedder.gene.detach())[:, 0].numpy()
    assert abs(np.corrcoef(first, kind)[0, 1]) > 0.95
    again = model_for(counts.shape[1])
    set_gene_components(again.embedder, batch, seed=0)
    assert torch.equal(again.embedder.gene, model.embedder.gene)


def test_gene_vectors_are_the_components_of_the_centred_logarithms():
    counts, _ = two_kinds(200, genes=120)
    batch = cell_batch(counts)
    model = model_for(120, width=64)
    set_gene_components(model.embedder, batch, seed=0)
    depth = counts.sum(1, keepdims=True)
    logged = np.log1p(counts * np.median(depth) / depth)
    _, strength, axes = np.linalg.svd(logged - logged.mean(0), full_matrices=False)
    expected = axes[:8].T / np.sqrt(strength[:8] / np.sqrt(200))
    found = model.embedder.gene.detach().numpy()[:, :8]
    # Signs are free; components of noise lie close together, and only their scale is compared.
    assert np.abs((found[:, 0] * expected[:, 0]).sum() / (expected[:, 0] ** 2).sum()) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), np.linalg.norm(expected, axis=0), rtol=0.02)


@pytest.mark.parametrize("latent", ["mixture", "gaussian"])
def test_the_latent_starts_close_to_its_mean(latent):
    model = model_for(5, latent=latent)
    shrink_latent_variance(model.latent)
    cells = torch.randn(500, model.config.width)
    with torch.no_grad():
        output = model.latent.train()(cells)
    assert (output.z - output.mean).square().mean().item() == pytest.approx(0.1, rel=0.15)


def test_without_a_latent_there_is_nothing_to_quieten():
    model = model_for(5, latent="none")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shrink_latent_variance(model.latent)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
