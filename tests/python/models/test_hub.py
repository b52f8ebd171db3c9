"""Models come from the Hugging Face hub and go there; here a server on this machine stands in for it."""

import os
import random
import subprocess
import sys

import anndata as ad
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import celloquy as cq
from celloquy import keys
from celloquy.cli import app
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, CheckpointError
from celloquy.models.boxed import BOX
from celloquy.models.hub import locate
from examples import IDS, cells, small_model
from standin_hub import StandInHub

NAME, TOKEN = "lab/kidney", "of-the-lab"
OFFLINE = "huggingface_hub.constants.HF_HUB_OFFLINE"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with StandInHub() as server:
        server.tokens.add(TOKEN)
        # huggingface_hub reads HF_ENDPOINT and its like when it is imported; so it is imported here, not above.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for module in ("constants", "file_download"):  # The second has it in old versions.
            monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(OFFLINE, False)
        # Names are looked for among directories, too.
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        yield server


@pytest.fixture
def model() -> cq.CellModel:
    return small_model()


def push(model, **options) -> str:
    return model.push_to_hub(NAME, token=TOKEN, **options)


def test_a_model_that_was_pushed_comes_back_bit_for_bit(hub, model):
    commit = push(model, message="Kidneys of mice")
    again = cq.Model.from_pretrained(NAME)
    assert type(again) is cq.CellModel
    assert again.fingerprint == model.fingerprint
    assert again.provenance == {"hub": f"{NAME}@{commit}"}
    assert hub.repositories[NAME].messages[-1] == "Kidneys of mice"
    assert sorted(hub.fetched) == ["README.md", "config.json", "genes.tsv", "model.safetensors"]
    assert os.listdir() == []


def test_every_family_can_be_pushed(hub):
    vocabulary = cq.GeneVocabulary.from_ids(IDS.tolist())
    study = CellSource(cells(50)).over(vocabulary).read_all()
    factors = cq.FactorModel.fit([study], vocabulary, cq.FactorModelConfig(width=3))
    factors.provenance = {"studies": "1"}
    commit = push(factors)
    again = cq.FactorModel.from_pretrained(NAME)
    assert again.fingerprint == factors.fingerprint
    assert again.provenance == {"studies": "1", "hub": f"{NAME}@{commit}"}
    with pytest.raises(CheckpointError, match="is no CellModel"):
        cq.CellModel.from_pretrained(NAME)


def test_the_card_on_the_hub_says_how_to_get_the_model(hub, model):
    commit = push(model)
    card = hub.repositories[NAME].commits[commit]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: celloquy\n")
    assert f'CellModel.from_pretrained("{NAME}")' in card


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, model):
    first = push(model)
    other = small_model(layers=1)
    second = push(other)
    hub.repositories[NAME].names["v1"] = first
    assert cq.Model.from_pretrained(NAME).fingerprint == other.fingerprint
    for revision, fingerprint in (("v1", model.fingerprint), (first, model.fingerprint), (second, other.fingerprint)):
        assert cq.Model.from_pretrained(NAME, revision=revision).fingerprint == fingerprint


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE", "no network"])
def test_a_model_that_was_fetched_once_needs_no_network(hub, model, tmp_path, monkeypatch, offline):
    commit = push(model)
    cq.Model.from_pretrained(NAME)
    hub.close()
    monkeypatch.setattr(OFFLINE, offline)
    for revision in (None, "main", commit):
        assert cq.Model.from_pretrained(NAME, revision).fingerprint == model.fingerprint
    with pytest.raises(CheckpointError) as said:
        cq.Model.from_pretrained("lab/liver")
    why = "HF_HUB_OFFLINE is set" if offline else "can't be reached"
    assert f"no copy of it in '{tmp_path / 'cache'}', and " in str(said.value)
    assert why in str(said.value)


def test_nothing_is_fetched_twice(hub, model):
    push(model)
    cq.Model.from_pretrained(NAME)
    hub.fetched.clear()
    cq.Model.from_pretrained(NAME)
    assert hub.fetched == []


@pytest.mark.parametrize("file", ["config.json", "genes.tsv", "model.safetensors"])
def test_a_file_that_was_changed_on_the_hub_is_named(hub, model, file):
    commit = push(model)
    content = hub.repositories[NAME].commits[commit][file]
    hub.repositories[NAME].commit({file: content.replace(b"1", b"2", 1)})
    with pytest.raises(CheckpointError, match=rf"do not belong together(.|\n)*{file} other"):
        cq.Model.from_pretrained(NAME)


def test_a_model_of_other_software_is_refused_before_its_weights_are_fetched(hub, model):
    push(model)
    hub.repositories["lab/text"] = hub.repositories.pop(NAME)
    files = hub.repositories["lab/text"].commits
    for commit in files.values():
        commit.pop("genes.tsv", None)
    with pytest.raises(CheckpointError, match=r"no celloquy model in 'lab/text'(.|\n)*no genes\.tsv on the hub"):
        cq.Model.from_pretrained("lab/text")
    assert "model.safetensors" not in hub.fetched


def test_what_the_hub_does_not_give_is_said_with_the_reason(hub, model):
    push(model)
    cases = [
        ("lab/kidneys", None, "no directory of that name, and no model of that name on"),
        (NAME, "v9", "no revision 'v9' of it(.|\n)*Fix: pass a branch, a tag or a commit"),
        ("lab/a--b", None, "Fix: check the name"),
    ]
    for name, revision, said in cases:
        with pytest.raises(CheckpointError, match=rf"The model '{name}' can't be fetched(.|\n)*{said}"):
            cq.Model.from_pretrained(name, revision=revision)
    hub.repositories[NAME].gated = True
    with pytest.raises(CheckpointError, match=r"gives access on request(.|\n)*log in"):
        cq.Model.from_pretrained(NAME)


def test_a_private_model_is_seen_with_a_token_alone(hub, model, monkeypatch):
    push(model, private=True)
    assert hub.repositories[NAME].private
    with pytest.raises(CheckpointError, match="or a private one"):
        cq.Model.from_pretrained(NAME)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert cq.Model.from_pretrained(NAME).fingerprint == model.fingerprint


def test_a_push_that_fails_says_why(hub, model):
    for name in ("kidney", "a/b/c", "a b/c", "", "lab/", None, 3):
        with pytest.raises(ArgumentError, match="`name` can't be used"):
            model.push_to_hub(name)
    with pytest.raises(CheckpointError, match=r"can't be pushed to 'lab/kidney'(.|\n)*401(.|\n)*log in"):
        model.push_to_hub(NAME, token="of-nobody")
    hub.close()
    with pytest.raises(CheckpointError, match=r"can't be pushed(.|\n)*refused(.|\n)*network"):
        push(model)
    with torch.no_grad():
        model.norm.weight[0] = float("nan")
    with pytest.raises(CheckpointError, match="not all finite"):
        push(model)


def test_without_huggingface_hub_the_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (cq.Model.from_pretrained, model.push_to_hub):
        with pytest.raises(CheckpointError, match=r"'lab/kidney'(.|\n)*pip install \"celloquy\[hub\]\""):
            call(NAME)
    # Models that are here do without.
    model.save(tmp_path / "model")
    assert cq.Model.from_pretrained(str(tmp_path / "model")).provenance == {}


def test_a_directory_is_taken_before_the_hub_and_the_box_before_both(hub, model):
    push(small_model(layers=1))
    model.save(NAME)
    model.save(keys.CELLS_MINI)
    assert cq.Model.from_pretrained(NAME).fingerprint == model.fingerprint
    assert locate(keys.CELLS_MINI) == (BOX / keys.CELLS_MINI, {})
    assert hub.fetched == []
    for name in (NAME, keys.CELLS_MINI):
        with pytest.raises(ArgumentError, match=f"`revision` has no use with this model(.|\n)*'{name}'"):
            cq.Model.from_pretrained(name, revision="main")


@pytest.mark.parametrize("name", ["kidney", "lab/kidney/", "./kidney", "/lab/kidney", "a/b/c", ""])
def test_other_paths_do_not_reach_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match="There is no celloquy model in"):
        cq.Model.from_pretrained(name)


def test_what_is_no_path_is_refused():
    with pytest.raises(ArgumentError, match="`model` can't be used"):
        cq.Model.from_pretrained("a\0/b")


def test_a_revision_is_a_text(hub):
    with pytest.raises(ArgumentError, match="`revision` can't be used"):
        cq.Model.from_pretrained(NAME, revision=1)


def test_what_takes_a_model_takes_its_name_on_the_hub(hub, model):
    push(model)
    adata = cells()
    cq.embed(adata, model=NAME, progress=False)
    expected = cells()
    cq.embed(expected, model=model, progress=False)
    np.testing.assert_array_equal(adata.obsm["X_celloquy"], expected.obsm["X_celloquy"])
    assert cq.Denoiser(model=NAME, epochs=1, progress=False).fit(adata).model_.provenance["hub"].startswith(NAME)


def test_commands_take_the_name_on_the_hub(hub, model, tmp_path):
    push(model)
    cells().write_h5ad(tmp_path / "cells.h5ad")
    out = tmp_path / "out.h5ad"
    result = CliRunner().invoke(app, ["embed", str(tmp_path / "cells.h5ad"), "-m", NAME, "-o", str(out), "-q"])
    assert result.exit_code == 0, result.output
    assert ad.read_h5ad(out).uns["celloquy"]["X_celloquy"]["model"] == model.fingerprint
    assert f"{NAME}@" in CliRunner().invoke(app, ["info", NAME]).output
    result = CliRunner().invoke(app, ["denoise", str(tmp_path / "cells.h5ad"), "-m", "lab/liver", "-o", str(out), "-q"])
    assert "celloquy: The model 'lab/liver' can't be fetched." in result.output


def test_another_process_asks_the_hub_that_its_environment_names(hub, model, tmp_path):
    push(model)
    code = f"import celloquy as cq; print(cq.Model.from_pretrained({NAME!r}).fingerprint)"
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "other"), "HF_HUB_OFFLINE": "0"}
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], env=os.environ | settings, capture_output=True)
    assert run.stdout.decode().strip() == model.fingerprint, run.stderr.decode()
    assert len(list((tmp_path / "other").rglob("model.safetensors"))) == 1


def test_no_random_numbers_are_drawn(hub, model):
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = state()
    push(model)
    cq.Model.from_pretrained(NAME)
    assert state() == before
