"""Two processes train the model of one, a process that dies ends all, and another number of processes goes on."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch

import celloquy as cq
from celloquy.errors import ArgumentError
from celloquy.runtime.processes import start_processes
from examples import cells

TWO_PROCESSES = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

SCRIPT = """
import json, os, signal, sys
import torch
import celloquy as cq
from celloquy.training import keeper, snapshots
from celloquy.training.masked_counts import MaskedCounts

torch.set_num_threads(1)
options = json.loads(sys.argv[1])
dies = options.pop("dies", None)
snapshots.SAVE_EVERY = keeper.SAVE_EVERY = 0.0
forward, calls = MaskedCounts.forward, []

def counted(self, batch, mask):
    calls.append(1)
    if dies is not None and len(calls) > dies and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(self, batch, mask)

MaskedCounts.forward = counted
config = cq.CellModelConfig(
    width=16, layers=1, feedforward=32, latent="gaussian", latent_width=4, decoder_width=16, decoder_rank=16,
    dropout=0.1,
)
training = cq.TrainingOptions(batch_size=60, learning_rate=5e-3, parts=options.pop("parts", None))
cq.pretrain(**options, config=config, training=training, tissue_key="sample", progress=False, seed=3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    cells(400).write_h5ad(folder / "cells.h5ad")
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT))
    return folder


def run(folder, out, *, processes, **options):
    """Run the script, and return how it ended."""
    start = [sys.executable] if processes == 1 else TWO_PROCESSES
    given = {"corpus": str(folder / "cells.h5ad"), "out": str(folder / out), "epochs": 3} | options
    command = [*start, str(folder / "script.py"), json.dumps(given)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def trained(folder, out):
    model = cq.Model.from_pretrained(folder / out)
    history = pd.read_csv(folder / out / "history.csv").drop(columns=["seconds", "waited"])
    return cq.embed(cells(50), model=model, progress=False, copy=True).obsm["X_celloquy"], history


@pytest.fixture(scope="module")
def of_one(folder):
    done = run(folder, "one", processes=1, parts=2)
    assert done.returncode == 0, done.stderr
    return trained(folder, "one")


def check_same(found, expected):
    scale = np.abs(expected[0]).max()
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-5 * scale)
    pd.testing.assert_frame_equal(found[1], expected[1], rtol=1e-5)


def test_two_processes_train_the_model_of_one_with_the_same_parts(folder, of_one):
    done = run(folder, "two", processes=2)
    assert done.returncode == 0, done.stderr
    check_same(trained(folder, "two"), of_one)


def test_a_process_that_dies_ends_all_and_one_process_goes_on(folder, of_one):
    died = run(folder, "dead", processes=2, dies=12, resume=True)
    assert died.returncode != 0
    assert "Signal 9" in died.stderr
    # No number of parts is given: they are those with which the training began.
    done = run(folder, "dead", processes=1, resume=True)
    assert done.returncode == 0, done.stderr
    check_same(trained(folder, "dead"), of_one)
    assert not list(folder.glob(".*"))


def test_an_error_of_two_processes_is_that_of_one(folder):
    done = run(folder, "none", processes=2, corpus=str(folder / "missing.h5ad"))
    assert done.returncode != 0
    assert "missing.h5ad" in done.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [({"devices": 0}, "`devices` can't"), ({"num_nodes": 1.5}, "`num_nodes` can't"), ({"num_nodes": 2}, "Several")],
)
def test_unfit_numbers_of_processes_are_refused(option, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        cq.pretrain(cells(20), epochs=1, progress=False, **option)
    assert caught.value.argument == next(iter(option))


def test_the_numbers_must_be_those_that_were_started(monkeypatch):
    started = {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    for name, asked in (("devices", 4), ("num_nodes", 1)):
        with pytest.raises(ArgumentError, match=f"`{name}` is not what was started") as caught:
            start_processes(torch.device("cpu"), **{name: asked})
        assert "2 processes on 2 machines" in caught.value.found


def test_only_what_srun_has_started_is_several_processes(monkeypatch):
    batch_script = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "celloquy", "SLURM_NNODES": "2", "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    }  # fmt: skip
    for name, value in batch_script.items():
        monkeypatch.setenv(name, value)
    assert start_processes(torch.device("cpu")).world_size == 1
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    with pytest.raises(ArgumentError, match="`devices` is not what was started") as caught:
        start_processes(torch.device("cpu"), devices=1)
    assert "2 processes on 2 machines" in caught.value.found
