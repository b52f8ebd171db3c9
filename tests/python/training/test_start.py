"""Before any training the decoder predicts the mean counts, and a cell's latent lies close to its mean."""

import numpy as np
import pytest
import torch
from hypothesis import given

from celloquy.genes import GeneVocabulary
from celloquy.models import CellModel, CellModelConfig
from celloquy.training.start import LEAST_MEAN, start_at_the_average, start_with_little_noise
from strategies import cell_batches, dense_counts

CONFIG = CellModelConfig(width=16, heads=2, feedforward=16, latent_width=4, latent_hidden=8, decoder_width=8)


def model_for(genes, **changes):
    torch.manual_seed(0)
    ids = [f"ENSG{number:011d}" for number in range(genes)]
    return CellModel(CONFIG.with_(**changes), GeneVocabulary(tuple(ids), ("",) * genes, ("",) * genes))


@given(batch=cell_batches(min_cells=1))
def test_the_decoder_starts_at_the_mean_over_the_cells_that_measured_a_gene(batch):
    model = model_for(batch.genes)
    start_at_the_average(model, batch)
    counts = np.ma.array(dense_counts(batch).numpy(), mask=~batch.measured[batch.panel].numpy())
    expected = np.maximum(counts.astype(np.float64).mean(0).filled(0), LEAST_MEAN)
    with torch.no_grad():
        silent = torch.zeros(1, model.config.decoder_rank)
        np.testing.assert_allclose(model.decoder.mean(silent)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("latent", ["mixture", "gaussian"])
def test_the_latent_starts_close_to_its_mean(latent):
    model = model_for(5, latent=latent)
    start_with_little_noise(model)
    cells = torch.randn(500, model.config.width)
    with torch.no_grad():
        output = model.latent.train()(cells)
    assert (output.z - output.mean).square().mean().item() == pytest.approx(0.1, rel=0.15)


def test_without_a_latent_there_is_nothing_to_quieten():
    model = model_for(5, latent="none")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_with_little_noise(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
