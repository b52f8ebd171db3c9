"""What can be checked is checked before a training, and what was trained is kept when its result can't be."""

import re
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.errors import ArgumentError, CelloquyError, CheckpointError, DiskError
from celloquy.tasks.annotation.annotator import SHAPE
from examples import cells as plain_cells
from examples import small_model

SMALL = {"width": 8, "layers": 1, "feedforward": 8, "decoder_width": 8, "decoder_rank": 8}
TINY = cq.CellModelConfig(**SMALL, latent_width=8, positions=False)
QUICK = {"epochs": 1, "progress": False}


def cells(seed: int = 0) -> ad.AnnData:
    adata = plain_cells(40, seed=seed)
    adata.obs["type"] = np.array(["a", "b"])[np.arange(40) % 2]
    return adata


def panel() -> ad.AnnData:
    return cells()[:, :20].copy()


CALLS = {
    "annotate": lambda adata, **given: cq.annotate(
        adata, reference=cells(1), label_key="type", config=SHAPE.replace(**SMALL), **QUICK, **given
    ),
    "denoise": lambda adata, **given: cq.denoise(adata, config=TINY, **QUICK, **given),
    "impute": lambda adata, **given: cq.impute(
        adata[:, :20].copy() if not adata.isbacked else adata, reference=cells(1), n_models=2, config=TINY,
        spatial_key=None, **QUICK, **given,
    ),
    "integrate": lambda adata, **given: cq.integrate(adata, batch_key="sample", config=TINY, **QUICK, **given),
}  # fmt: skip
TASKS = {"annotate": cq.Annotator, "denoise": cq.Denoiser, "impute": cq.Imputer, "integrate": cq.Integrator}


@pytest.fixture
def no_training(monkeypatch):
    def train(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr("celloquy.training.trainer.Trainer.run", train)


def kept_in(text: str) -> Path:
    """The directory that an error names, which is removed by the caller."""
    return Path(re.findall(r"is kept in '([^']+)'", text)[0])


@pytest.mark.parametrize("verb", CALLS)
def test_a_fitted_task_is_kept_when_its_prediction_fails(verb, monkeypatch):
    def fail(*_, **__):
        raise ArgumentError("No result today.", remedy="try tomorrow.")

    monkeypatch.setattr(TASKS[verb], "_predict", fail)
    with pytest.raises(ArgumentError, match=f"The fitted {TASKS[verb].__name__} is kept in") as caught:
        CALLS[verb](cells())
    place = kept_in(str(caught.value))
    assert TASKS[verb].load(place).model_ is not None
    shutil.rmtree(place)


@pytest.mark.parametrize("verb", CALLS)
def test_a_copy_of_a_backed_object_is_refused_before_the_training(verb, tmp_path, no_training):
    cells().write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    with pytest.raises(ArgumentError, match="`copy` can't be used with an object whose matrices are in a file"):
        CALLS[verb](backed, copy=True)
    with pytest.raises(ArgumentError, match="`copy` can't be used"):
        cq.embed(backed, model=small_model(), copy=True, progress=False)
    backed.file.close()


@pytest.mark.parametrize(("ending", "column"), [(".h5ad", "mixed"), (".zarr", "a/b")])
def test_a_column_that_a_file_can_not_hold_is_told_before_the_work(ending, column, tmp_path, no_training, monkeypatch):
    adata = cells()
    adata.obs[column] = pd.Series([1, {}] * 20, index=adata.obs_names, dtype=object)
    monkeypatch.setattr(cq.CellModel, "embed", None)
    for call in (
        lambda: cq.denoise(adata, out=tmp_path / f"out{ending}", **QUICK),
        lambda: cq.embed(adata, model=small_model(), out=tmp_path / f"out{ending}", progress=False),
    ):
        with pytest.raises(ArgumentError, match=rf"A part of the object can't be written(.|\n)*(slash|{column})"):
            call()
    assert not list(tmp_path.iterdir())


def test_the_file_of_the_counts_is_not_replaced_by_a_result_without_them(tmp_path, no_training):
    cells().write_h5ad(tmp_path / "x.h5ad")
    (tmp_path / "link.h5ad").symlink_to(tmp_path / "x.h5ad")
    before = (tmp_path / "x.h5ad").read_bytes()
    for source, out in (("x", "x"), ("x", "link"), ("link", "x")):
        with pytest.raises(ArgumentError, match="the file of the counts"):
            cq.denoise(tmp_path / f"{source}.h5ad", out=tmp_path / f"{out}.h5ad", **QUICK)
    run("denoise", tmp_path / "x.h5ad", "-o", tmp_path / "x.h5ad", "-q", says="the file of the counts")
    assert (tmp_path / "x.h5ad").read_bytes() == before


def test_genes_that_the_counts_lack_are_told_before_the_training(no_training):
    adata = cells()
    adata.raw = adata
    adata = adata[:, :5].copy()
    adata.X = adata.X.multiply(0.37).tocsr()
    adata.var_names = [f"x{i}" for i in range(5)]
    with pytest.raises(ArgumentError, match=r"are not those of adata\.var_names"):
        cq.denoise(adata, genes=["x1"], layer="raw", **QUICK)


@pytest.mark.parametrize("out", ["x.txt", "file/x.h5ad", "n" * 300 + ".h5ad", "foreign.zarr"])
def test_a_file_that_can_not_be_written_is_told_before_the_training(out, tmp_path, no_training):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign.zarr").mkdir()
    (tmp_path / "foreign.zarr" / "notes.txt").write_text("mine")
    cells().write_h5ad(tmp_path / "x.h5ad")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CelloquyError, match="can't be written"):
        cq.denoise(cells(), out=tmp_path / out, **QUICK)
    for verb in (["integrate", "-b", "sample"], ["denoise"]):
        run(verb[0], tmp_path / "x.h5ad", *verb[1:], "-o", tmp_path / out, "-q", says="can't be written")
    assert sorted(tmp_path.rglob("*")) == before


def run(*arguments: object, says: str = "") -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert (result.exit_code == 0) == (not says), result.output
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert says in result.output.replace("\n", " ")
    return result.output


@pytest.fixture
def files(tmp_path) -> Path:
    cells().write_h5ad(tmp_path / "x.h5ad")
    cells(1).write_h5ad(tmp_path / "reference.h5ad")
    panel().write_h5ad(tmp_path / "panel.h5ad")
    return tmp_path


def commands(folder: Path) -> dict[str, list[object]]:
    quick = ["--epochs", "1", "-q"]
    return {
        "annotate": [folder / "x.h5ad", "-r", folder / "reference.h5ad", "-l", "type", *quick],
        "denoise": [folder / "x.h5ad", *quick],
        "impute": [folder / "panel.h5ad", "-r", folder / "reference.h5ad", "--n-models", "2", *quick],
        "integrate": [folder / "x.h5ad", "-b", "sample", *quick],
    }


DIRECTORY = {"annotate": "--annotator", "denoise": "--denoiser", "impute": "--imputer", "integrate": "--integrator"}


@pytest.mark.parametrize("verb", CALLS)
def test_a_directory_that_can_not_hold_the_task_is_told_before_the_training(verb, files, no_training):
    (files / "file").write_text("mine")
    (files / "foreign").mkdir()
    (files / "foreign" / "thesis.docx").write_text("years of work")
    small_model().save(files / "model")
    before = sorted(files.rglob("*"))
    for name, says in (("file/task", "written"), ("foreign", "not a saved model"), ("model", "already")):
        if verb == "denoise" and name != "file/task":
            continue  # It reads what is there.
        run(verb, *commands(files)[verb], "-o", files / "out.h5ad", DIRECTORY[verb], files / name, says=says)
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("verb", CALLS)
def test_the_command_replaces_a_fitted_task_only_by_force(verb, files):
    small_model().save(files / "task")
    (files / "task" / "notes.txt").write_text("mine")
    if verb != "denoise":
        text = run(
            verb, *commands(files)[verb], "-o", files / "out.h5ad", DIRECTORY[verb], files / "task", says="--force"
        )
        assert "overwrite" not in text
    run(verb, *commands(files)[verb], "-o", files / "out.h5ad", DIRECTORY[verb], files / "task", "--force")
    assert TASKS[verb].load(files / "task").model_ is not None
    assert (files / "task" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("verb", CALLS)
def test_force_without_a_directory_is_refused(verb, files, no_training):
    run(verb, *commands(files)[verb], "-o", files / "out.h5ad", "--force", says="There is nothing to replace")


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("saved", [False, True])
def test_the_command_keeps_what_it_trained_when_the_file_can_not_be_written(verb, saved, files, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    # What is computed is written by these, what was read by anndata.
    monkeypatch.setattr("anndata.io.write_elem", full)
    monkeypatch.setattr("celloquy.data.store._write_rows", full)
    directory = [DIRECTORY[verb], files / "task"] if saved else []
    text = run(verb, *commands(files)[verb], "-o", files / "out.h5ad", *directory, says="No space left").replace(
        "\n", ""
    )
    place = kept_in(text)
    assert TASKS[verb].load(place).model_ is not None
    if saved:
        assert place == files / "task"
    else:
        shutil.rmtree(place)
    assert not (files / "out.h5ad").exists()


def test_the_command_checks_the_number_of_labels_and_the_key_before_the_training(files, no_training):
    out = ["-o", files / "out.h5ad"]
    run("annotate", *commands(files)["annotate"], *out, "--top-k", "3", says="--top-k")
    for verb in CALLS:
        run(verb, *commands(files)[verb], *out, "--key-added", "a/b", says="--key-added")


def test_a_trained_model_is_kept_when_its_directory_is_full(tmp_path, monkeypatch):
    from celloquy.models import checkpoint

    save, calls = checkpoint.save_file, []

    def full_there(weights, file, **options):
        calls.append(file)
        if Path(file).is_relative_to(tmp_path):
            raise OSError(28, "No space left on device")
        return save(weights, file, **options)

    monkeypatch.setattr(checkpoint, "save_file", full_there)
    with pytest.raises(DiskError, match="The trained model is kept in") as caught:
        cq.pretrain(cells(), config=TINY, out=tmp_path / "model", **QUICK)
    place = kept_in(str(caught.value))
    assert cq.Model.from_pretrained(place).provenance["cells"] == "40"
    shutil.rmtree(place)
    assert not list(tmp_path.iterdir())


def test_a_model_is_pretrained_over_another_only_if_that_is_asked_for(tmp_path, no_training, monkeypatch):
    small_model().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="already"):
        cq.pretrain(cells(), config=TINY, out=tmp_path / "model", **QUICK)
    cells().write_h5ad(tmp_path / "x.h5ad")
    run("pretrain", tmp_path / "x.h5ad", "-o", tmp_path / "model", "-q", says="--force")
    monkeypatch.undo()
    run("pretrain", tmp_path / "x.h5ad", "-o", tmp_path / "model", "--epochs", "1", "-q", "--force")
    assert cq.Model.from_pretrained(tmp_path / "model").provenance["cells"] == "40"


def test_an_interrupted_training_may_be_repeated_into_its_directory(tmp_path, monkeypatch):
    from celloquy.training.keeper import Keeper

    on_epoch = Keeper.on_epoch

    def interrupt(self, *arguments):
        on_epoch(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cq.pretrain(cells(), config=TINY, out=tmp_path / "model", **QUICK)
    best_so_far = cq.Model.from_pretrained(tmp_path / "model")
    whole = cq.pretrain(cells(), config=TINY, out=tmp_path / "model", epochs=2, seed=1, progress=False)
    assert best_so_far.fingerprint != whole.fingerprint
    assert cq.Model.from_pretrained(tmp_path / "model").fingerprint == whole.fingerprint
    # The very same training is no other model.
    again = cq.pretrain(cells(), config=TINY, out=tmp_path / "model", epochs=2, seed=1, progress=False)
    assert again.fingerprint == whole.fingerprint
    with pytest.raises(CheckpointError, match="already"):
        cq.pretrain(cells(), config=TINY, out=tmp_path / "model", **QUICK)
