"""Every public function and class has an example in its documentation, and all examples run as they stand there."""

import doctest
import inspect
import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch

import celloquy as cq

SHARED = Path(__file__).resolve().parents[3] / "shared"
OF_R = ("write_seurat", "read_seurat")
ROOMS = ("data", "evaluate", "genes", "models", "plots", "tasks", "training")


def documented() -> dict[str, object]:
    """Return the public functions and classes by their name, each once."""
    found = {name: getattr(cq, name) for name in cq.__all__ if name != "__version__"}
    for room in ROOMS:
        home = import_module(f"celloquy.{room}")
        found |= {f"{room}.{name}": getattr(home, name) for name in home.__all__}
    first = {id(one): name for name, one in reversed(found.items()) if callable(one)}
    return {name: found[name] for name in first.values()}


PUBLIC = documented()


class ShownAlone(doctest.OutputChecker):
    """Compares what an example shows; one that shows nothing may return anything."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="session")
def cells():
    """Blood cells with what the examples name: types, clusters, donors, slices, positions, perturbations and doses."""
    adata = cq.recover_counts(sc.datasets.pbmc68k_reduced())
    row = np.arange(adata.n_obs)
    broad = {"Dendritic": "dendritic", "CD14+ Monocyte": "monocyte", "CD19+ B": "B cell"}
    adata.obs["cell_type"] = (
        adata.obs["bulk_labels"].astype(str).map(lambda name: broad.get(name, "T cell")).astype("category")
    )
    adata.obs["leiden"] = adata.obs["louvain"]
    adata.obs["donor"] = pd.Categorical(np.array(["A", "B"])[row % 2])
    adata.obs["slice"] = adata.obs["sample"] = pd.Categorical(np.array(["1", "2"])[row % 2])
    adata.obs["gene"] = pd.Categorical(np.array(["control", "STAT1", "IRF7", "CEBPB"])[row % 4])
    adata.obs["drug"] = pd.Categorical(np.array(["control", "JQ1"])[row % 2])
    adata.obs["dose"] = np.array([0, 0.1, 0, 0.3, 0, 1.0])[row % 6]
    adata.obs["patient"] = pd.Categorical([f"P{one % 10}" for one in row])
    adata.obs["response"] = pd.Categorical(np.array(["no", "yes"])[row % 2])
    adata.obsm["spatial"] = np.random.default_rng(0).uniform(size=(adata.n_obs, 2))
    return adata


def world(cells):
    """Return what an example finds: packages by their usual names, cells, and files in the working folder."""
    adata, reference = cells[:120].copy(), cells[120:300].copy()
    adata.write_h5ad("cells.h5ad")
    released = SHARED / "fixtures"
    Path("checkpoint").mkdir()
    for file in (*released.glob("genecompass/*"), *released.glob("cellplm/tiny_vae.*")):
        Path("checkpoint", file.name.replace("tiny_vae", "cellplm")).symlink_to(file)
    hidden = ["CD79A", "CD79B", "LYZ", "NKG7"]
    spatial = adata[:, ~adata.var_names.isin(hidden)].copy()
    sensitive = ["GATA4", "TBX5", "TP53", "RUNX1", "PAX6", "SOX9", "MYC", "NOTCH1", "NIPBL", "CHD7"]
    others = ["KRT1", "OR1A1", "HBB", "ALB", "INS", "LYZ", "MS4A1", "CYP2D6", "AMY1A", "CST3"]
    table = pd.DataFrame({"gene": sensitive + others, "dosage_sensitive": ["yes"] * 10 + ["no"] * 10})
    packages = {"np": np, "pd": pd, "sc": sc, "torch": torch, "cq": cq}
    return packages | {"adata": adata, "reference": reference, "spatial": spatial, "table": table}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_an_example(name):
    assert ">>> " in (PUBLIC[name].__doc__ or ""), f"celloquy.{name} has no example"


HOOKS = {"check_request", "kept", "answer", "schedule", "cells_a_step"}
"""What the package itself calls of classes that people use."""


CLASSES = [name for name, one in PUBLIC.items() if inspect.isclass(one) and "." not in name]


# Most methods of a model are called by those who write a family or a task.
@pytest.mark.parametrize("name", [name for name in CLASSES if not issubclass(PUBLIC[name], torch.nn.Module)])
def test_example_of_a_class_calls_what_people_call(name):
    lines = inspect.getdoc(PUBLIC[name]).splitlines()
    shown = "\n".join(line for line in lines if line.startswith((">>> ", "... ")))
    methods = inspect.getmembers(PUBLIC[name], lambda one: inspect.isfunction(one) or inspect.ismethod(one))
    own = {method for method, one in methods if one.__module__.startswith("celloquy") and not method.startswith("_")}
    assert {method for method in own - HOOKS if f".{method}(" not in shown} == set()


@pytest.fixture
def few_epochs(monkeypatch):
    """Let a training without a number of epochs have two, because examples show how a call is written."""
    usual = cq.TrainingOptions.schedule
    shorter = lambda options, *given, **named: replace(usual(options, *given, **named), epochs=2)  # noqa: E731
    monkeypatch.setattr(cq.TrainingOptions, "schedule", shorter)


@pytest.mark.usefixtures("few_epochs")
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
@pytest.mark.parametrize("name", [name for name, one in PUBLIC.items() if ">>> " in (one.__doc__ or "")])
def test_example_runs(name, cells, tmp_path, monkeypatch, request):
    if name in OF_R:
        if "CELLOQUY_TEST_R" not in os.environ:
            pytest.skip("needs R: make test-r runs it")
        request.getfixturevalue("r")
    if name.startswith("read_") and name not in OF_R and not SHARED.is_dir():
        pytest.skip("needs the data folder beside the checkout")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    space = world(cells)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(ShownAlone(), verbose=False)
    example = parser.get_doctest(inspect.getdoc(PUBLIC[name]), space, name, None, None)
    told: list[str] = []
    runner.run(example, out=told.append)
    matplotlib.pyplot.close("all")
    assert runner.failures == 0, "".join(told)
