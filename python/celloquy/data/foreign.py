"""Files that anndata did not write: those of Cell Ranger are read, others are named with the line that reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

_HDF5, _GZIP, _ZIP = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"PK\x03\x04"
_RNA: Final = ("rna", "gex", "gene expression")
"""Names of the modality with the genes, in small letters."""
_MATRIX = re.compile(r"(?P<prefix>.*)matrix\.mtx(\.gz)?")
_READ_BY: Final = {
    ".csv": "anndata.io.read_csv({path!r})",
    ".tsv": "anndata.io.read_text({path!r})",
    ".txt": "anndata.io.read_text({path!r})",
    ".mtx": "anndata.io.read_mtx({path!r}).T",
    ".xlsx": "anndata.io.read_excel({path!r}, sheet=0)",
    ".rds": "celloquy.read_seurat({path!r})",
    ".loom": "anndata.io.read_loom({path!r})",
}
"""What reads files that are told by their names."""


def foreign_reader(path: Path, argument: str) -> Callable[[], AnnData] | None:
    """Return the function that reads a file of Cell Ranger, or None for a file of anndata or one that is not known.

    Parameters
    ----------
    path
        A file or a folder, which exists.
    argument
        Name of the argument that names it, for errors.

    Raises
    ------
    ArgumentError
        If the file is known, but is not read here; the error has the line that turns it to h5ad.
    """
    if path.is_dir() or _MATRIX.fullmatch(path.name):
        folder = path if path.is_dir() else path.parent
        prefixes = [match["prefix"] for file in folder.iterdir() if (match := _MATRIX.fullmatch(file.name))]
        if path.is_file():
            prefixes = [match["prefix"] for match in [_MATRIX.fullmatch(path.name)] if match]
        return None if len(prefixes) != 1 else lambda: _read_10x_folder(folder, prefixes[0])
    with path.open("rb") as file:
        start = file.read(8)
    if start == _HDF5:
        return _hdf5_reader(path, argument)
    name = path.name.lower().removesuffix(".gz")
    line = next((line for ending, line in _READ_BY.items() if name.endswith(ending)), None)
    if line is not None:
        _refuse(path, f"a file of the kind {Path(name).suffix}", _turned(path, line), argument)
    if start[:2] == _GZIP or start[:4] == _ZIP:
        raise ArgumentError(
            f"{str(path)!r} is compressed.",
            found="an archive",
            expected="an h5ad file, a zarr directory, or a file or folder of Cell Ranger",
            remedy=f"unpack it first: {'gunzip' if start[:2] == _GZIP else 'unzip'} {path.name}",
            argument=argument,
        )
    return None


def is_10x_folder(path: Path) -> bool:
    """Return whether a folder holds a matrix of Cell Ranger with the names of its cells and genes."""
    return path.is_dir() and any(_MATRIX.fullmatch(file.name) for file in path.iterdir())


def modality_of_genes(group: Any, path: Path, argument: str) -> Any:
    """Return the group of an open file that is an AnnData: the file itself, or the RNA of a MuData.

    Raises
    ------
    ArgumentError
        If it is a MuData in which no modality, or more than one, may be the RNA; or a SpatialData.
    """
    if "mod" in group and "obs" in group and "X" not in group:
        names = list(group["mod"])
        chosen = [name for name in names if name.lower() in _RNA] or names
        if len(chosen) != 1:
            raise ArgumentError(
                f"{str(path)!r} has several modalities.",
                found=", ".join(names),
                expected=f"one that is called {' or '.join(map(repr, _RNA[:2]))}",
                remedy=f"write the one with the genes as h5ad: muon.read({str(path)!r})[{names[0]!r}]"
                f".write_h5ad({path.stem + '.h5ad'!r}).",
                argument=argument,
            )
        return group["mod"][chosen[0]]
    if "tables" in group and "obs" not in group:
        line = f"spatialdata.read_zarr({{path!r}}).tables[{next(iter(group['tables']), 'table')!r}]"
        _refuse(path, "a SpatialData", _turned(path, line), argument)
    return group


def _hdf5_reader(path: Path, argument: str) -> Callable[[], AnnData] | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "obs" in file or "mod" in file:
                return None
            if "row_attrs" in file and "matrix" in file:
                _refuse(path, "a loom file", _turned(path, _READ_BY[".loom"]), argument)
            if "cell.names" in file or "meta.data" in file:
                line = f"in R, celloquy::WriteH5AD(SeuratDisk::LoadH5Seurat({str(path)!r}), {path.stem + '.h5ad'!r})."
                _refuse(path, "an h5Seurat file", f"turn it to h5ad: {line}", argument)
            if "barcode_idx" in file:
                _refuse(
                    path, "a molecule_info.h5", "pass filtered_feature_bc_matrix.h5, which lies beside it.", argument
                )
            # All at once: what iterates over a file holds the lock of h5py, and may outlive an error of a damaged one.
            if any("barcodes" in group for group in list(file.values()) if isinstance(group, h5py.Group)):
                return lambda: _read_10x_h5(path)
    except OSError:
        # A damaged file: the caller says so.
        return None
    return None


def _read_10x_h5(path: Path) -> AnnData:
    import scanpy as sc

    return _with_unique_names(sc.read_10x_h5(path, gex_only=False))


def _read_10x_folder(folder: Path, prefix: str) -> AnnData:
    import scanpy as sc

    return _with_unique_names(sc.read_10x_mtx(folder, prefix=prefix, gex_only=False, make_unique=False))


def _with_unique_names(adata: AnnData) -> AnnData:
    adata.var_names_make_unique()
    return adata


def _turned(path: Path, line: str) -> str:
    """The line that turns a file to h5ad."""
    return f"turn it to h5ad: {line.format(path=str(path))}.write_h5ad({path.name.split('.')[0] + '.h5ad'!r})."


def _refuse(path: Path, kind: str, remedy: str, argument: str) -> NoReturn:
    raise ArgumentError(
        f"{str(path)!r} is {kind}, which is not read here.",
        found=kind,
        expected="an h5ad file, a zarr directory, an h5mu file, or filtered_feature_bc_matrix of Cell Ranger",
        remedy=remedy,
        argument=argument,
    )
