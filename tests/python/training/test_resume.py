"""A training that is killed and repeated ends with the same weights, bit for bit."""

import multiprocessing
import signal
import sys
import time
import types

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError
from celloquy.training import keeper, snapshots
from celloquy.training.masked_counts import MaskedCounts
from examples import cells, pretrain_until_killed

CONFIG = cq.CellModelConfig(
    width=16, layers=1, feedforward=32, latent="mixture", latent_width=4, latent_hidden=8, components=3,
    decoder_width=16, decoder_rank=16, dropout=0.1,
)  # fmt: skip
# Several pools an epoch, because the memory is small; every pool of several minibatches.
OPTIONS = {
    "config": CONFIG, "epochs": 4, "seed": 3, "tissue_key": "sample", "batch_key": "sample", "max_memory": 100_000,
    "training": cq.TrainingOptions(batch_size=60, learning_rate=5e-3),
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    cells(900).write_h5ad(path)
    return path


@pytest.fixture
def often(monkeypatch):
    """Take a snapshot after every step."""
    monkeypatch.setattr(snapshots, "SAVE_EVERY", 0.0)


def train(path, out, **changes):
    return cq.pretrain(path, out=out, progress=False, **OPTIONS | {"resume": True} | changes)


def run(path, out, seconds):
    """Pretrain in a process of its own; return the signal that ended it, or 0."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["celloquy.training.pretraining", "anndata", "examples"])
    process = context.Process(target=pretrain_until_killed, args=(path, out, seconds, OPTIONS))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGPROF), process.exitcode
    return -process.exitcode


@pytest.mark.skipif(sys.platform == "win32", reason="needs the timers of POSIX")
def test_a_training_that_is_killed_twenty_times_ends_with_the_same_weights(path, tmp_path):
    for number in range(2):
        began = time.perf_counter()
        assert run(path, tmp_path / ("first", "whole")[number], 0) == 0
    # That of the second: the first one starts the server of processes.
    usual = time.perf_counter() - began
    whole = cq.Model.from_pretrained(tmp_path / "whole")
    draw, kills, number = np.random.default_rng(0), 0, 0
    while kills < 20:
        out = tmp_path / f"killed{number}"
        here = 0
        while here < 60 and run(path, out, usual * draw.uniform(0.3, 1.1)):
            here += 1
        if here == 60:
            # Too slow to come to an end between two kills.
            assert run(path, out, 0) == 0
        kills, number = kills + here, number + 1
        model = cq.Model.from_pretrained(out)
        assert model.fingerprint == whole.fingerprint
        history, expected = (pd.read_csv(one / "history.csv") for one in (out, tmp_path / "whole"))
        timed = ["seconds", "waited"]
        pd.testing.assert_frame_equal(history.drop(columns=timed), expected.drop(columns=timed), check_exact=True)
        assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []


def test_a_training_that_is_stopped_at_any_step_ends_with_the_same_weights(path, tmp_path, monkeypatch, often):
    whole = train(path, None, resume=False)
    forward, calls = MaskedCounts.forward, []

    def counted(self, batch, mask):
        calls.append(1)
        return forward(self, batch, mask)

    monkeypatch.setattr(MaskedCounts, "forward", counted)
    train(path, tmp_path / "counted")
    n_calls = len(calls)
    assert n_calls > 60
    for stop in range(1, n_calls, 25):
        calls.clear()

        def stopped(self, batch, mask, stop=stop):
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return forward(self, batch, mask)

        monkeypatch.setattr(MaskedCounts, "forward", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(path, tmp_path / f"stopped{stop}")
        calls.clear()
        monkeypatch.setattr(MaskedCounts, "forward", counted)
        assert train(path, tmp_path / f"stopped{stop}").fingerprint == whole.fingerprint
        # It went on from where it was, not from the start; the held-out cells are all predicted again.
        assert len(calls) <= n_calls - stop + 10


def test_a_complete_training_is_not_repeated_and_another_one_is(path, tmp_path, monkeypatch):
    first = train(path, tmp_path / "model")
    monkeypatch.setattr(MaskedCounts, "forward", None)
    again = train(path, tmp_path / "model")
    assert again.fingerprint == first.fingerprint
    pd.testing.assert_frame_equal(again.history, first.history, check_dtype=False)
    with pytest.raises(CheckpointError, match="already"):
        train(path, tmp_path / "model", seed=4)
    with pytest.raises(TypeError):
        train(path, tmp_path / "model", seed=4, overwrite=True)


def interrupt_after(monkeypatch, steps):
    forward, calls = MaskedCounts.forward, []

    def interrupted(self, batch, mask):
        calls.append(1)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return forward(self, batch, mask)

    monkeypatch.setattr(MaskedCounts, "forward", interrupted)


@pytest.mark.parametrize(
    ("change", "found"),
    [({"seed": 4}, "seed: 3, now 4"), ({"epochs": 5}, "epochs"), ({"batch_key": None}, "cells: ")],
)
def test_another_training_is_not_taken_up_and_the_old_one_stays(path, tmp_path, monkeypatch, often, change, found):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(path, tmp_path / "model")
    with pytest.raises(ArgumentError, match="can't be resumed") as caught:
        train(path, tmp_path / "model", **change)
    assert found in caught.value.found
    assert caught.value.argument == "resume"
    assert train(path, tmp_path / "model").fingerprint == train(path, None, resume=False).fingerprint


def test_a_damaged_snapshot_is_an_error_with_a_remedy(path, tmp_path, monkeypatch, often):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(path, tmp_path / "model")
    (snapshot,) = tmp_path.rglob("training.safetensors")
    snapshot.write_bytes(snapshot.read_bytes()[:500])
    with pytest.raises(ArgumentError, match="can't be resumed") as caught:
        train(path, tmp_path / "model")
    assert "delete that folder" in caught.value.remedy


def test_two_processes_do_not_write_one_model(path, tmp_path):
    folder = tmp_path / ".model.unfinished"
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(ArgumentError, match="written by another process") as caught:
        train(path, tmp_path / "model")
    assert caught.value.argument == "out"


def test_a_training_without_a_target_can_not_be_resumed(path):
    with pytest.raises(ArgumentError, match="`resume`") as caught:
        train(path, None)
    assert caught.value.argument == "resume"


def test_snapshots_are_no_more_frequent_than_asked(path, tmp_path, monkeypatch):
    saved, save = [], snapshots.Snapshots.save
    monkeypatch.setattr(snapshots.Snapshots, "save", lambda self, one: saved.append(1) or save(self, one))
    clock = iter(range(10**6))
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(snapshots, "SAVE_EVERY", 25.0)
    model = train(path, tmp_path / "model")
    # The clock goes on by one whenever it is read: once a step, and once more after a snapshot.
    assert 2 <= len(saved) <= (model.history["epoch"].max() * 25) // 25 + 2


def test_tensorboard_gets_every_figure_of_every_epoch_once(path, tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, name, value, epoch):
            written.append((self.folder, name, value, epoch))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setattr(keeper, "find_spec", lambda name: name == "tensorboard")
    monkeypatch.setattr(keeper, "SAVE_EVERY", 0.0)
    model = train(path, tmp_path / "model")
    assert {folder for folder, *_ in written} == {str(tmp_path / "model" / "tensorboard")}
    found = {(name, epoch): value for _, name, value, epoch in written}
    assert len(found) == len(written)
    expected = model.history.set_index("epoch").stack().to_dict()
    assert found == {(name, int(epoch)): value for (epoch, name), value in expected.items()}


def test_the_state_of_torch_s_generator_is_unchanged(path, tmp_path, monkeypatch, often):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            train(path, tmp_path / "model")
    state = torch.get_rng_state()
    train(path, tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)
