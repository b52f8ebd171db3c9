"""Files that a verb reads whole, and writes whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def whole(file: Path) -> AnnData:
    """Return an AnnData in memory.

    Raises
    ------
    ArgumentError
        If there is nothing there, or nothing that anndata wrote.
    """
    import anndata

    from celloquy.data.store import is_zarr, open_store

    # Says of an unfit file what is wrong with it.
    with open_store(file):
        pass
    return anndata.read_zarr(file) if is_zarr(file) else anndata.read_h5ad(file)


@contextmanager
def changed_file(file: Path, out: Path) -> Iterator[AnnData]:
    """Give the AnnData of a file, and write it to another when all went well; one that was there is replaced.

    Raises
    ------
    ArgumentError, DiskError
        If the file can't be read, or the other not written; what was there is then as it was.
    """
    from celloquy.data.store import is_zarr
    from celloquy.data.work import work_for

    # What can't be written is said before the work is done.
    with work_for(out) as work:
        adata = whole(file)
        yield adata
        if is_zarr(out):
            adata.write_zarr(work.result)
        else:
            adata.write_h5ad(work.result)
