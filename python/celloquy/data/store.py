"""An h5ad file or a zarr directory: opened with its matrices left on disk, and written with an embedding."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from torch import Tensor

RUN_BYTES = 16 * 2**20
"""Bytes of an embedding that are copied to a file at a time."""

_NOTHING: Mapping[str, RowReader] = {}


@contextmanager
def open_store(path: Path) -> Iterator[AnnData]:
    """Give the AnnData of a file, whose matrices are read from disk where they are used; closed afterwards.

    Parameters
    ----------
    path
        An h5ad file, or a zarr directory.

    Raises
    ------
    ArgumentError
        If there is nothing there, or nothing that anndata wrote.
    """
    from anndata import AnnData

    if not path.exists():
        raise ArgumentError(f"There is no file {str(path)!r}.", found="no such file", remedy="check the path.")
    read = anndata_io("read_elem")
    with ExitStack() as stack:
        try:
            group = stack.enter_context(opened_store(path, "r"))
            # Where there is no raw, some versions say so with an array.
            raw = group["raw"] if "raw" in group and "X" in group["raw"] else None
            adata = AnnData(
                X=_lazily(group["X"]) if "X" in group else None,
                obs=read(group["obs"]),
                var=read(group["var"]),
                obsm=_lazily_all(group.get("obsm")),
                layers=_lazily_all(group.get("layers")),
                raw={"X": _lazily(raw["X"]), "var": read(raw["var"])} if raw is not None else None,
            )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"{str(path)!r} can't be read as h5ad or zarr.",
                found=(str(error).splitlines() or [type(error).__name__])[0],
                expected="a file that anndata wrote",
                remedy="convert it to h5ad first.",
            ) from error
        yield adata


class RowReader(Protocol):
    """An array ``(cells, width)`` that is read a run of rows at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and width."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def read(self, rows: slice) -> Tensor:
        """Return some rows."""


def write_store(
    path: Path,
    obs: pd.DataFrame,
    *,
    uns: dict[str, Any],
    obsm: Mapping[str, RowReader] = _NOTHING,
    var: pd.DataFrame | None = None,
    layers: Mapping[str, RowReader] = _NOTHING,
) -> None:
    """Write a new file of cells without counts.

    Parameters
    ----------
    path
        The new file, ``.h5ad`` or ``.zarr``; nothing may be there.
    obs
        The cells' annotation.
    uns
        Anything that anndata can write.
    obsm
        Arrays ``(cells, width)``, of which a part is in memory at a time.
    var
        The genes' annotation, where there are layers.
    layers
        Arrays ``(cells, genes)``, likewise.
    """
    from anndata import AnnData

    bare = AnnData(obs=obs, var=var)
    if is_zarr(path):
        bare.write_zarr(path)
    else:
        bare.write_h5ad(path)
    add_to_store(path, obsm=obsm, layers=layers, uns=uns)


def add_to_store(
    path: Path,
    *,
    uns: dict[str, Any],
    obsm: Mapping[str, RowReader] = _NOTHING,
    layers: Mapping[str, RowReader] = _NOTHING,
) -> None:
    """Add to a file that is there, in place; see :func:`write_store`.

    What has the same key is replaced; of a dict in ``uns``, entries that have the same key.
    """
    read, write = anndata_io("read_elem"), anndata_io("write_elem")
    with opened_store(path, "r+") as group:
        for place, arrays in (("obsm", obsm), ("layers", layers)):
            for key, values in arrays.items():
                _write_rows(group.require_group(place), key, values)
        for key, value in uns.items():
            if key in group.require_group("uns"):
                there = read(group["uns"][key])
                if isinstance(there, Mapping) and isinstance(value, Mapping):
                    value = {**there, **value}
                del group["uns"][key]
            write(group["uns"], key, value)


def _write_rows(group: Any, key: str, values: RowReader) -> None:
    """Write an array a run of rows at a time."""
    if key in group:
        del group[key]
    cells, width = values.shape
    step = max(1, RUN_BYTES // (width * values.dtype.itemsize))
    make = getattr(group, "create_array", None) or group.create_dataset
    stored = make(key, shape=values.shape, dtype=values.dtype, chunks=(min(step, cells), width))
    # As anndata's documented format marks a dense array.
    stored.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    for start in range(0, cells, step):
        rows = slice(start, min(start + step, cells))
        stored[rows] = values.read(rows).numpy()


def copy_store(source: Path, target: Path) -> None:
    """Copy a file or a directory."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def is_zarr(path: Path) -> bool:
    """Whether a path is that of a zarr directory, there or to be made."""
    return path.suffix == ".zarr" or path.is_dir()


@contextmanager
def opened_store(path: Path, mode: Literal["r", "r+"]) -> Iterator[Any]:
    """Open the group of HDF5 or of zarr that a path holds."""
    if is_zarr(path):
        import zarr

        # zarr 2 reads consolidated metadata only where it is asked to, zarr 3 unless it is asked not to.
        plain: dict[str, Any] = {"use_consolidated": False} if zarr.__version__ >= "3" else {}
        yield zarr.open_group(str(path), mode=mode, **plain)
        if mode != "r" and _consolidated(path):
            with warnings.catch_warnings(action="ignore"):
                zarr.consolidate_metadata(str(path))
        return
    import h5py

    with h5py.File(path, mode) as file:
        yield file


def _consolidated(path: Path) -> bool:
    """Whether a zarr directory holds a copy of all its metadata, which has to follow a change."""
    described = path / "zarr.json"
    return (path / ".zmetadata").exists() or (described.exists() and "consolidated_metadata" in described.read_text())


def _lazily_all(group: Any) -> dict[str, Any]:
    return {} if group is None else {name: _lazily(group[name]) for name in group}


def _lazily(element: Any) -> Any:
    """Leave a matrix on disk; read anything else, such as a table."""
    kind = element.attrs.get("encoding-type", "array")
    if kind in ("csr_matrix", "csc_matrix"):
        return anndata_io("sparse_dataset")(element)
    return element if kind == "array" else anndata_io("read_elem")(element)


def anndata_io(name: str) -> Callable[..., Any]:
    """Return a function that left anndata's experimental module in 0.11."""
    try:
        import anndata.io as module
    except ImportError:
        import anndata.experimental as module
    function: Callable[..., Any] = getattr(module, name)
    return function
