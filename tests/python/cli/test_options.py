"""Every option of the command reaches what it is for, or is refused: none is dropped."""

import inspect
import warnings
from contextlib import nullcontext

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from examples import IDS

# A value other than the default for each option, and what the functions get; None where it is given without a value.
GIVEN = {
    "layer": ("umi", "umi"), "counts": ("round", "round"), "tissue_key": ("t", "t"), "spatial_key": ("xy", "xy"),
    "batch_key": ("b", "b"), "species": ("auto", "auto"), "model": ("some/model", "some/model"),
    "freeze_encoder": (None, True), "config": ("small", "small"), "epochs": (3, 3), "batch_size": (7, 7),
    "cells_per_sentence": (5, 5), "learning_rate": (0.5, 0.5), "weight_decay": (0.25, 0.25),
    "validation": (0.125, 0.125), "patience": (4, 4), "precision": ("float32", "float32"), "device": ("cpu", "cpu"),
    "seed": (9, 9), "quiet": (None, False), "false_unknown_rate": (0.1, 0.1), "drop_missing": ("no", False),
    "drop_rare": (6, 6), "reference_layer": ("r", "r"), "top_k": (2, 2), "return_evidence": (None, True),
    "key_added": ("k", "k"), "batch_mixing": (3.0, 3.0), "n_top_genes": (8, 8), "n_models": (3, 3),
    "genes": (f"{IDS[0]},{IDS[1]}", [IDS[0], IDS[1]]), "unit": ("lognorm", "lognorm"), "return_std": (None, True),
    "n_neighbors": (4, 4), "max_memory": ("1GB", "1GB"), "temperature": (2.0, 2.0), "resume": (None, True),
    "skip_bad_files": (None, True), "parts": (2, 2), "adapt": (None, True), "devices": (2, 2), "num_nodes": (3, 3),
}  # fmt: skip
CALLED = {"quiet": "progress"}
CLASSES = {"annotate": "Annotator", "integrate": "Integrator", "denoise": "Denoiser", "impute": "Imputer"}
FUNCTIONS = ("embed", "pretrain")
# What makes the call one of the kind that is tested.
FIXED = {"out", "overwrite", "reference", "label_key", "resume_dir", *(name.lower() for name in CLASSES.values())}


def options(verb):
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == verb]
    names = [one.name for one in inspect.signature(command).parameters.values()]
    return [name for name in names if name not in {"context", "file", "corpus", *FIXED}]


def spelled(name):
    value, _ = GIVEN[name]
    if value == "no":
        return [f"--no-{name.replace('_', '-')}"]
    return [f"--{name.replace('_', '-')}", *([] if value is None else [str(value)])]


class Recorder:
    """A task that does nothing, and keeps all that it is given."""

    usual_training = cq.TrainingOptions()

    def __init__(self, **given):
        self.seen = dict(given)
        self.__dict__.update(given)
        if given.get("training") is not None:
            self.seen |= {name: getattr(given["training"], name) for name in cq.TrainingOptions.__dataclass_fields__}
        self.seen["epochs"] = given.get("epochs")

    def fit(self, *_, **given):
        self.seen |= given
        return self

    def predict(self, *_, **given):
        self.seen |= given | {name: value for name, value in vars(self).items() if name != "seen"}

    def save(self, directory, *, overwrite):
        pass

    def check_request(self, *_, **__):
        pass

    def kept(self):
        return nullcontext()

    def answer(self, adata, request, *_):
        asked = {name: getattr(request, name) for name in ("unit", "return_std", "key_added")}
        self.predict(adata, genes=request.names.tolist(), **asked)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "cells.h5ad"
    adata = ad.AnnData(sparse.csr_matrix(np.ones((4, len(IDS)), dtype=np.float32)), var=pd.DataFrame(index=IDS))
    adata.write_h5ad(path)
    return path


@pytest.fixture
def recorded(monkeypatch):
    made = []

    def make(**given):
        made.append(Recorder(**given))
        return made[-1]

    for name in CLASSES.values():
        parts = {
            "__new__": lambda _, **given: make(**given),
            "load": staticmethod(lambda _: make()),
            "usual_training": cq.TrainingOptions(),
        }
        monkeypatch.setattr(cq, name, type(name, (), parts))
    for name in FUNCTIONS:
        monkeypatch.setattr(cq, name, lambda *_, **given: make(**given), raising=False)
    return made


def run(verb, file, tmp_path, *arguments):
    out = tmp_path / ("model" if verb == "pretrain" else "out.h5ad")
    return CliRunner().invoke(app, [verb, str(file), "-o", str(out), *map(str, arguments)])


NEEDED = {
    "annotate": lambda file: ["-r", file, "-l", "type"],
    "impute": lambda file: ["-r", file],
    "integrate": lambda file: ["-b", "batch"],
    "embed": lambda file: ["-m", "some/model"],
}


@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb in (*CLASSES, *FUNCTIONS) for name in options(verb)])
def test_an_option_reaches_what_it_is_for(verb, name, file, tmp_path, recorded):
    needed = NEEDED.get(verb, lambda file: [])(file)
    done = run(verb, file, tmp_path, *needed, *spelled(name))
    assert done.exit_code == 0, done.output
    found = recorded[-1].seen[CALLED.get(name, name)]
    assert (str(found) if name == "model" else found) == GIVEN[name][1]


@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb in CLASSES for name in options(verb)])
def test_an_option_reaches_a_task_that_is_fitted_or_is_refused(verb, name, file, tmp_path, recorded):
    if (verb, name) == ("integrate", "batch_key"):
        return  # It asks for a new fit.
    directory = tmp_path / "task"
    directory.mkdir()
    done = run(verb, file, tmp_path, f"--{CLASSES[verb].lower()}", directory, *spelled(name))
    if done.exit_code:
        assert "is fitted already" in done.output
        assert f"--{name.replace('_', '-')}" in done.output
        assert not recorded
    else:
        assert recorded[-1].seen[CALLED.get(name, name)] == GIVEN[name][1]


def test_what_is_not_given_stays_as_the_task_was_fitted(file, tmp_path, recorded):
    directory = tmp_path / "task"
    directory.mkdir()
    done = run("impute", file, tmp_path, "--imputer", directory)
    assert done.exit_code == 0, done.output
    assert not {"spatial_key", "tissue_key", "precision", "layer"} & set(recorded[-1].seen)


def test_warnings_are_said_once_in_the_words_of_the_command(file, tmp_path, monkeypatch):
    def warn(*_, **__):
        for _ in range(2):
            warnings.warn("pass `batch_size`, or species='auto'.", cq.errors.GeneCoverageWarning, stacklevel=1)
            warnings.warn("for authors", FutureWarning, stacklevel=1)

    monkeypatch.setattr(cq, "embed", warn, raising=False)
    done = run("embed", file, tmp_path, "-m", "some/model")
    assert done.output.count("celloquy: warning: pass --batch-size, or --species auto.") == 1
    assert "for authors" not in done.output
