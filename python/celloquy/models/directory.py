"""The directory of a saved model: written whole or not at all, and nothing in it lost unless that is asked for."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from celloquy.checks import check_path
from celloquy.errors import CelloquyError, CheckpointError, DiskError
from celloquy.runtime.arrays import reserve
from celloquy.runtime.resume import ROOM, current_umask, sole_writer

CONFIG = "config.json"
"""File that makes a directory that of a saved model; it lists the others, with their hashes, under ``"files"``."""

UNFINISHED = ".unfinished"
"""Folder inside the directory for what is not finished. While it is there, writing again needs no leave."""

WHOLE = "whole"
"""Folder inside that folder with new files, all of them complete, which are about to take their places."""

LEAST_ROOM = 2**20
"""Bytes that must be free for a small model."""

MOUNTED = {"lost+found", UNFINISHED}
"""Names in a directory that is empty all the same."""


def check_directory(directory: str | PathLike[str], *, overwrite: bool = False, room: int = LEAST_ROOM) -> Path:
    """Check that a model can be saved to a directory, by writing to it, and leave it as it was.

    Parameters
    ----------
    directory
        New, empty, or that of a saved model. Links are followed.
    overwrite
        Leave to replace a saved model.
    room
        Bytes that will be needed; 0 looks at what is there, and writes nothing.

    Returns
    -------
    The directory, without links.

    Raises
    ------
    ArgumentError, CheckpointError
        If it is no path, if a saved model is there that may not be replaced, or something else is there.
    DiskError
        If it can't be written to, or the disk is full.
    """
    target = _resolved(check_path("out", directory, "the path of a directory"))
    with _said(target):
        _check_content(target, overwrite=overwrite)
        if not room:
            return target
        with _present(target) as made, _unfinished(target) as folder:
            (folder / ROOM).unlink(missing_ok=True)
            reserve(folder / ROOM, room)
            (folder / ROOM).unlink()
        _remove_empty(made)
    return target


def replace_directory(
    directory: str | PathLike[str], write: Callable[[Path], None], *, overwrite: bool = False, finished: bool = True
) -> None:
    """Write the files of a saved model to a directory, so that it is whole or not there at all.

    The files are written to a folder inside the directory and moved to their places when they are complete, the
    configuration last. Where that is interrupted it is finished by :func:`finish_interrupted`. The directory may so be
    the working directory, a mounted disk, or the end of a link; what is not ours in it stays.

    Parameters
    ----------
    directory, overwrite
        See :func:`check_directory`.
    write
        Writes the files into a directory that exists; ``config.json`` is among them.
    finished
        False if the files will be replaced soon, so that a call that is repeated may do so.

    Raises
    ------
    ArgumentError, CheckpointError, DiskError
        See :func:`check_directory`.
    """
    target = check_directory(directory, overwrite=overwrite)
    with _said(target), _present(target), _unfinished(target, finished) as folder, sole_writer(target, folder):
        finish_interrupted(target)
        new = folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            write(new)
            for file in new.iterdir():
                # safetensors lets nobody else read what it writes; the mode is that of any new file.
                file.chmod(0o666 & ~current_umask())
            new.rename(folder / WHOLE)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        finish_interrupted(target)


def finish_interrupted(target: Path) -> None:
    """Move the files of a save that was interrupted to their places, if they are complete; the configuration last."""
    whole = target / UNFINISHED / WHOLE
    if not (whole / CONFIG).is_file():
        return
    for name in _files_of(target).keys() - _files_of(whole).keys():
        (target / name).unlink(missing_ok=True)
    for file in sorted(whole.iterdir(), key=lambda file: (file.name == CONFIG, file.name)):
        # A link stays, and the file that it names is replaced; an older file hands on its mode.
        place = (target / file.name).resolve()
        if place.is_file():
            shutil.copymode(place, file)
        shutil.move(file, place)
    shutil.rmtree(whole)


@contextmanager
def kept_elsewhere(what: str, save: Callable[[Path], None], *, place: Path | None = None) -> Iterator[None]:
    """Save what was computed to a temporary directory if what is done with it fails, and let the error say where.

    Parameters
    ----------
    what
        Words for what is kept, such as ``"The fitted Annotator"``.
    save
        Saves it to a directory.
    place
        Directory that it is in already, if it is.
    """
    try:
        yield
    except Exception as error:
        place = place or _kept(save)
        if place is None:
            raise
        if isinstance(error, CelloquyError):
            error.say_kept(what, place)
        else:
            error.add_note(f"{what} is kept in {str(place)!r}.")
        raise


def _kept(save: Callable[[Path], None]) -> Path | None:
    """The directory to which something was saved; none if there is no room anywhere."""
    for parent in (tempfile.gettempdir(), Path.cwd(), Path.home()):
        place = None
        with suppress(OSError, CelloquyError, SafetensorError):
            place = Path(tempfile.mkdtemp(prefix="celloquy-kept-", dir=parent))
            save(place)
            return place
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    return None


def _resolved(path: Path) -> Path:
    """The path without links: a link stays, and the directory that it names is written."""
    try:
        return path.resolve()
    # Links that run in a circle, and names with a null character.
    except (OSError, RuntimeError, ValueError) as error:
        raise DiskError.of(path, error) from error


def _check_content(target: Path, *, overwrite: bool) -> None:
    """Check that nothing is there that may not be replaced."""
    if not target.exists() or (target.is_dir() and (target / UNFINISHED).exists()):
        return
    if not target.is_dir() or not _is_ours(target):
        if target.is_dir() and not {one.name for one in target.iterdir()} - MOUNTED:
            return
        raise CheckpointError(
            f"The model can't be saved to {str(target)!r}.",
            found="something there that is not a saved model",
            expected="a new or empty directory, or a saved model to replace",
            remedy="choose another directory.",
            argument="out",
        )
    if not overwrite:
        raise CheckpointError(
            f"There is a saved model in {str(target)!r} already.",
            found=", ".join(sorted(one.name for one in target.iterdir())),
            expected="a new or empty directory",
            remedy="choose another directory, or pass `overwrite` to replace the model.",
            argument="overwrite",
        )


def _is_ours(directory: Path) -> bool:
    found = _configuration(directory)
    return "family" in found and "files" in found


def _files_of(directory: Path) -> dict[str, Any]:
    """The files that belong to the saved model of a directory, with their hashes; none where there is no model."""
    files = _configuration(directory).get("files")
    # Nothing outside of the directory is ours, whatever a damaged configuration says.
    return {name: one for name, one in files.items() if Path(name).name == name} if isinstance(files, dict) else {}


def _configuration(directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _said(target: Path) -> Iterator[None]:
    """Turn what the system says of a failure to write into an error of ours."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise error if isinstance(error, CelloquyError) else DiskError.of(target, error) from error


@contextmanager
def _present(target: Path) -> Iterator[list[Path]]:
    """Make a directory with its parents, and yield those that were made; after an error they are removed again."""
    made = [one for one in (target, *target.parents) if not one.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        yield made
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _unfinished(target: Path, finished: bool | None = None) -> Iterator[Path]:
    """Yield the folder for what is not finished, made if need be; afterwards it is as it was, gone, or still there."""
    folder = target / UNFINISHED
    mine = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    except BaseException:
        finished = None
        raise
    finally:
        if (mine if finished is None else finished) and not (folder / WHOLE).exists():
            shutil.rmtree(folder, ignore_errors=True)
