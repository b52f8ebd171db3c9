"""The decoder takes the released weights one to one, and an unseen batch is the average of the known ones."""

import numpy as np
import pytest
import torch

from celloquy.nn.decoder import CountDecoder

RELEASED = {
    "layers.0.linear.": "layers.0.0.",
    "layers.0.activation.": "layers.0.1.",
    "layers.0.norm.": "layers.0.3.",
    "hidden.": "out_layer.dec_1.",
    "log_mean.": "out_layer.dec_mean.0.",
    "log_dispersion": "out_layer.dec_disp",
} | {
    f"layers.0.covariates.{name}.{ours}.": f"covariate_layers.0.{name}.{number}."
    for name in ("batch", "dataset")
    for number, ours in enumerate(("embedding", "activation", "norm"))
}


def released_decoder(shared, kind):
    weights = torch.load(shared / "fixtures/cellplm" / f"tiny_{kind}.best.ckpt", weights_only=True)["model_state_dict"]
    decoder = CountDecoder(300, 32, 64, 1, covariates=(("batch", 5), ("dataset", 3)), dropout=0.2).eval()
    renamed = {}
    for name in decoder.state_dict():
        prefix = next(ours for ours in RELEASED if name.startswith(ours))
        renamed[name] = weights.pop(f"decoder.{RELEASED[prefix]}{name.removeprefix(prefix)}")
    assert not [name for name in weights if name.startswith("decoder.")]
    decoder.load_state_dict(renamed)
    return decoder, np.load(shared / "fixtures/cellplm" / f"reference_{kind}.npz")


@pytest.mark.parametrize("kind", ["gmvae", "vae"])
def test_released_weights_give_the_released_output(shared, kind):
    decoder, reference = released_decoder(shared, kind)
    codes = {name: torch.from_numpy(reference[name]) for name in ("batch", "dataset")}
    with torch.no_grad():
        hidden = decoder(torch.from_numpy(reference["latent"]), codes)
        mean, dispersion = decoder.mean(hidden), decoder.dispersion()
    np.testing.assert_allclose(mean, reference["decoded_mean"], rtol=1e-5)
    np.testing.assert_allclose(dispersion.expand(48, -1), reference["decoded_dispersion"], rtol=1e-5)


def decoder(layers=2):
    torch.manual_seed(0)
    return CountDecoder(30, 6, 16, layers, rank=12, covariates=(("batch", 3),), norm_groups=4).eval()


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_shapes_follow_the_latent_and_the_vocabulary(layers):
    hidden = decoder(layers)(torch.randn(5, 6))
    assert hidden.shape == (5, 12)
    assert decoder(layers).mean(hidden).shape == (5, 30)
    assert decoder(layers).dispersion().shape == (30,)


def test_chosen_genes_are_decoded_as_among_all_genes():
    hidden = decoder()(torch.randn(5, 6))
    whole, dispersion = decoder().mean(hidden), decoder().dispersion()
    for genes in (slice(4, 9), torch.tensor([7, 2, 2, 29])):
        torch.testing.assert_close(decoder().mean(hidden, genes), whole[:, genes])
        torch.testing.assert_close(decoder().dispersion(genes), dispersion[genes])


def test_an_unseen_batch_is_the_average_of_the_known_ones():
    model = decoder(1)
    latent = torch.randn(4, 6)
    unseen = model(latent, {"batch": torch.tensor([-1, -1, 0, -1])})
    left_out = model(latent)
    torch.testing.assert_close(unseen[[0, 1, 3]], left_out[[0, 1, 3]])
    assert not torch.allclose(unseen[2], left_out[2])
    with torch.no_grad():
        shift = model.layers[0].covariates["batch"]
        shift.embedding.weight[:] = shift.embedding.weight.mean(0)
    torch.testing.assert_close(model(latent, {"batch": torch.tensor([0, 1, 2, 0])}), left_out)


def test_means_and_dispersions_stay_within_their_bounds():
    model = decoder()
    with torch.no_grad():
        model.log_mean.bias[:3] = torch.tensor([-1e3, 1e3, 0.0])
        model.log_dispersion[:3] = torch.tensor([-1e3, 1e3, 0.0])
        mean = model.mean(model(torch.randn(2, 6)))
    torch.testing.assert_close(mean[:, :2], torch.tensor([[1e-5, 1e6]]).expand(2, 2))
    torch.testing.assert_close(model.dispersion()[:3], torch.tensor([1e-4, 1e4, 1.0]))
