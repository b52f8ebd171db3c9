"""Two processes give the embedding of one, from memory and from file to file, and go on when one of them was killed."""

import json
import subprocess
import sys
import textwrap

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.data import CellSource
from examples import cells, small_model

JUST_THE_MODEL = sum(4 * weight.numel() for weight in small_model().parameters()) + 2000
TWO_PROCESSES = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

SCRIPT = """
import json, os, signal, sys, time
import anndata as ad
import numpy as np
import torch
import celloquy as cq
from celloquy.runtime.resume import Journal

torch.set_num_threads(1)
rank, calls = os.environ["RANK"], json.loads(sys.argv[1])
note, forget = Journal.note, Journal.forget

def killed(self, **steps):
    # Before it is noted: the other process is then a layer ahead.
    if rank == "1" and steps.get("layers") == dies:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    note(self, **steps)

def not_anew(self):
    assert not fresh, "nothing was resumed"

for options in calls:
    dies, fresh = options.pop("dies", None), options.pop("resumes", False)
    Journal.note = killed if dies else note
    Journal.forget = not_anew if fresh else forget
    source, name = options.pop("adata"), options.pop("name", None)
    source = source[rank] if isinstance(source, dict) else source
    adata = source if "out" in options else ad.read_h5ad(source)
    cq.embed(adata, precision="float32", progress=False, **options)
    if "out" not in options:
        np.save(f"{name}-{rank}.npy", adata.obsm["X_celloquy"])
    elif not os.path.exists(options["out"]):
        raise AssertionError("the call ended before its result was there")
"""


def examples():
    """One large tissue that is streamed, several small ones, in no order."""
    adata = cells(90, seed=5)
    tissue = np.random.default_rng(1).permutation(np.repeat(["large", *"abcdefgh"], [50, 1, 2, 3, 4, 6, 7, 8, 9]))
    adata.obs["donor"] = pd.Categorical(tissue)
    return adata


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT))
    examples().write_h5ad(folder / "cells.h5ad")
    small_model().save(folder / "flow")
    small_model(attention="softmax").save(folder / "softmax")
    small_model(attention="none").save(folder / "none")
    vocabulary = small_model().vocabulary
    studies = [CellSource(cells(60, seed=seed)).over(vocabulary).read_all() for seed in (1, 2)]
    cq.FactorModel.fit(studies, vocabulary, cq.FactorModelConfig(width=5)).save(folder / "factors")
    return folder


def run(folder, *calls):
    """Run calls in two processes, and return how they ended."""
    command = [*TWO_PROCESSES, "script.py", json.dumps([{"adata": "cells.h5ad"} | one for one in calls])]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=folder)


def of_one(folder, options):
    options = {name: value for name, value in options.items() if name != "name"}
    options["model"] = folder / options["model"]
    return cq.embed(examples(), precision="float32", progress=False, copy=True, **options).obsm["X_celloquy"]


def check_same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_two_processes_give_the_embedding_of_one(folder):
    reads = {"tissue_key": "donor", "batch_size": 10}
    calls = [
        {"name": "flow", "model": "flow", "spatial_key": "spatial", **reads},
        {"name": "files", "model": "flow", "max_memory": JUST_THE_MODEL, **reads},
        {"name": "single cells", "model": "flow", "tissue_key": "donor", "batch_size": 1},
        {"name": "softmax", "model": "softmax", **reads},
        {"name": "none", "model": "none", "batch_size": 10},
        {"name": "factors", "model": "factors", "adapt": False, "batch_size": 10},
        {"name": "adapted", "model": "factors", "batch_size": 10},
    ]
    to_files = [{**calls[0], "out": "flow.h5ad"}, {**calls[6], "out": "adapted.zarr"}]
    done = run(folder, *calls, *to_files)
    assert done.returncode == 0, done.stderr
    for options in calls:
        expected = of_one(folder, options)
        for rank in (0, 1):
            check_same(np.load(folder / f"{options['name']}-{rank}.npy"), expected)
    written = ad.read_h5ad(folder / "flow.h5ad")
    check_same(written.obsm["X_celloquy"], of_one(folder, calls[0]))
    assert written.uns["celloquy"]["X_celloquy"]["empty_cells"].tolist() == ["0"]
    check_same(ad.read_zarr(folder / "adapted.zarr").obsm["X_celloquy"], of_one(folder, calls[6]))
    assert not list(folder.glob(".*"))


def test_a_process_that_is_killed_ends_all_and_the_same_call_goes_on(folder):
    options = {"model": "flow", "tissue_key": "donor", "batch_size": 10, "out": "killed.h5ad"}
    died = run(folder, options | {"dies": 2})
    assert died.returncode != 0
    assert "Signal 9" in died.stderr
    assert not (folder / "killed.h5ad").exists()
    done = run(folder, options | {"resumes": True})
    assert done.returncode == 0, done.stderr
    del options["out"]
    check_same(ad.read_h5ad(folder / "killed.h5ad").obsm["X_celloquy"], of_one(folder, options))
    assert not list(folder.glob(".*"))


def test_processes_with_other_cells_are_refused(folder):
    changed = examples()
    changed.obs_names = changed.obs_names[::-1]
    changed.write_h5ad(folder / "other.h5ad")
    differing = {"model": "flow", "adata": {"0": "cells.h5ad", "1": "other.h5ad"}, "out": "differing.h5ad"}
    done = run(folder, differing)
    assert done.returncode != 0
    assert "The processes differ" in done.stderr
    assert "differences in cells" in done.stderr
    assert not list(folder.glob("*differing*"))
