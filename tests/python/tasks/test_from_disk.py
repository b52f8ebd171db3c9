"""cq.embed from file to file: as from memory, in bounded memory, whole or not at all, gone on with when killed."""

import hashlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time

import anndata as ad
import h5py
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, CelloquyError, CountsError, DiskError
from celloquy.runtime.memory import memory_budget
from examples import cells, embed_slowly, small_model

MODEL = small_model()
JUST_THE_MODEL = sum(4 * weight.numel() for weight in MODEL.parameters()) + 2000
FORMATS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": sparse.csr_matrix.toarray}


def in_memory(adata, **options):
    options = {"model": MODEL, "precision": "float32", "progress": False, "copy": True} | options
    return cq.embed(adata, **options).obsm["X_celloquy"]


def read(path):
    return ad.read_zarr(path) if path.suffix == ".zarr" else ad.read_h5ad(path)


def write(adata, path):
    (adata.write_zarr if path.suffix == ".zarr" else adata.write_h5ad)(path)
    return path


def embed(path, out, **options):
    cq.embed(path, **{"model": MODEL, "out": out, "precision": "float32", "progress": False} | options)
    return read(out).obsm["X_celloquy"]


def digest(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::UserWarning:zarr")
@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("place", ["X", "layers", "raw"])
def test_from_disk_is_from_memory_bit_for_bit(tmp_path, ending, form, place):
    adata = cells(50)
    counts = FORMATS[form](adata.X)
    if place == "raw":
        adata.raw = ad.AnnData(counts, obs=adata.obs, var=adata.var)
        adata.X = adata.X / 2
    elif place == "layers":
        adata.layers["counts"] = counts
        adata.X = adata.X / 2
    else:
        adata.X = counts
    source = write(adata, tmp_path / f"cells{ending}")
    before = digest(source)
    options = {"tissue_key": "sample", "spatial_key": "spatial", "batch_size": 7}
    found = embed(source, tmp_path / f"out{ending}", **options)
    np.testing.assert_array_equal(found, in_memory(adata, **options))
    assert digest(source) == before
    assert {path.name for path in tmp_path.iterdir()} == {source.name, f"out{ending}"}


def test_the_output_holds_annotation_embedding_and_provenance(tmp_path):
    adata = cells()
    source = write(adata, tmp_path / "cells.h5ad")
    cq.embed(source, model=MODEL, out=tmp_path / "new" / "out.h5ad", key_added="X_mine", progress=False)
    result = ad.read_h5ad(tmp_path / "new" / "out.h5ad")
    assert result.shape == (20, 0)
    assert result.obs.equals(ad.read_h5ad(source).obs)
    assert list(result.obsm) == ["X_mine"]
    assert result.uns["celloquy"]["X_mine"]["model"] == MODEL.fingerprint
    assert result.uns["celloquy"]["X_mine"]["empty_cells"].tolist() == ["0"]


@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::UserWarning:zarr")
@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_a_file_named_twice_is_added_to(tmp_path, ending):
    adata = cells()
    path = write(adata, tmp_path / f"cells{ending}")
    for _ in range(2):
        found = embed(path, path)
    np.testing.assert_array_equal(found, in_memory(adata))
    again = read(path)
    np.testing.assert_array_equal(again.X.toarray(), adata.X.toarray())
    assert set(again.obsm) == {"spatial", "X_celloquy"}


def test_cells_in_memory_are_written_to_a_file_and_left_alone(tmp_path):
    adata = cells()
    cq.embed(adata, model=MODEL, out=tmp_path / "out.h5ad", precision="float32", progress=False)
    assert "X_celloquy" not in adata.obsm
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "out.h5ad").obsm["X_celloquy"], in_memory(adata))


shapes = st.one_of(
    st.just((1, 1)),
    st.integers(2, 60).map(lambda n: (n, 1)),
    st.integers(2, 60).map(lambda n: (n, 10 * n)),
    st.tuples(st.integers(2, 60), st.integers(2, 6)),
)


@given(shape=shapes, batch_size=st.integers(1, 70), seed=st.integers(0, 100))
@settings(max_examples=40)
def test_whatever_the_memory_the_embedding_is_the_same(shape, batch_size, seed):
    adata = cells(shape[0], seed=seed, tissues=shape[1])
    exact = in_memory(adata, tissue_key="sample")
    tiny = in_memory(adata, tissue_key="sample", batch_size=batch_size, max_memory=JUST_THE_MODEL)
    np.testing.assert_allclose(tiny, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


@given(seed=st.integers(0, 100), batch_size=st.integers(1, 30))
@settings(max_examples=20)
def test_under_streaming_order_follows_and_tissues_stay_apart(seed, batch_size):
    adata = cells(40, seed=seed, tissues=3)
    options = {"tissue_key": "sample", "batch_size": batch_size, "max_memory": JUST_THE_MODEL}
    exact = in_memory(adata, **options)
    close = {"rtol": 1e-5, "atol": 1e-5 * np.abs(exact).max()}
    order = np.random.default_rng(seed).permutation(40)
    np.testing.assert_allclose(in_memory(adata[order].copy(), **options), exact[order], **close)
    one = (adata.obs["sample"] == adata.obs["sample"].iloc[0]).to_numpy()
    np.testing.assert_allclose(in_memory(adata[one].copy(), **options), exact[one], **close)


def run_and_be_killed(path, out, model, seconds):
    """Start an embedding in a process of its own and kill it after a while; return whether it was killed."""
    process = multiprocessing.get_context("forkserver").Process(target=embed_slowly, args=(path, out, model))
    process.start()
    process.join(seconds)
    killed = process.is_alive()
    process.kill()
    process.join()
    assert killed or process.exitcode == 0
    return killed


def test_a_killed_run_goes_on_to_the_same_file(tmp_path):
    multiprocessing.get_context("forkserver").set_forkserver_preload(["celloquy.tasks.embedding", "anndata"])
    adata = cells(400, tissues=2)
    path, out = write(adata, tmp_path / "cells.h5ad"), tmp_path / "out.h5ad"
    small_model(layers=3).save(tmp_path / "model")
    assert not run_and_be_killed(path, out, tmp_path / "model", 60)
    out.unlink()
    began = time.monotonic()
    assert not run_and_be_killed(path, out, tmp_path / "model", 60)
    undisturbed = time.monotonic() - began
    expected = ad.read_h5ad(out).obsm["X_celloquy"]
    out.unlink()
    draw, kills, came_through, resumed = random.Random(0), 0, 0, set()
    while kills < 20 or not came_through:
        killed = run_and_be_killed(path, out, tmp_path / "model", draw.uniform(0.1, 1.0) * undisturbed)
        if out.exists():
            np.testing.assert_array_equal(ad.read_h5ad(out).obsm["X_celloquy"], expected)
        if killed:
            kills += 1
            journal = tmp_path / ".out.h5ad.unfinished" / "journal.json"
            resumed.add(journal.read_text() if journal.exists() else "")
        else:
            came_through += 1
            assert {one.name for one in tmp_path.iterdir()} == {"cells.h5ad", "model", "out.h5ad"}
            out.unlink()
    assert len(resumed) > 5


def test_another_model_or_other_cells_start_anew(tmp_path, monkeypatch):
    path, out = write(cells(30), tmp_path / "cells.h5ad"), tmp_path / "out.h5ad"
    stop_in_the_first_tissue(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        embed(path, out, tissue_key="sample", batch_size=4)
    monkeypatch.undo()
    assert (tmp_path / ".out.h5ad.unfinished" / "journal.json").exists()
    other = small_model(layers=1)
    np.testing.assert_array_equal(
        embed(path, out, tissue_key="sample", batch_size=4, model=other),
        in_memory(cells(30), tissue_key="sample", batch_size=4, model=other),
    )


def stop_in_the_first_tissue(monkeypatch):
    from celloquy.runtime.resume import Journal

    note = Journal.note

    def stop(self, **steps):
        note(self, **steps)
        if "layers" in steps or "together" in steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "note", stop)


@pytest.mark.parametrize("lost", ["vectors", "embedding", "expressed", "journal.json"])
def test_a_run_whose_files_were_lost_starts_anew(tmp_path, monkeypatch, lost):
    path, out = write(cells(30), tmp_path / "cells.h5ad"), tmp_path / "out.h5ad"
    stop_in_the_first_tissue(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        embed(path, out, tissue_key="sample", batch_size=4)
    monkeypatch.undo()
    (tmp_path / ".out.h5ad.unfinished" / lost).unlink()
    found = embed(path, out, tissue_key="sample", batch_size=4)
    np.testing.assert_array_equal(found, in_memory(cells(30), tissue_key="sample", batch_size=4))


def test_an_interrupted_run_does_not_do_again_what_is_done(tmp_path, monkeypatch):
    path, out = write(cells(30), tmp_path / "cells.h5ad"), tmp_path / "out.h5ad"
    stop_in_the_first_tissue(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        embed(path, out, tissue_key="sample", batch_size=4)
    monkeypatch.undo()

    def not_again(*_):
        raise AssertionError("the counts were read again")

    monkeypatch.setattr(cq.CellModel, "embed_expression", not_again)
    found = embed(path, out, tissue_key="sample", batch_size=4)
    monkeypatch.undo()
    np.testing.assert_array_equal(found, in_memory(cells(30), tissue_key="sample", batch_size=4))


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs root on Linux, for a disk of its own")
@pytest.mark.parametrize("megabytes", [1, 2, 3, 4])
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_output(tmp_path, megabytes):
    disk = tmp_path / "disk"
    disk.mkdir()
    small_model(latent_width=256).save(tmp_path / "model")
    write(cells(2000), tmp_path / "cells.h5ad")
    script = f"""
        import sys
        from pathlib import Path
        import celloquy as cq
        disk = Path({str(disk)!r})
        (disk / "out.h5ad").write_text("yesterday's")
        try:
            cq.embed({str(tmp_path / "cells.h5ad")!r}, model={str(tmp_path / "model")!r}, out=disk / "out.h5ad",
                     batch_size=500, progress=False)
        except cq.errors.DiskError as error:
            print("DiskError", error)
        print((disk / "out.h5ad").read_text())
    """
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {disk} && exec {sys.executable} -"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], input=textwrap.dedent(script), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("DiskError")
    assert "No space left" in result.stdout
    assert result.stdout.endswith("yesterday's\n")


def test_two_processes_do_not_write_one_file(tmp_path):
    path, folder = write(cells(), tmp_path / "cells.h5ad"), tmp_path / ".out.h5ad.unfinished"
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(ArgumentError, match="another process"):
        embed(path, tmp_path / "out.h5ad")
    embed(path, tmp_path / "out.h5ad")


BAD_CALLS = {
    "no out": ({"out": None}, ArgumentError, "out="),
    "ending": ({"out": "out.csv"}, ArgumentError, r"\.h5ad"),
    "directory": ({"out": "folder.h5ad"}, ArgumentError, "a directory of that name"),
    "no file": ({"adata": "nowhere.h5ad"}, ArgumentError, "no file"),
    "no h5ad": ({"adata": "text.h5ad"}, ArgumentError, "can't be read"),
    "tissue": ({"tissue_key": "donor"}, ArgumentError, "donor"),
    "layer": ({"layer": "spliced"}, CountsError, "spliced"),
    "memory": ({"max_memory": 1000}, ArgumentError, "does not hold the model"),
    "no memory": ({"max_memory": "a lot"}, ArgumentError, "4 GB"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_unfit_calls_are_refused_and_leave_nothing(tmp_path, monkeypatch, name):
    options, error, message = BAD_CALLS[name]
    monkeypatch.chdir(tmp_path)
    write(cells(), tmp_path / "cells.h5ad")
    (tmp_path / "text.h5ad").write_text("no hdf5")
    (tmp_path / "folder.h5ad").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error, match=message) as caught:
        cq.embed(**{"adata": "cells.h5ad", "out": "out.h5ad", "model": MODEL, "progress": False} | options)
    assert isinstance(caught.value, CelloquyError)
    assert caught.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_counts_that_turn_out_bad_later_leave_nothing(tmp_path):
    adata = cells(50)
    adata.X = adata.X.toarray()
    path = write(adata, tmp_path / "cells.h5ad")
    adata.X[45, 3] = 0.5
    write(adata, path)
    with pytest.raises(CountsError, match="not whole"):
        embed(path, tmp_path / "out.h5ad", batch_size=10)
    assert [one.name for one in tmp_path.iterdir()] == ["cells.h5ad"]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4 GB", 4e9), ("512MiB", 2**29), ("1.5g", 1.5e9), ("2 Ti", 2**41), (12345, 12345), ("700", 700)],
)
def test_amounts_of_memory_are_understood(text, amount):
    assert memory_budget(text) == amount


@pytest.mark.parametrize("amount", ["", "much", "-1 GB", "4 XB", "1.2.3 GB", 0, -5, True, 2.5])
def test_no_amounts_of_memory_are_refused(amount):
    with pytest.raises(ArgumentError, match="max_memory"):
        memory_budget(amount)


def test_without_a_word_half_of_what_is_free_is_used():
    assert 2**26 < memory_budget(None) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_disk_error_tells_how_much_room_there_is(tmp_path):
    error = DiskError.full(tmp_path / "out.h5ad", OSError(28, "No space left on device"), needed=10**9)
    assert "room for 1.00 GB" in str(error)
    assert f"{shutil.disk_usage(tmp_path).free / 1e9:.2f}"[:-3] in str(error)


def test_a_link_stays_and_a_file_keeps_its_mode(tmp_path):
    path = write(cells(), tmp_path / "cells.h5ad")
    path.chmod(0o660)
    (tmp_path / "link.h5ad").symlink_to(path)
    cq.embed(tmp_path / "link.h5ad", out=tmp_path / "link.h5ad", model=MODEL, progress=False)
    assert (tmp_path / "link.h5ad").is_symlink()
    assert path.stat().st_mode & 0o777 == 0o660
    assert "X_celloquy" in ad.read_h5ad(path).obsm


def test_a_file_of_an_old_anndata_is_read_as_anndata_reads_it(tmp_path):
    adata, path = cells(), tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", adata.shape
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(adata.X, part)
        for place, names in (("obs", adata.obs_names), ("var", adata.var_names)):
            table = np.zeros(len(names), dtype=[("index", "S20")])
            table["index"] = [name.encode() for name in names]
            file[place] = table
    np.testing.assert_array_equal(embed(path, tmp_path / "out.h5ad"), in_memory(cells()))
