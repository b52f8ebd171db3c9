"""The configuration refuses what can't be built, and survives its file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celloquy.errors import ArgumentError
from celloquy.models import CellModelConfig


@pytest.mark.parametrize(("name", "width", "layers"), [("mini", 128, 2), ("small", 256, 4), ("base", 1024, 4)])
def test_presets_have_the_published_sizes(name, width, layers):
    config = CellModelConfig.preset(name)
    assert (config.width, config.layers) == (width, layers)


@given(
    width=st.sampled_from([16, 32]),
    latent=st.sampled_from(["mixture", "gaussian", "none"]),
    attention=st.sampled_from(["flow", "softmax", "none"]),
    covariates=st.lists(st.tuples(st.sampled_from(["batch", "dataset"]), st.integers(1, 9)), max_size=2),
)
def test_configuration_survives_its_file(width, latent, attention, covariates):
    config = CellModelConfig(width=width, latent=latent, attention=attention, covariates=tuple(covariates))
    assert CellModelConfig.from_json(config.to_json()) == config


def test_without_a_latent_the_embedding_is_as_wide_as_the_model():
    assert CellModelConfig(width=64, latent="none").latent_width == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width"),
        ({"width": 30, "heads": 4}, "divisor of width"),
        ({"width": 36, "heads": 6, "norm_groups": 8}, "norm_groups"),
        ({"dropout": 1.5}, "share between 0 and 1"),
        ({"latent": "vae"}, "'mixture' or 'gaussian' or 'none'"),
        ({"attention": "linear"}, "'flow' or 'softmax' or 'none'"),
        ({"layers": -1}, "at least 0"),
        ({"components": 2.5}, "whole number"),
    ],
)
def test_an_impossible_configuration_is_refused_by_name(change, message):
    with pytest.raises(ArgumentError, match=message):
        CellModelConfig(**change)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ArgumentError, match="'mini', 'small', 'base'"):
        CellModelConfig.preset("huge")


def test_a_newer_configuration_asks_for_an_update():
    with pytest.raises(ArgumentError, match="future_field"):
        CellModelConfig.from_json('{"width": 128, "future_field": 1}')
