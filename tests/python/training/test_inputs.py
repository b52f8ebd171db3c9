"""Objects, files, folders, patterns and manifests are all inputs, and what is none of these is refused."""

import re
import warnings

import anndata as ad
import numpy as np
import pytest

from celloquy.data import CellColumns
from celloquy.errors import ArgumentError
from celloquy.training.inputs import list_inputs

COLUMNS = CellColumns(layer="counts")


@pytest.fixture
def folder(tmp_path):
    adata = ad.AnnData(np.ones((2, 3), dtype=np.float32))
    (tmp_path / "deep").mkdir()
    adata.write_h5ad(tmp_path / "b.h5ad")
    adata.write_h5ad(tmp_path / "deep" / "a.h5ad")
    with warnings.catch_warnings(action="ignore"):  # anndata tells which version of zarr it writes
        adata.write_zarr(tmp_path / "c.zarr")
    (tmp_path / "notes.txt").write_text("no cells")
    return tmp_path


def names(corpus):
    return [one.name for one in list_inputs(corpus, COLUMNS)]


def test_files_come_from_paths_folders_and_patterns_in_the_order_of_their_names(folder):
    assert names(folder / "b.h5ad") == ["b"]
    assert names(str(folder / "c.zarr")) == ["c"]
    assert names(folder) == ["b", "c", "a"]
    assert names(str(folder / "*.h5ad")) == ["b"]
    assert names(str(folder / "**" / "*.h5ad")) == ["b", "a"]
    assert names([folder / "c.zarr", folder / "b.h5ad"]) == ["c", "b"]


def test_objects_and_files_go_together(folder):
    adata = ad.AnnData(np.ones((2, 3)))
    found = list_inputs([adata, folder / "b.h5ad"], COLUMNS)
    assert [one.name for one in found] == ["input 1", "b"]
    assert found[0].data is adata
    assert all(one.columns == COLUMNS for one in found)


def test_files_of_one_name_are_told_apart_by_their_paths(folder):
    (folder / "b.h5ad").rename(folder / "a.h5ad")
    assert names(folder) == [str(folder / "a.h5ad"), "c", str(folder / "deep" / "a.h5ad")]


@pytest.mark.parametrize(("ending", "sign"), [(".tsv", "\t"), (".csv", ",")])
def test_a_manifest_gives_each_file_its_own_options(folder, ending, sign):
    lines = [["path", "layer", "tissue_key", "species", "weight", "label_key"]]
    lines += [["b.h5ad", "", "donor", "", "2.5", "type"], ["deep/a.h5ad", "X", "", "auto", "", ""]]
    manifest = folder / f"files{ending}"
    manifest.write_text("\n".join(sign.join(line) for line in lines) + "\n")
    first, second = list_inputs(manifest, COLUMNS)
    assert (first.data, first.weight, first.label_key) == (folder / "b.h5ad", 2.5, "type")
    assert first.columns == CellColumns(layer="counts", tissue_key="donor")
    assert (second.data, second.weight, second.label_key) == (folder / "deep/a.h5ad", 1.0, None)
    assert second.columns == CellColumns(layer="X", species="auto")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("path\tcolour\nb.h5ad\tred\n", "colour"),
        ("layer\ncounts\n", "layer"),
        ("path\tweight\nb.h5ad\theavy\n", "heavy.*line 2"),
        ("path\tweight\nb.h5ad\t-1\n", "-1 in line 2"),
        ("path\tlayer\nb.h5ad\t\n\tX\n", "no path in line 3"),
        ("path\tspecies\nb.h5ad\tyeti\n", "line 2"),
        ("", "No columns"),
    ],
)
def test_an_unfit_manifest_is_refused_with_the_line(folder, text, found):
    manifest = folder / "files.tsv"
    manifest.write_text(text)
    with pytest.raises(ArgumentError, match=r"The manifest .*files\.tsv") as caught:
        list_inputs(manifest, COLUMNS)
    assert caught.value.argument == "corpus"
    assert re.search(found, caught.value.found)


def test_nothing_to_train_on_is_an_error_that_says_where_was_looked(tmp_path):
    for corpus, found in (([], "no file"), (tmp_path, str(tmp_path)), (str(tmp_path / "*.h5ad"), "h5ad")):
        with pytest.raises(ArgumentError, match="nothing to train on") as caught:
            list_inputs(corpus, COLUMNS)
        assert found in caught.value.found
        assert caught.value.argument == "corpus"
    with pytest.raises(ArgumentError, match="no such file"):
        list_inputs(tmp_path / "nowhere.tsv", COLUMNS)
