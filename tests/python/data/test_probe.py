"""A damaged file that ends the process which reads it ends a copy of the process, and is then refused."""

import os
import signal

import anndata as ad
import numpy as np
import pytest

from celloquy.data import probe
from celloquy.data.store import open_store
from celloquy.errors import ArgumentError


@pytest.fixture
def file(tmp_path):
    adata = ad.AnnData(np.ones((3, 2), dtype=np.float32))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_a_file_that_ends_its_reader_is_refused(file, monkeypatch):
    monkeypatch.setattr(probe, "_read", lambda path: os.kill(os.getpid(), signal.SIGSEGV))
    with (
        pytest.raises(ArgumentError, match="the library of HDF5 crashes on it"),
        open_store(file),
    ):
        pass


def test_a_whole_file_is_read_and_looked_at_once(file, monkeypatch):
    looked = []
    monkeypatch.setattr(probe, "_ends_its_reader", lambda *key: looked.append(key) or False)
    for _ in range(2):
        with open_store(file) as adata:
            assert adata.shape == (3, 2)
    assert looked[0] == looked[1]


def test_an_error_of_the_reader_is_left_to_where_the_file_is_read(file, monkeypatch):
    def fail(path):
        raise ValueError

    monkeypatch.setattr(probe, "_read", fail)
    with open_store(file) as adata:
        assert adata.shape == (3, 2)


def test_a_copy_that_waits_for_ever_is_ended_and_the_file_read(file, monkeypatch):
    monkeypatch.setattr(probe, "LONGEST", 0.05)
    monkeypatch.setattr(probe, "_read", lambda path: signal.pause())
    with open_store(file) as adata:
        assert adata.shape == (3, 2)
