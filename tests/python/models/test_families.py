"""A family that the package has never heard of does all that it can do, and is told plainly what it can't."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.errors import ArgumentError, CheckpointError, ModelError
from celloquy.models import base
from celloquy.models.base import find_family
from examples import IDS, cells, small_model

# R's tests use the same file.
specification = importlib.util.spec_from_file_location(
    "toy_family", Path(__file__).parents[2] / "testthat" / "toy_family.py"
)
toy = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toy)


@pytest.fixture
def model() -> cq.Model:
    torch.manual_seed(0)
    return toy.ProjectionModel(toy.ProjectionConfig(), cq.GeneVocabulary.from_ids(IDS.tolist()))


def labelled(seed: int):
    adata = cells(120, seed=seed)
    kind = np.arange(120) % 2
    counts = adata.X.toarray()
    counts[kind == 1, :8] += 5
    adata.X = counts
    adata.obs["type"] = np.array(["T", "B"])[kind]
    return adata


def test_cells_are_embedded_from_memory_and_from_disk_in_any_batches(model, tmp_path):
    adata = cells(50)
    cq.embed(adata, model=model, progress=False)
    expected = np.log1p(adata.X.toarray()) @ model.directions.detach().numpy()
    np.testing.assert_allclose(adata.obsm["X_celloquy"], expected, rtol=1e-5, atol=1e-6)
    assert adata.uns["celloquy"]["X_celloquy"]["model"] == model.fingerprint
    adata.write_h5ad(tmp_path / "cells.h5ad")
    cq.embed(tmp_path / "cells.h5ad", out=tmp_path / "out.h5ad", model=model, batch_size=7, progress=False)
    import anndata

    np.testing.assert_allclose(
        anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_celloquy"], expected, rtol=1e-5, atol=1e-6
    )


def test_a_saved_model_is_read_by_its_family_and_described(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = cq.Model.from_pretrained(tmp_path / "model")
    assert type(loaded) is toy.ProjectionModel
    assert loaded.fingerprint == model.fingerprint
    assert "ProjectionModel.from_pretrained" in (tmp_path / "model" / "README.md").read_text()
    shown = CliRunner().invoke(app, ["info", str(tmp_path / "model")]).output
    assert "projection" in shown
    assert model.fingerprint in shown
    with pytest.raises(CheckpointError, match=r"is no CellModel[\s\S]*a ProjectionModel"):
        cq.CellModel.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("freeze_encoder", [False, True])
def test_its_embedding_is_tuned_or_frozen_for_annotation_and_kept(model, tmp_path, freeze_encoder):
    adata, before = labelled(1), model.fingerprint
    annotator = cq.Annotator(label_key="type", model=model, freeze_encoder=freeze_encoder, epochs=20, progress=False)
    annotator.fit(labelled(0)).predict(adata)
    assert (adata.obs["celloquy_label"].astype(str) == adata.obs["type"]).mean() > 0.8
    assert model.fingerprint == before
    assert torch.equal(annotator.model_.directions, model.directions) == freeze_encoder
    annotator.save(tmp_path / "annotator")
    again = cq.Annotator.load(tmp_path / "annotator").predict(labelled(1), copy=True)
    np.testing.assert_array_equal(again.obsm["celloquy_probability"], adata.obsm["celloquy_probability"])


def test_it_is_trained_from_scratch_where_its_configuration_is_asked_for():
    adata = labelled(1)
    cq.annotate(
        adata, reference=labelled(0), label_key="type", config=toy.ProjectionConfig(width=4), epochs=30, progress=False
    )
    assert (adata.obs["celloquy_label"].astype(str) == adata.obs["type"]).mean() > 0.8


@pytest.mark.parametrize(
    "call",
    [
        lambda model: cq.denoise(cells(), model=model),
        lambda model: cq.integrate(cells(), batch_key="sample", model=model),
        lambda model: cq.impute(cells(), reference=cells(), model=model),
        lambda model: cq.integrate(cells(), batch_key="sample", config=model.config),
        lambda model: cq.pretrain(cells(), config=model.config),
    ],
)
def test_a_task_that_it_cannot_serve_says_so(model, call):
    with pytest.raises(
        ModelError, match=r"A ProjectionModel can't (decode|fill in)[\s\S]*such as a CellModel"
    ) as caught:
        call(model)
    assert caught.value.argument == "model"


def test_an_error_names_a_model_that_has_the_ability(model):
    with pytest.raises(ModelError, match=r"can't adapt[\s\S]*such as a FactorModel"):
        cq.embed(cells(), model=model, adapt=True)


def test_what_is_no_family_or_no_model_is_refused(model, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"family that celloquy does not know[\s\S]*'yeti'[\s\S]*'cellplm'"):
        find_family("yeti")
    model.save(tmp_path / "model")
    monkeypatch.delitem(base.FAMILIES, "projection")
    with pytest.raises(CheckpointError, match="family that celloquy does not know"):
        cq.Model.from_pretrained(tmp_path / "model")
    with pytest.raises(ArgumentError, match="`config` can't be used"):
        cq.denoise(cells(), config=small_model())


def test_families_of_other_packages_are_found_by_their_entry_points(monkeypatch):
    class Entry:
        @staticmethod
        def load():
            base.FAMILIES["elsewhere"] = toy.ProjectionModel

    monkeypatch.setattr(base, "FAMILIES", dict(base.FAMILIES))
    monkeypatch.setattr(base, "entry_points", lambda group: [Entry] if group == "celloquy.families" else [])
    assert find_family("elsewhere") is toy.ProjectionModel


def test_a_model_that_is_frozen_as_a_whole_leaves_nothing_to_train():
    class Whole(cq.CellModel):
        def learning_rate_factors(self, *, freeze):
            return cq.Model.learning_rate_factors(self, freeze=freeze)

    model = small_model()
    whole = Whole(model.config, model.vocabulary)
    with pytest.raises(ArgumentError, match="nothing left to train") as caught:
        cq.denoise(cells(), model=whole, freeze_encoder=True, epochs=1, progress=False)
    assert caught.value.argument == "freeze_encoder"


def test_a_model_is_shown_in_one_line(model):
    assert repr(model) == "ProjectionModel(30 genes, 240 parameters, 8 wide)"
    assert repr(cq.Denoiser(config=small_model().config)) == "Denoiser(config=<CellModelConfig>)"
