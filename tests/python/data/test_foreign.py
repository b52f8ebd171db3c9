"""Files of Cell Ranger and muon are read wherever a path is taken; others are named with the line that reads them."""

import gzip
import io
import re
import zipfile

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata.io import write_elem
from scipy import sparse
from scipy.io import mmwrite
from typer.testing import CliRunner

import celloquy as cq
from celloquy.bridge.files import read_h5ad
from celloquy.cli import app
from celloquy.data import choose_counts, foreign
from celloquy.data.store import open_store, read_store
from celloquy.errors import ArgumentError
from examples import IDS, small_model

TYPES = ["Gene Expression"] * 29 + ["Antibody Capture"]


def counts(n=12, seed=0):
    return np.random.default_rng(seed).poisson(2.0, (n, len(IDS))).astype(np.int32)


def cell_ranger_h5(path):
    matrix = sparse.csr_matrix(counts())
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(matrix.shape[::-1])
        group["barcodes"] = np.array([f"cell{i}" for i in range(12)], dtype="S")
        features = group.create_group("features")
        columns = {"id": IDS, "name": IDS, "feature_type": TYPES, "genome": ["GRCh38"] * 30}
        for name, values in columns.items():
            features[name] = np.array(values, dtype="S")
        features["_all_tag_keys"] = np.array(["genome"], dtype="S")
    return path


def cell_ranger_folder(folder, prefix=""):
    folder.mkdir()
    table = pd.DataFrame({"id": IDS, "name": IDS, "type": TYPES})
    text = io.BytesIO()
    mmwrite(text, sparse.coo_matrix(counts().T))
    ending, write = ".gz", gzip.compress
    parts = {
        "matrix.mtx": text.getvalue(),
        "features.tsv": table.to_csv(sep="\t", header=False, index=False).encode(),
        "barcodes.tsv": "".join(f"cell{i}\n" for i in range(12)).encode(),
    }
    for name, content in parts.items():
        (folder / f"{prefix}{name}{ending}").write_bytes(write(content))
    return folder


def muon_file(path, names=("rna", "prot")):
    adata = ad.AnnData(sparse.csr_matrix(counts()), var=pd.DataFrame(index=IDS))
    adata.obs_names = [f"cell{i}" for i in range(12)]
    with h5py.File(path, "w") as file:
        for name in names:
            write_elem(file, f"mod/{name}", adata)
        write_elem(file, "obs", adata.obs)
        write_elem(file, "var", adata.var)
    return path


FILES = {
    "h5": lambda folder: cell_ranger_h5(folder / "filtered_feature_bc_matrix.h5"),
    "folder": lambda folder: cell_ranger_folder(folder / "filtered_feature_bc_matrix"),
    "prefix": lambda folder: cell_ranger_folder(folder / "geo", prefix="GSM1_"),
    "matrix": lambda folder: cell_ranger_folder(folder / "geo", prefix="GSM1_") / "GSM1_matrix.mtx.gz",
    "h5mu": lambda folder: muon_file(folder / "cells.h5mu"),
    "h5mu of one": lambda folder: muon_file(folder / "cells.h5mu", names=("my cells",)),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_cell_ranger_and_muon_are_read(tmp_path, kind):
    path = FILES[kind](tmp_path)
    with open_store(path) as lazy:
        found = choose_counts(lazy)
        assert np.array_equal(found.read(0, 12).toarray(), counts())
    whole = read_store(path)
    assert list(whole.var_names) == list(IDS)
    assert list(whole.obs_names) == [f"cell{i}" for i in range(12)]
    assert np.array_equal(whole.X.toarray(), counts())


@pytest.mark.parametrize("kind", ["h5", "folder", "h5mu"])
def test_every_verb_that_takes_a_path_takes_them(tmp_path, kind):
    path, model = FILES[kind](tmp_path), small_model()
    expected = ad.AnnData(sparse.csr_matrix(counts()), var=pd.DataFrame(index=IDS))
    if kind != "h5mu":
        expected.var["feature_types"] = TYPES
    cq.embed(expected, model=model, progress=False)
    cq.embed(path, model=model, out=tmp_path / "out.h5ad", progress=False)
    found = ad.read_h5ad(tmp_path / "out.h5ad").obsm["X_celloquy"]
    np.testing.assert_allclose(found, expected.obsm["X_celloquy"], atol=1e-6)
    model.save(tmp_path / "model")
    arguments = ["embed", str(path), "-m", str(tmp_path / "model"), "-o", str(tmp_path / "cli.h5ad"), "-q"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    trained = cq.pretrain(path, config=cq.CellModelConfig.preset("mini").replace(width=16), epochs=1, progress=False)
    assert ("ENSG00000000030" in trained.vocabulary) == (kind == "h5mu")


def hdf5(path, *names):
    with h5py.File(path, "w") as file:
        for name in names:
            file[name] = np.ones((2, 2))
    return path


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    return path


def written(path, content=b"x"):
    path.write_bytes(content)
    return path


def muon_of_two(path):
    return muon_file(path, names=("a", "b"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: hdf5(f / "a.loom", "matrix", "row_attrs/Gene"), r"read_loom\('.*a.loom'\).write_h5ad\('a.h5ad'\)"),
        (lambda f: hdf5(f / "a.h5seurat", "cell.names", "assays/RNA/counts"), "h5Seurat.*[\\s\\S]*WriteH5AD"),
        (lambda f: hdf5(f / "molecule_info.h5", "barcode_idx", "count"), "filtered_feature_bc_matrix"),
        (lambda f: written(f / "a.rds", gzip.compress(b"RDX3")), "celloquy.read_seurat"),
        (lambda f: written(f / "a.csv"), "read_csv"),
        (lambda f: written(f / "a.csv.gz", gzip.compress(b"a,b")), "read_csv"),
        (lambda f: written(f / "a.h5ad.gz", gzip.compress(b"x")), "gunzip a.h5ad.gz"),
        (lambda f: zipped(f / "a.zarr.zip"), "unzip"),
        (lambda f: muon_of_two(f / "a.h5mu"), r"several modalities[\s\S]*a, b"),
        (lambda f: written(f / "a.h5ad", b"no such thing"), "can't be read as h5ad or zarr"),
        (lambda f: hdf5(f / "a.h5", "something"), "can't be read as h5ad or zarr"),
    ],
    ids=["loom", "h5seurat", "molecules", "rds", "csv", "csv.gz", "h5ad.gz", "zip", "h5mu", "damaged", "other h5"],
)  # fmt: skip
def test_other_files_are_named_with_the_line_that_reads_them(tmp_path, make, said):
    path = make(tmp_path)
    with pytest.raises(ArgumentError, match=said) as caught:
        read_store(path, "reference")
    assert str(path) in caught.value.problem
    assert caught.value.argument == "reference"
    with pytest.raises(ArgumentError, match=said):
        cq.embed(path, model=small_model(), out=tmp_path / "o.h5ad")
    assert not (tmp_path / "o.h5ad").exists()


R_LINES = [
    (lambda f: hdf5(f / "a.loom", "matrix", "row_attrs/Gene"), r'SeuratDisk::Connect\(".*a.loom", mode = "r"\)'),
    (
        lambda f: hdf5(f / "a.h5seurat", "cell.names", "assays/RNA/counts"),
        r'SeuratDisk::LoadH5Seurat\(".*a.h5seurat"\)',
    ),
    (lambda f: written(f / "a.rds", gzip.compress(b"RDX3")), "readRDS"),
    (lambda f: written(f / "a.mtx"), "Matrix::readMM"),
    (lambda f: muon_of_two(f / "a.h5mu"), "MuData::readH5MU"),
    *((lambda f, end=end: written(f / f"a{end}"), "::|readRDS") for end in foreign._READ_BY),
]


@pytest.mark.parametrize(("make", "line"), R_LINES)
def test_r_is_told_the_line_of_r(tmp_path, make, line):
    path = make(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        read_h5ad(str(path))
    assert re.search(line, caught.value.remedy)
    assert caught.value.remedy.startswith("read it with ")
    assert caught.value.argument == "file"


@pytest.mark.parametrize("kind", FILES)
def test_r_reads_what_python_reads(tmp_path, kind):
    assert np.array_equal(read_h5ad(str(FILES[kind](tmp_path))).X.toarray(), counts())


def test_a_folder_of_cell_ranger_without_its_genes_is_refused(tmp_path):
    folder = cell_ranger_folder(tmp_path / "matrix")
    (folder / "features.tsv.gz").unlink()
    with pytest.raises(ArgumentError, match="can't be read"):
        read_store(folder)
