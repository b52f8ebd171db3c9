"""h5ad files on R's behalf: what R holds is in them whole, and scanpy reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import scipy.sparse as sp

from celloquy.bridge.columns import times_as_text
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

_LOOM = 'SeuratObject::as.Seurat(SeuratDisk::Connect("{path}", mode = "r"))'
_TABLE = 'data.table::fread("{path}")'
_READ_IN_R: Final = {
    "a loom file": _LOOM,
    "the kind .loom": _LOOM,
    "an h5Seurat file": 'SeuratDisk::LoadH5Seurat("{path}")',
    "the kind .rds": 'readRDS("{path}")',
    "the kind .mtx": 'Matrix::readMM("{path}")',
    "the kind .csv": _TABLE,
    "the kind .tsv": _TABLE,
    "the kind .txt": _TABLE,
    "the kind .xlsx": 'readxl::read_excel("{path}")',
    "a SpatialData": 'SpatialData::readSpatialData("{path}")',
    "several modalities": 'MuData::readH5MU("{path}")',
}
"""What in R reads the files that :mod:`celloquy.data.foreign` refuses, by what it says of them."""


def write_h5ad(
    adata: AnnData, path: str, *, compression: str | None = None, blocks: dict[str, Callable[[], Any]] | None = None
) -> None:
    """Write an AnnData; the file appears under its name when it is whole.

    Dates and times become text in ISO 8601, as an h5ad file knows none.

    Parameters
    ----------
    adata
        What to write.
    path
        The file, ``.h5ad``.
    compression
        ``"gzip"`` or ``"lzf"`` for smaller files, more slowly.
    blocks
        Layers (``"X"`` or the key of one) that are on disk or too large for one matrix of R: each a function that
        returns the next genes × cells block with every call, and None at the end.
    """
    from anndata import AnnData
    from anndata.io import sparse_dataset, write_elem

    from celloquy.data.store import opened_store
    from celloquy.runtime.resume import resumable_output

    obs, var = times_as_text(adata.obs), times_as_text(adata.var)
    if obs is not adata.obs or var is not adata.var:
        adata = AnnData(
            X=adata.X, obs=obs, var=var, layers=dict(adata.layers), obsm=dict(adata.obsm), varm=dict(adata.varm),
            obsp=dict(adata.obsp), varp=dict(adata.varp), uns=dict(adata.uns), raw=adata.raw,
        )  # fmt: skip
    with resumable_output(Path(path)) as work:
        adata.write_h5ad(work.result, compression=compression)
        if not blocks:
            return
        with opened_store(work.result, "r+") as file:
            for key, following in blocks.items():
                parent = file if key == "X" else file.require_group("layers")
                empty = sp.csr_matrix((0, adata.n_vars), dtype=np.float64)
                # As many non-zeros as there may be in all.
                empty.indptr = empty.indptr.astype(np.int64)
                if key in parent:
                    del parent[key]
                packed = {} if compression is None else {"compression": compression}
                write_elem(parent, key, empty, dataset_kwargs=packed)
                stored = sparse_dataset(parent[key])
                while (block := following()) is not None:
                    stored.append(sp.csr_matrix((block.data, block.indices, block.indptr), shape=block.shape[::-1]))


def read_h5ad(path: str) -> AnnData:
    """Read an h5ad file into memory, or another one that :func:`celloquy.data.store.read_store` reads.

    Raises
    ------
    ArgumentError
        If it is none of these; where something in R reads the file, the error says what.
    """
    from celloquy.data.store import read_store

    try:
        return read_store(Path(path), "file")
    except ArgumentError as error:
        said = error.problem.removeprefix(repr(path))
        line = next((line for kind, line in _READ_IN_R.items() if kind in said), None)
        if line is None:
            raise
        raise ArgumentError(
            error.problem, found=error.found, expected=error.expected, remedy=f"read it with {line.format(path=path)}.",
            argument=error.argument,
        ) from error  # fmt: skip
