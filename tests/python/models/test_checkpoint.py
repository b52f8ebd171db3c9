"""A saved model comes back bit for bit, or says what is wrong with it."""

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

import celloquy as cq
from celloquy.errors import CheckpointError
from examples import small_model

IDS = [f"ENSG{i:011d}" for i in range(1, 41)]


@pytest.fixture
def model() -> cq.CellModel:
    torch.manual_seed(0)
    config = cq.CellModelConfig(width=16, feedforward=32, latent_width=8, decoder_width=16, covariates=(("batch", 2),))
    model = cq.CellModel(config, cq.GeneVocabulary.from_ids(IDS)).eval()
    model.provenance = {"cells": "700"}
    return model


def test_a_round_trip_is_bit_identical(model, tmp_path):
    model.save(tmp_path / "model")
    again = cq.CellModel.from_pretrained(tmp_path / "model")
    assert again.fingerprint == model.fingerprint
    assert again.vocabulary == model.vocabulary
    assert again.provenance == model.provenance
    for (name, before), (_, after) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(before, after), name


def test_saving_again_replaces_the_model_and_keeps_what_stands_beside_it(model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "history.csv").write_text("epoch,loss\n")
    with torch.no_grad():
        model.norm.weight += 1
    model.save(tmp_path / "model")
    assert cq.CellModel.from_pretrained(tmp_path / "model").fingerprint == model.fingerprint
    assert (tmp_path / "model" / "history.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_card_tells_genes_and_provenance(model, tmp_path):
    model.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| genes | 40" in card
    assert "| cells | 700 |" in card


def test_a_foreign_directory_is_not_overwritten(model, tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(CheckpointError, match="not a saved model"):
        model.save(tmp_path)
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


def test_a_failed_save_leaves_the_old_model(model, tmp_path, monkeypatch):
    model.save(tmp_path / "model")
    before = model.fingerprint

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("celloquy.models.checkpoint.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        model.save(tmp_path / "model")
    assert cq.CellModel.from_pretrained(tmp_path / "model").fingerprint == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        cq.CellModel.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        cq.CellModel.from_pretrained(tmp_path)


def test_a_damaged_file_is_said_to_be(model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.CellModel.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("file", ["config.json", "genes.tsv"])
def test_a_damaged_text_is_said_to_be(model, tmp_path, file):
    model.save(tmp_path / "model")
    (tmp_path / "model" / file).write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckpointError, match="can't be read"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_weights_of_another_shape_are_named(model, tmp_path):
    model.save(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"latent_width": 9}))
    with pytest.raises(CheckpointError, match="misshapen weight"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_missing_and_extra_weights_are_named(model, tmp_path):
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    kept = weights.pop("norm.bias")
    save_file(weights, file)
    with pytest.raises(CheckpointError, match=r"lacks weights(.|\n)*norm\.bias"):
        cq.CellModel.from_pretrained(tmp_path / "model")
    save_file({**weights, "norm.bias": kept, "other": kept.clone()}, file)
    with pytest.raises(CheckpointError, match=r"does not know(.|\n)*other"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_fewer_genes_than_weights_are_said(model, tmp_path):
    model.save(tmp_path / "model")
    genes = tmp_path / "model" / "genes.tsv"
    genes.write_text("".join(genes.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CheckpointError, match=r"\(40, 16\)(.|\n)*\(39, 16\)"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_equal_models_have_equal_fingerprints_and_others_not(model):
    before = model.fingerprint
    assert model.fingerprint == before
    with torch.no_grad():
        model.norm.weight[0] += 1e-6
    assert model.fingerprint != before


def test_files_get_the_mode_that_the_umask_gives(tmp_path):
    umask = os.umask(0o027)
    try:
        small_model().save(tmp_path / "model")
    finally:
        os.umask(umask)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "model").iterdir()} == {0o640}


def test_a_link_stays_and_the_directory_that_it_names_is_written(tmp_path):
    small_model().save(tmp_path / "real")
    (tmp_path / "real" / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    other = small_model(layers=1)
    other.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "notes.txt").read_text() == "mine"
    assert cq.CellModel.from_pretrained(tmp_path / "real").fingerprint == other.fingerprint
