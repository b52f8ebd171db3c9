"""What a damaged file holds is refused, and anndata's warnings of the user's affairs are not repeated."""

import warnings

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse

import celloquy as cq
from celloquy.data.store import open_store, read_store
from celloquy.errors import ArgumentError, CountsError
from examples import cells, small_model

FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": sparse.csr_matrix.toarray}


def stored(path, form="csr"):
    adata = cells(20)
    adata.X = FORMS[form](adata.X)
    adata.write_h5ad(path)
    return path


def embed(path, out):
    cq.embed(path, model=small_model(), out=out, precision="float32", progress=False)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize(
    ("part", "value"),
    [("indices", -1), ("indices", 10**6), ("indptr", -1), ("indptr", 10**9)],
    ids=lambda value: str(value),
)
def test_a_sparse_matrix_whose_places_are_no_places_is_refused(tmp_path, form, part, value):
    path = stored(tmp_path / "cells.h5ad", form)
    with h5py.File(path, "r+") as file:
        file["X"][part][5] = value
    with pytest.raises(CountsError, match="The matrix in the file can't be read"):
        embed(path, tmp_path / "out.h5ad")
    assert [one.name for one in tmp_path.iterdir()] == ["cells.h5ad"]


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_sparse_matrix_that_lacks_a_part_is_refused(tmp_path, part):
    path = stored(tmp_path / "cells.h5ad")
    with h5py.File(path, "r+") as file:
        del file["X"][part]
    with pytest.raises((CountsError, ArgumentError), match="can't be read"):
        embed(path, tmp_path / "out.h5ad")
    with pytest.raises(ArgumentError, match="can't be read as h5ad or zarr"):
        read_store(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_chunk_that_can_not_be_decompressed_is_refused(tmp_path, form):
    adata = cells(60)
    adata.X = FORMS[form](adata.X)
    adata.write_h5ad(tmp_path / "cells.h5ad", compression="gzip")
    with h5py.File(tmp_path / "cells.h5ad") as file:
        matrix = file["X"] if form == "dense" else file["X"]["data"]
        chunk = matrix.id.get_chunk_info(0)
    content = bytearray((tmp_path / "cells.h5ad").read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (tmp_path / "cells.h5ad").write_bytes(content)
    with pytest.raises(CountsError, match="The matrix in the file can't be read"):
        embed(tmp_path / "cells.h5ad", tmp_path / "out.h5ad")


def test_an_encoding_that_nobody_knows_is_refused(tmp_path):
    path = stored(tmp_path / "cells.h5ad")
    with h5py.File(path, "r+") as file:
        file["obs/sample"].attrs["encoding-version"] = "unheard of"
    with pytest.raises(ArgumentError, match="can't be read as h5ad or zarr"), open_store(path):
        pass


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_file(tmp_path):
    path = stored(tmp_path / "cells.h5ad")
    with pytest.raises(KeyError, match="of the caller"), open_store(path):
        raise KeyError("of the caller")


def test_names_that_are_not_unique_pass_without_a_warning_of_another_library(tmp_path):
    adata = cells(20)
    adata.obs_names = ["AAACCC-1"] * 20
    with warnings.catch_warnings(action="ignore"):
        adata.write_h5ad(tmp_path / "cells.h5ad")
    # Warnings are errors in these tests.
    embed(tmp_path / "cells.h5ad", tmp_path / "out.h5ad")
    with warnings.catch_warnings(action="ignore"):
        found = ad.read_h5ad(tmp_path / "out.h5ad")
    result = cq.embed(adata, model=small_model(), precision="float32", progress=False, copy=True)
    np.testing.assert_array_equal(found.obsm["X_celloquy"], result.obsm["X_celloquy"])
    with warnings.catch_warnings(action="ignore"):
        backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    cq.embed(backed, model=small_model(), out=tmp_path / "2.h5ad", progress=False)
    cq.denoise(backed, epochs=1, out=tmp_path / "3.h5ad", progress=False)
    backed.file.close()
    cq.recover_counts(result)


def test_a_view_gets_its_result_without_a_warning_of_another_library():
    adata = cells(20)
    view = adata[5:15]
    cq.embed(view, model=small_model(), progress=False)
    assert view.obsm["X_celloquy"].shape == (10, 8)
    assert "X_celloquy" not in adata.obsm


def test_a_backed_object_without_x_is_read_from_where_its_counts_are(tmp_path):
    adata = cells(20)
    expected = cq.embed(adata, model=small_model(), progress=False, copy=True).obsm["X_celloquy"]
    adata.layers["counts"], adata.X = adata.X, None
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    cq.embed(backed, model=small_model(), progress=False)
    np.testing.assert_allclose(backed.obsm["X_celloquy"], expected, atol=1e-5)
    backed.file.close()
