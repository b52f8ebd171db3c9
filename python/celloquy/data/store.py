"""Open a file of cells with its matrices on disk where it can, and write results into one."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd

from celloquy.data.foreign import foreign_reader, modality_of_genes
from celloquy.data.matrix import CountsPlace, Owner, counts_places
from celloquy.data.probe import probe
from celloquy.errors import ArgumentError, CelloquyError, DiskError, says_full
from celloquy.keys import PROVENANCE

if TYPE_CHECKING:
    from anndata import AnnData
    from torch import Tensor

RUN_BYTES = 16 * 2**20
"""Number of bytes of an array that are copied to a file at a time."""

_NOTHING: Mapping[str, RowReader] = {}


def quiet_anndata() -> AbstractContextManager[None]:
    """Return a context without warnings, for what anndata says of the user's affairs whenever it reads, copies, writes.

    It warns of names that are not unique, of names that a later version won't write, and of a view that becomes an
    object of its own.
    """
    return warnings.catch_warnings(action="ignore")


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
        An h5ad file or a zarr directory; or an h5mu file, whose RNA is read; or a matrix of Cell Ranger, an h5 file or
        a folder, which is read into memory.
    argument
        Name of the argument that names the file, for errors.

    Raises
    ------
    ArgumentError
        If the file does not exist, or is none of these.
    """
    if not path.exists():
        raise ArgumentError(
            f"There is no file {str(path)!r}.", found="no such file", remedy="check the path.", argument=argument
        )
    with ExitStack() as stack:
        try:
            probe(path)
            with quiet_anndata():
                if read := foreign_reader(path, argument):
                    adata = read()
                else:
                    group = stack.enter_context(opened_store(path, "r"))
                    adata = _adata_of(modality_of_genes(group, path, argument), path)
        except CelloquyError:
            raise
        except Exception as error:
            raise _unreadable(path, error, argument) from error
        yield adata


@contextmanager
def opened_matrix(path: Path, layer: str) -> Iterator[CountsPlace]:
    """Yield one matrix of a file without its tables, which take memory; see :func:`open_store`.

    Parameters
    ----------
    path
        An h5ad file, or a zarr directory.
    layer
        A layer, ``"X"`` or ``"raw"``, which exists.
    """
    with ExitStack() as stack:
        group = None if foreign_reader(path, "corpus") else stack.enter_context(opened_store(path, "r"))
        if group is not None:
            group = modality_of_genes(group, path, "corpus")
        if group is None or hasattr(group["obs"], "dtype"):
            # Of Cell Ranger, or of a version of anndata before 0.7, which are read as a whole.
            (place,) = counts_places(stack.enter_context(open_store(path)), layer)
            yield place
            return
        # A layer may be called "X" or "raw", too, which are then meant only where these are missing.
        own = group if layer == "X" else _raw_of(group) if layer == "raw" else None
        matrix = group["layers"][layer] if own is None or "X" not in own else own["X"]
        yield CountsPlace(layer, _lazily(matrix), pd.DataFrame(), Owner())


def _adata_of(group: Any, path: Path) -> AnnData:
    """The AnnData of a file that is open, with its matrices on disk."""
    import anndata
    from anndata.io import read_elem

    if hasattr(group["obs"], "dtype"):
        # Before version 0.7 anndata wrote tables of another kind, which it still reads, into memory.
        return anndata.read_h5ad(path)
    raw = _raw_of(group)
    return anndata.AnnData(
        X=_lazily(group["X"]) if "X" in group else None,
        obs=read_elem(group["obs"]),
        var=read_elem(group["var"]),
        obsm=_lazily_all(group.get("obsm")),
        layers=_lazily_all(group.get("layers")),
        raw={"X": _lazily(raw["X"]), "var": read_elem(raw["var"])} if raw is not None else None,
    )


def _raw_of(group: Any) -> Any:
    # Some versions of anndata write an array, or an empty one, if there is no raw.
    raw = group.get("raw")
    return raw if hasattr(raw, "keys") and "X" in raw else None


def read_store(path: Path, argument: str = "adata") -> AnnData:
    """Return the AnnData of a file in memory.

    Raises
    ------
    ArgumentError
        As :func:`open_store`.
    """
    import anndata
    from anndata.io import read_elem

    # Says of an unfit file what is wrong with it.
    with open_store(path, argument) as adata:
        if foreign_reader(path, argument):
            return adata
    try:
        with quiet_anndata():
            with opened_store(path, "r") as group:
                if (own := modality_of_genes(group, path, argument)) is not group:
                    return read_elem(own)
            return anndata.read_zarr(path) if is_zarr(path) else anndata.read_h5ad(path)
    except Exception as error:
        raise _unreadable(path, error, argument) from error


def _unreadable(path: Path, error: Exception, argument: str) -> ArgumentError:
    """The error of a file that can't be read; the libraries of a damaged one raise whatever its bytes make them."""
    return ArgumentError(
        f"{str(path)!r} can't be read as h5ad or zarr.",
        found=(str(error).splitlines() or [type(error).__name__])[0],
        expected="a file that anndata wrote, or a matrix of Cell Ranger",
        remedy="check that it is whole, or convert it to h5ad first.",
        argument=argument,
    )


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


def write_whole(adata: AnnData, path: Path) -> None:
    """Write a new file, to which results can be added.

    Parameters
    ----------
    adata
        The object, of which anndata turns columns of text into categories.
    path
        Path of the file, ``.h5ad`` or ``.zarr``.

    Raises
    ------
    ArgumentError
        If a part of the object can't be written.
    DiskError
        If the disk is full.
    """
    try:
        with quiet_anndata():
            if is_zarr(path):
                adata.write_zarr(path)
            else:
                adata.write_h5ad(path)
    except Exception as error:
        if says_full(error):
            raise DiskError.full(path, error) from error
        said = [str(error), *getattr(error, "__notes__", ())]
        raise ArgumentError(
            f"A part of the object can't be written to {path.suffix}.",
            found="; ".join(text.splitlines()[0] for text in said if text) or type(error).__name__,
            expected="columns of one type, and names without slashes",
            remedy="change or drop the part that is named, such as adata.obs['x'] = adata.obs['x'].astype(str).",
            argument="adata",
        ) from error


def update_store(path: Path, adata: AnnData, before: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to the file of an object what was added to the object.

    Parameters
    ----------
    path
        The file that :func:`write_whole` wrote.
    adata
        The object.
    before
        What ``obsm`` and ``layers`` held before.
    """
    from anndata.io import write_elem

    with _writing(path) as group:
        for place in before:
            for key, value in getattr(adata, place).items():
                if value is not before[place].get(key):
                    write_elem(group.require_group(place), key, value)
        write_elem(group, "obs", adata.obs)
        if PROVENANCE in adata.uns:
            write_elem(group.require_group("uns"), PROVENANCE, adata.uns[PROVENANCE])


def add_to_store(
    path: Path,
    *,
    uns: dict[str, Any],
    obs: Mapping[str, np.ndarray] | None = None,
    obsm: Mapping[str, RowReader] = _NOTHING,
    layers: Mapping[str, RowReader] = _NOTHING,
) -> None:
    """Add results to an existing file.

    A result replaces an older one of the same key; an entry of a dict in ``uns`` replaces an older entry of its key.

    Parameters
    ----------
    path
        The file.
    uns
        Unstructured annotation, any types that anndata can write.
    obs
        Columns ``(cells,)``.
    obsm, layers
        Arrays ``(cells, width)`` and ``(cells, genes)``, which are read and written a run at a time.

    Raises
    ------
    DiskError
        If the disk is full.
    """
    from anndata.io import read_elem, write_elem

    with _writing(path) as group:
        for place, arrays in (("obsm", obsm), ("layers", layers)):
            for key, values in arrays.items():
                _write_rows(group.require_group(place), key, values)
        if obs:
            write_elem(group, "obs", read_elem(group["obs"]).assign(**obs))
        for key, value in uns.items():
            if key in group.require_group("uns"):
                older = read_elem(group["uns"][key])
                if isinstance(older, Mapping) and isinstance(value, Mapping):
                    value = {**older, **value}
                del group["uns"][key]
            write_elem(group["uns"], key, value)


@contextmanager
def _writing(path: Path) -> Iterator[Any]:
    """Yield the group of a file to write to."""
    try:
        with quiet_anndata(), opened_store(path, "r+") as group:
            yield group
    except Exception as error:
        if says_full(error):
            raise DiskError.full(path, error) from error
        raise


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
