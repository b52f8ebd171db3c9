"""A saved model comes back bit for bit, or says what is wrong with it."""

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

import celloquy as cq
from celloquy.errors import CheckpointError, DiskError
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
    model.save(tmp_path / "model", overwrite=True)
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
    with pytest.raises(DiskError, match="No space"):
        model.save(tmp_path / "model", overwrite=True)
    assert cq.CellModel.from_pretrained(tmp_path / "model").fingerprint == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        cq.CellModel.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        cq.CellModel.from_pretrained(tmp_path)


def exchange(file):
    """Make a file of a saved model another one, which could be read by itself."""
    if file.name == "config.json":
        file.write_text(json.dumps(json.loads(file.read_text()) | {"dropout": 0.5}))
    elif file.name == "genes.tsv":
        header, *rows = file.read_text().splitlines(keepends=True)
        file.write_text("".join([header, *reversed(rows)]))
    else:
        weights = load_file(file)
        weights["norm.weight"], weights["norm.bias"] = weights["norm.bias"], weights["norm.weight"]
        save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("file", ["config.json", "genes.tsv", "model.safetensors"])
@pytest.mark.parametrize("change", [
    exchange,
    lambda file: file.write_bytes(b"\0" * 100),
    lambda file: file.write_bytes(b"\xff\xfe{"),
    lambda file: file.write_bytes(file.read_bytes()[:-3]),
    lambda file: file.write_bytes(b""),
    lambda file: file.unlink(),
    lambda file: (file.unlink(), file.mkdir()),
], ids=["exchanged", "zeros", "no text", "cut off", "empty", "gone", "a folder"])  # fmt: skip
def test_a_file_that_was_not_saved_with_the_others_is_named(model, tmp_path, file, change):
    model.save(tmp_path / "model")
    change(tmp_path / "model" / file)
    with pytest.raises(CheckpointError, match=file.replace(".", "[.]") + "|can't be read"):
        cq.CellModel.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", '"config"', "{}", '{"files": 3}', '{"files": [], "sha256": ""}']
)
def test_a_configuration_of_another_kind_is_said_to_be(model, tmp_path, content):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"can't be read|config\.json other"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_only_the_card_may_be_changed(model, tmp_path):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# Ours, of kidney\n")
    assert cq.CellModel.from_pretrained(tmp_path / "model").fingerprint == model.fingerprint


def test_a_model_of_another_directory_does_not_lend_its_files(model, tmp_path):
    model.save(tmp_path / "one")
    with torch.no_grad():
        model.norm.weight += 1
    model.save(tmp_path / "two")
    (tmp_path / "one" / "model.safetensors").write_bytes((tmp_path / "two" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"belong together(.|\n)*model\.safetensors other"):
        cq.CellModel.from_pretrained(tmp_path / "one")


def test_weights_that_are_no_numbers_are_neither_saved_nor_read(model, tmp_path, monkeypatch):
    with torch.no_grad():
        model.norm.weight[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"to be saved are not all finite(.|\n)*norm\.weight"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("celloquy.models.checkpoint._check_finite", lambda *_: None)
        model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"model\.safetensors(.|\n)*norm\.weight"):
        cq.CellModel.from_pretrained(tmp_path / "model")


def test_weights_of_another_shape_or_name_are_named(model):
    weights = dict(model.state_dict())

    def build(**changes):
        cq.CellModel.from_weights(model.config, model.vocabulary, {**weights, **changes}, name="mine")

    with pytest.raises(CheckpointError, match=r"misshapen weight, norm\.bias(.|\n)*\(3,\)(.|\n)*\(16,\)"):
        build(**{"norm.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"does not know(.|\n)*other"):
        build(other=torch.zeros(3))
    del weights["norm.bias"]
    with pytest.raises(CheckpointError, match=r"lacks weights(.|\n)*norm\.bias"):
        build()


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
    other.save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "notes.txt").read_text() == "mine"
    assert cq.CellModel.from_pretrained(tmp_path / "real").fingerprint == other.fingerprint
