"""Files that a verb reads whole, and writes whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def read_whole(file: Path | None) -> AnnData:
    """Return an AnnData in memory.

    Raises
    ------
    ArgumentError
        If there is nothing there, or nothing that anndata wrote.
    """
    import anndata

    from celloquy.data.store import is_zarr, open_store

    assert file is not None
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
    from celloquy.runtime.resume import resumable_output

    # What can't be written is said before the work is done.
    with resumable_output(out) as output:
        adata = read_whole(file)
        yield adata
        if is_zarr(out):
            adata.write_zarr(output.result)
        else:
            adata.write_h5ad(output.result)
