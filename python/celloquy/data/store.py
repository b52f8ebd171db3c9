"""Open an h5ad file or a zarr directory with its matrices on disk, and write results into one."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from torch import Tensor

RUN_BYTES = 16 * 2**20
"""Number of bytes of an array that are copied to a file at a time."""

_NOTHING: Mapping[str, RowReader] = {}


@contextmanager
def opened(data: AnnData | str | PathLike[str], argument: str = "adata") -> Iterator[AnnData]:
    """Yield an AnnData as it is, or that of a file, see :func:`open_store`."""
    if isinstance(data, str | PathLike):
        with open_store(Path(data), argument) as adata:
            yield adata
    else:
        yield data


@contextmanager
def open_store(path: Path, argument: str = "adata") -> Iterator[AnnData]:
    """Yield the AnnData of a file, whose matrices are read from disk when they are used, and close the file afterwards.

    Parameters
    ----------
    path
        An h5ad file, or a zarr directory.
    argument
        Name of the argument that names the file, for errors.

    Raises
    ------
    ArgumentError
        If the file does not exist, or anndata did not write it.
    """
    import anndata
    from anndata.io import read_elem

    if not path.exists():
        raise ArgumentError(
            f"There is no file {str(path)!r}.", found="no such file", remedy="check the path.", argument=argument
        )
    with ExitStack() as stack:
        try:
            group = stack.enter_context(opened_store(path, "r"))
            if hasattr(group["obs"], "dtype"):
                # Before version 0.7 anndata wrote tables of another kind, which it still reads, into memory.
                with warnings.catch_warnings(action="ignore"):
                    yield anndata.read_h5ad(path)
                return
            # Some versions of anndata write an array if there is no raw.
            raw = group["raw"] if "raw" in group and "X" in group["raw"] else None
            adata = anndata.AnnData(
                X=_lazily(group["X"]) if "X" in group else None,
                obs=read_elem(group["obs"]),
                var=read_elem(group["var"]),
                obsm=_lazily_all(group.get("obsm")),
                layers=_lazily_all(group.get("layers")),
                raw={"X": _lazily(raw["X"]), "var": read_elem(raw["var"])} if raw is not None else None,
            )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"{str(path)!r} can't be read as h5ad or zarr.",
                found=(str(error).splitlines() or [type(error).__name__])[0],
                expected="a file that anndata wrote",
                remedy="convert it to h5ad first.",
                argument=argument,
            ) from error
        yield adata


class RowReader(Protocol):
    """An array ``(cells, width)`` that is read a run of rows at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells, and width."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def read(self, rows: slice) -> Tensor:
        """Return a run of rows."""


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
        Path of the new file, ``.h5ad`` or ``.zarr``, which must not exist.
    obs
        Annotation of the cells.
    uns
        Unstructured annotation, any types that anndata can write.
    obsm
        Arrays ``(cells, width)``, which are read and written a run at a time.
    var
        Annotation of the genes, needed for layers.
    layers
        Arrays ``(cells, genes)``, read and written in the same way.
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
    """Add results to an existing file; see :func:`write_store`.

    A result replaces an older one of the same key; an entry of a dict in ``uns`` replaces an older entry of its key.
    """
    from anndata.io import read_elem, write_elem

    with opened_store(path, "r+") as group:
        for place, arrays in (("obsm", obsm), ("layers", layers)):
            for key, values in arrays.items():
                _write_rows(group.require_group(place), key, values)
        for key, value in uns.items():
            if key in group.require_group("uns"):
                older = read_elem(group["uns"][key])
                if isinstance(older, Mapping) and isinstance(value, Mapping):
                    value = {**older, **value}
                del group["uns"][key]
            write_elem(group["uns"], key, value)


def _write_rows(group: Any, key: str, values: RowReader) -> None:
    """Write an array a run of rows at a time."""
    if key in group:
        del group[key]
    cells, width = values.shape
    step = max(1, RUN_BYTES // (width * values.dtype.itemsize))
    make = getattr(group, "create_array", None) or group.create_dataset
    stored = make(key, shape=values.shape, dtype=values.dtype, chunks=(min(step, cells), width))
    # The mark of a dense array in anndata's documented format.
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
    """Return whether a path is that of a zarr directory, which need not exist."""
    return path.suffix == ".zarr" or path.is_dir()


@contextmanager
def opened_store(path: Path, mode: Literal["r", "r+"]) -> Iterator[Any]:
    """Yield the HDF5 or zarr group of a file, and close it afterwards."""
    if is_zarr(path):
        import zarr

        # zarr 3 reads consolidated metadata by default, zarr 2 does not.
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
    """Return whether a zarr directory has consolidated metadata, which must be written anew after a change."""
    described = path / "zarr.json"
    return (path / ".zmetadata").exists() or (described.exists() and "consolidated_metadata" in described.read_text())


def _lazily_all(group: Any) -> dict[str, Any]:
    return {} if group is None else {name: _lazily(group[name]) for name in group}


def _lazily(element: Any) -> Any:
    """Return a matrix that stays on disk, or any other element, such as a table, read into memory."""
    from anndata.io import read_elem, sparse_dataset

    kind = element.attrs.get("encoding-type", "array")
    if kind in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(element)
    return element if kind == "array" else read_elem(element)
