"""Seurat objects in .rds files: what Python reads and writes is what R reads and writes.

R runs inside these tests' process; `make test-r` starts them where there is one.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import celloquy as cq
from celloquy import seurat
from celloquy.errors import ArgumentError, SeuratError

needs_r = pytest.mark.skipif("CELLOQUY_TEST_R" not in os.environ, reason="needs R: make test-r runs it")


@pytest.fixture(scope="module")
def rds(r, tmp_path_factory) -> Path:
    """Seurat's own small object, with what is easily lost between the languages."""
    path = tmp_path_factory.mktemp("objects") / "pbmc small.rds"
    r(f"""
      object <- suppressWarnings(suppressMessages(SeuratObject::UpdateSeuratObject(SeuratObject::pbmc_small)))
      n <- ncol(object)
      object$donor <- factor(rep(c("b", "a", NA), length.out = n), levels = c("c", "b", "a"))
      object$stage <- factor(rep(c("late", "early"), length.out = n), levels = c("early", "late"), ordered = TRUE)
      object$doublet <- rep(c(TRUE, NA, FALSE), length.out = n)
      object$passage <- rep(c(1L, NA), length.out = n)
      object$note <- rep(c("x", NA, "NA"), length.out = n)
      saveRDS(object, "{path}")
    """)
    return path


def content(path: Path) -> dict[str, tuple]:
    """All that an h5ad file holds, by its name in the file: attributes, and values with their type."""
    found = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in sorted(item.attrs.items())}
        values = None
        if isinstance(item, h5py.Dataset):
            values = np.asarray(item[()])
            values = (str(item.dtype), item.shape, values.tolist() if item.dtype.hasobject else values.tobytes())
        found[name] = (attributes, values)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def written(adata: ad.AnnData, path: Path) -> dict[str, tuple]:
    """What a file of the cells holds."""
    adata.write_h5ad(path)
    return content(path)


@needs_r
def test_reading_gives_what_r_converts(rds, r, tmp_path):
    r(f'celloquy::WriteH5AD(readRDS("{rds}"), "{tmp_path}/r.h5ad", verbose = FALSE)')
    from_r = written(ad.read_h5ad(tmp_path / "r.h5ad"), tmp_path / "r again.h5ad")
    assert {"X/data", "obs/donor/codes", "obsm/X_pca"} <= set(from_r)
    assert written(cq.read_seurat(rds), tmp_path / "python.h5ad") == from_r


@needs_r
def test_reading_keeps_the_counts_and_the_columns(rds):
    adata = cq.read_seurat(rds)
    assert adata.shape == (80, 230)
    assert sp.issparse(adata.X)
    assert adata.X.nnz == 4456
    assert adata.X.sum() == 19633
    assert list(adata.obs["donor"].cat.categories) == ["c", "b", "a"]
    assert adata.obs["donor"].isna().sum() == 26
    assert adata.obs["stage"].cat.ordered
    assert list(adata.obs["doublet"][:3]) == [True, pd.NA, False]
    assert adata.obs["passage"].isna().sum() == 40
    assert list(adata.obs["note"].isna()[:3]) == [False, True, False]
    assert adata.obsm["X_pca"].shape == (80, 19)


@needs_r
def test_assay_and_layer_are_those_of_r(rds, r, tmp_path):
    r(f'celloquy::WriteH5AD(readRDS("{rds}"), "{tmp_path}/r.h5ad", layer = "data", verbose = FALSE)')
    adata = cq.read_seurat(rds, assay="RNA", layer="data")
    from_r = written(ad.read_h5ad(tmp_path / "r.h5ad"), tmp_path / "r again.h5ad")
    assert written(adata, tmp_path / "python.h5ad") == from_r
    assert not np.array_equal(adata.X.data, np.round(adata.X.data))


@needs_r
def test_an_object_returns_to_r_as_it_was(rds, r, tmp_path):
    cq.write_seurat(cq.read_seurat(rds), tmp_path / "again.rds")
    again = r(f"""
      again <- readRDS("{tmp_path}/again.rds")
      attr(again, "report") <- NULL
      identical(again, readRDS("{rds}"))
    """)
    assert list(again) == [True]


@needs_r
def test_writing_gives_what_r_converts(r, tmp_path):
    import scanpy as sc

    sc.datasets.pbmc68k_reduced().write_h5ad(tmp_path / "cells.h5ad")
    # From the file, which does not keep the order of names.
    adata = ad.read_h5ad(tmp_path / "cells.h5ad")
    before = written(adata, tmp_path / "before.h5ad")
    cq.write_seurat(adata, tmp_path / "cells.rds")
    assert written(adata, tmp_path / "after.h5ad") == before
    r(f'from_r <- celloquy::ReadH5AD("{tmp_path}/cells.h5ad", verbose = FALSE)')
    assert list(r(f'identical(readRDS("{tmp_path}/cells.rds"), from_r)')) == [True]
    assert sorted(path.name for path in tmp_path.glob("*cells*")) == ["cells.h5ad", "cells.rds"]


@needs_r
def test_another_conversion_that_the_user_switched_on_does_not_matter(rds):
    import anndata2ri

    with anndata2ri.converter.context():
        assert cq.read_seurat(rds).shape == (80, 230)


@needs_r
def test_a_file_without_a_seurat_object_is_named(r, tmp_path):
    r(f'saveRDS(1:3, "{tmp_path}/numbers.rds")')
    (tmp_path / "text.rds").write_text("no R at all")
    for name in ["numbers.rds", "text.rds"]:
        with pytest.raises(SeuratError, match=rf"{name}' can't be read as a Seurat object.\nFound: \w"):
            cq.read_seurat(tmp_path / name)


@needs_r
def test_an_assay_that_is_not_there_is_named(rds):
    with pytest.raises(SeuratError, match="ADT"):
        cq.read_seurat(rds, assay="ADT")


@needs_r
def test_a_failed_write_leaves_the_file_that_was_there(r, tmp_path):
    (tmp_path / "cells.rds").write_text("earlier")
    with pytest.raises(SeuratError, match="can't be written"):
        cq.write_seurat("no AnnData", tmp_path / "cells.rds")
    assert (tmp_path / "cells.rds").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1


@needs_r
def test_an_interrupt_stops_r(r, rds, tmp_path, monkeypatch):
    # R is asked to stop while it runs, as Ctrl-C in a terminal does.
    monkeypatch.setattr(
        seurat, "_WRITE", "function(path) { tools::pskill(Sys.getpid(), tools::SIGINT); repeat Sys.sleep(0.05) }"
    )
    (tmp_path / "cells.rds").write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        cq.write_seurat(ad.AnnData(np.ones((2, 2))), tmp_path / "cells.rds")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]
    assert cq.read_seurat(rds).n_obs == 80


@needs_r
def test_r_without_the_package_is_told_how_to_get_it(rds):
    # A process of its own, whose R has only the libraries that came with it.
    found = run_python(f"import celloquy; celloquy.read_seurat({str(rds)!r})")
    assert "R lacks celloquy.\nFound: R at " in found
    assert "Fix: in a clone of celloquy: R CMD INSTALL ." in found


@needs_r
def test_reading_does_not_load_torch(rds, r_library):
    found = run_python(
        f"import celloquy, sys; celloquy.read_seurat({str(rds)!r}); print('torch' in sys.modules)", R_LIBS=r_library
    )
    assert found.splitlines()[-1] == "False"


def test_without_r_the_error_says_where_to_get_it(tmp_path):
    (tmp_path / "object.rds").touch()
    pytest.importorskip("rpy2")
    found = run_python(f"import celloquy; celloquy.read_seurat({str(tmp_path / 'object.rds')!r})", PATH="", R_HOME=None)
    assert "SeuratError: No R was found." in found
    assert "https://cran.r-project.org" in found


def test_without_rpy2_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rpy2.robjects", None)
    with pytest.raises(SeuratError, match=r"Fix: pip install 'celloquy\[r\]'"):
        cq.write_seurat(ad.AnnData(np.ones((2, 2))), tmp_path / "cells.rds")
    assert not list(tmp_path.iterdir())


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"There is no file .*nothing\.rds"):
        cq.read_seurat(tmp_path / "nothing.rds")
    with pytest.raises(ArgumentError, match=r"There is no folder .*nowhere"):
        cq.write_seurat(ad.AnnData(np.ones((2, 2))), tmp_path / "nowhere" / "cells.rds")


def test_another_thread_is_refused(tmp_path):
    (tmp_path / "object.rds").touch()
    errors = []

    def read():
        try:
            cq.read_seurat(tmp_path / "object.rds")
        except SeuratError as error:
            errors.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


def run_python(code: str, **environment) -> str:
    """Run code in a Python of its own; returns what it printed, errors included."""
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    for name, value in environment.items():
        if value is None:
            del variables[name]
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    return done.stderr + done.stdout
