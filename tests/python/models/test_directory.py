"""A model is saved whole or not at all, wherever the directory is, and what is not ours in it stays."""

import os
import shutil
import stat
import subprocess

import pytest
import torch

import celloquy as cq
from celloquy.errors import ArgumentError, CheckpointError, DiskError
from celloquy.models.directory import check_directory, kept_elsewhere
from examples import small_model

FILES = {"README.md", "config.json", "genes.tsv", "model.safetensors"}


def names(folder) -> set[str]:
    return {one.name for one in folder.iterdir()}


def other_model() -> cq.CellModel:
    model = small_model()
    with torch.no_grad():
        model.norm.weight += 1
    return model


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a disk of a size and returns its directory."""
    mounted = []

    def mount(*options):
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_working_directory_can_hold_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_model().save(".")
    assert names(tmp_path) == FILES
    other_model().save(".", overwrite=True)
    assert cq.Model.from_pretrained(".").fingerprint == other_model().fingerprint
    (tmp_path / "still.txt").write_text("the same directory")
    assert os.path.exists("still.txt")


def test_a_mounted_disk_can_hold_a_model_at_its_root(disk):
    folder = disk("size=20m")
    (folder / "lost+found").mkdir()
    small_model().save(folder)
    assert names(folder) == FILES | {"lost+found"}


def test_links_stay_and_what_they_name_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "new")
    small_model().save(tmp_path / "link")
    assert names(tmp_path / "far" / "new") == FILES
    # A file can lie elsewhere, too.
    weights = tmp_path / "far" / "new" / "model.safetensors"
    shutil.move(weights, tmp_path / "far" / "weights")
    weights.symlink_to(tmp_path / "far" / "weights")
    other_model().save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert weights.is_symlink()
    assert cq.Model.from_pretrained(tmp_path / "link").fingerprint == other_model().fingerprint


def test_a_replaced_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path):
    umask = os.umask(0o027)
    try:
        small_model().save(tmp_path / "model")
        assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750
        (tmp_path / "model" / "config.json").chmod(0o660)
        other_model().save(tmp_path / "model", overwrite=True)
    finally:
        os.umask(umask)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "model").iterdir()}
    assert modes == dict.fromkeys(FILES, 0o640) | {"config.json": 0o660}


def test_a_directory_of_another_program_is_left_alone_even_where_its_files_are_called_like_ours(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["Bert"]}')
    (tmp_path / "model.safetensors").write_bytes(b"theirs")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="not a saved model"):
            small_model().save(tmp_path, overwrite=overwrite)
    assert (tmp_path / "model.safetensors").read_bytes() == b"theirs"
    assert names(tmp_path) == {"config.json", "model.safetensors"}


def below_a_file(folder):
    (folder / "file").write_text("mine")
    return folder / "file" / "model"


def circle(folder):
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


@pytest.mark.parametrize("place", [
    below_a_file, circle, lambda folder: folder / "x" / ("n" * 300),
], ids=["below a file", "links in a circle", "long name"])  # fmt: skip
def test_a_place_that_can_not_be_written_is_an_error_before_and_leaves_nothing(tmp_path, place):
    target = place(tmp_path)
    before = names(tmp_path)
    for call in (check_directory, small_model().save):
        with pytest.raises(DiskError, match="can't be written"):
            call(target)
    assert names(tmp_path) == before


def test_a_file_or_no_path_at_all_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="not a saved model"):
        check_directory(tmp_path / "file")
    for path in (3, tmp_path / "a\0b"):
        with pytest.raises(ArgumentError, match="path of a directory"):
            check_directory(path)


def test_a_read_only_and_a_full_disk_are_told_before(disk):
    folder = disk("ro", "size=20m")
    with pytest.raises(DiskError, match="Read-only"):
        check_directory(folder / "model")
    folder = disk("size=100k")
    with pytest.raises(DiskError, match="GB free"):
        check_directory(folder / "model")
    assert not names(folder)


def test_checking_leaves_nothing_behind(tmp_path):
    check_directory(tmp_path / "a" / "b" / "model")
    assert not names(tmp_path)
    small_model().save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="already"):
        check_directory(tmp_path / "model")
    check_directory(tmp_path / "model", overwrite=True)
    assert names(tmp_path / "model") == FILES


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moves", range(5))
@pytest.mark.parametrize("over", [False, True])
def test_a_save_that_is_cut_off_leaves_the_old_model_or_the_new_one(tmp_path, monkeypatch, moves, over):
    target, old, new = tmp_path / "model", small_model(), other_model()
    if over:
        old.save(target)
    left, move = [moves], shutil.move

    def cut_off(*arguments):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return move(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("celloquy.models.directory.shutil.move", cut_off)
        # A process that ends removes nothing any more.
        patch.setattr("celloquy.models.directory.shutil.rmtree", lambda *_, **__: None)
        if moves < len(FILES):
            with pytest.raises(Killed):
                new.save(target, overwrite=over)
        else:
            new.save(target, overwrite=over)
    copied = shutil.copytree(target, tmp_path / "copy", symlinks=True)
    assert cq.Model.from_pretrained(copied).fingerprint == new.fingerprint
    # The same call again goes through.
    new.save(target, overwrite=over)
    assert names(target) == FILES
    assert cq.Model.from_pretrained(target).fingerprint == new.fingerprint


def test_a_save_that_is_cut_off_while_it_writes_leaves_the_old_model(tmp_path, monkeypatch):
    target, old = tmp_path / "model", small_model()
    old.save(target)

    def cut_off(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("celloquy.models.checkpoint.save_file", cut_off)
        patch.setattr("celloquy.models.directory.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            other_model().save(target, overwrite=True)
    assert cq.Model.from_pretrained(target).fingerprint == old.fingerprint
    other_model().save(target, overwrite=True)
    assert names(target) == FILES


def test_what_was_computed_is_kept_when_it_can_not_be_used_and_the_error_says_where():
    model = small_model()
    with pytest.raises(ArgumentError, match=r"The trained model is kept in '(.*)'") as caught:  # noqa: SIM117
        with kept_elsewhere("The trained model", model.save):
            raise ArgumentError("A bad end.", remedy="try again.")
    place = str(caught.value).split("'")[-2]
    assert cq.Model.from_pretrained(place).fingerprint == model.fingerprint
    shutil.rmtree(place)
    with pytest.raises(ZeroDivisionError) as other, kept_elsewhere("The trained model", model.save):
        raise ZeroDivisionError
    place = other.value.__notes__[0].split("'")[-2]
    assert cq.Model.from_pretrained(place).fingerprint == model.fingerprint
    shutil.rmtree(place)
