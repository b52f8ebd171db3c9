"""Look into an HDF5 file in a process of its own: HDF5's library ends the process that reads some damaged ones."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

READ_BY_NAME = ("encoding-type", "encoding-version", "column-order", "_index", "shape", "ordered", "categories")
"""Attributes that anndata reads by name, also where they can't be listed."""

LONGEST = 60.0
"""Seconds after which a file is taken for whole: a large one on a slow disk is no damaged one."""


def probe(path: Path) -> None:
    """Check that reading the attributes and texts of a file does not end the process that does it.

    Their places in the file are pointers that the library follows wherever damage has turned them. Numbers are not
    read. Only on Linux, where a process can be copied at any time.

    Raises
    ------
    OSError
        If it does.
    """
    if sys.platform == "linux" and path.is_file():
        described = path.stat()
        if _ends_its_reader(path, described.st_mtime_ns, described.st_size):
            raise OSError("a part of the file is damaged: the library of HDF5 crashes on it")


@lru_cache(maxsize=256)
def _ends_its_reader(path: Path, changed: int, size: int) -> bool:
    """True if a copy of this process that reads the file is ended by a signal."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with warnings.catch_warnings(action="ignore"):
        # Newer versions of Python warn that a lock of another thread is never given back in the copy; it would then
        # wait, and be ended in the end.
        child = os.fork()
    if not child:
        with suppress(BaseException):
            faulthandler.disable()
            _read(path)
        os._exit(0)
    until, pause = time.monotonic() + LONGEST, 1e-3
    with suppress(ChildProcessError):
        while time.monotonic() < until:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.WIFSIGNALED(status)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        os.kill(child, 9)
        os.waitpid(child, 0)
    return False


def _read(path: Path) -> None:
    """Read all attributes and texts; what raises an error will raise it again, where it is told."""
    import h5py

    def look(one: Any) -> None:
        names = set(READ_BY_NAME)
        with suppress(Exception):
            names.update(one.attrs)
        for name in sorted(names):
            with suppress(Exception):
                one.attrs[name]
        if isinstance(one, h5py.Dataset) and one.dtype.kind == "O":
            with suppress(Exception):
                one[()]
        if isinstance(one, h5py.Group):
            with suppress(Exception):
                inside.extend((one, name) for name in one)

    with h5py.File(path, "r") as file:
        inside: list[tuple[Any, str]] = []
        look(file)
        # Damage can turn a group into a part of itself.
        for _ in range(100_000):
            if not inside:
                break
            group, name = inside.pop()
            with suppress(Exception):
                look(group[name])
