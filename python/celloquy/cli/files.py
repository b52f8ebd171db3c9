"""Files that a verb reads whole, and writes whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def read_whole(file: Path | None, argument: str = "file") -> AnnData:
    """Return an AnnData in memory.

    Raises
    ------
    ArgumentError
        If there is nothing there, or nothing that anndata wrote.
    """
    from celloquy.data.store import read_store

    assert file is not None
    return read_store(file, argument)


@contextmanager
def changed_file(file: Path, out: Path) -> Iterator[tuple[AnnData, Callable[[], None]]]:
    """Yield the AnnData of a file, and what writes to another file what was added; one that was there is replaced.

    The AnnData is written as it is before anything is computed: what can't be written, and where, is told then.

    Raises
    ------
    ArgumentError, DiskError
        If the file can't be read, or the other not written; what was there is then as it was.
    """
    from celloquy.data.store import update_store, write_whole
    from celloquy.runtime.resume import resumable_output

    with resumable_output(out) as output:
        adata = read_whole(file)
        write_whole(adata, output.result)
        before = {place: dict(getattr(adata, place)) for place in ("obsm", "layers")}
        yield adata, lambda: update_store(output.result, adata, before)
