"""What a denoiser is asked for, checked before anything is computed, and the file that the answer goes to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pandas as pd

from celloquy import keys
from celloquy.checks import check_choice, check_names, check_path
from celloquy.data.matrix import check_anndata
from celloquy.data.store import quiet_anndata, write_whole
from celloquy.errors import ArgumentError, some
from celloquy.runtime.arrays import reserve
from celloquy.runtime.memory import memory_budget
from celloquy.runtime.resume import ROOM, Output, resumable_output
from celloquy.tasks.denoising.expression import Unit
from celloquy.tasks.results import check_result

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Request:
    """Request to :meth:`Denoiser.predict`, checked."""

    unit: Unit
    names: pd.Index[str]
    """Names of the genes wanted."""
    all_genes: bool
    """True if these are all genes of the object."""
    return_std: bool
    out: Path | None
    key_added: str
    copy: bool


def reserve_output(
    adata: AnnData, request: Request, stack: ExitStack, *, source: str | PathLike[str] | None
) -> Output | None:
    """Begin the output file before hours are spent: its tables are written, and the room of its results is taken.

    Parameters
    ----------
    adata
        The cells.
    request
        What is asked for.
    stack
        Contexts that end with the call.
    source
        File that the cells are in, if they are in one.

    Raises
    ------
    ArgumentError, DiskError
        If the file can't be written, or the disk has no room.
    """
    from anndata import AnnData

    if request.out is None:
        return None
    if source is not None and os.path.exists(request.out) and request.out.samefile(source):
        raise ArgumentError(
            f"{str(request.out)!r} can't be written.",
            found="the file of the counts, which the result does not hold",
            remedy="choose another name as `out`.",
            argument="out",
        )
    output = stack.enter_context(resumable_output(request.out))
    results = 4 * adata.n_obs * len(request.names) * (2 if request.return_std else 1)
    tables = sum(int(table.memory_usage(deep=True).sum()) for table in (adata.obs, adata.var))
    # HDF5 does not survive a full disk.
    reserve(output.folder / ROOM, results + 2 * tables + 2**20)
    var = adata.var if request.all_genes else adata.var.loc[request.names]
    with quiet_anndata():
        bare = AnnData(obs=adata.obs, var=var)
    write_whole(bare, output.result)
    return output


def check_request(
    adata: AnnData,
    unit: Unit = "counts",
    genes: Sequence[str] | None = None,
    *,
    return_std: bool = False,
    out: str | PathLike[str] | None = None,
    key_added: str = keys.DENOISED,
    copy: bool = False,
) -> Request:
    """Check what :meth:`Denoiser.predict` is asked for.

    Raises
    ------
    ArgumentError
        If there is no such unit or gene, or the result does not fit the memory.
    """
    check_anndata(adata)
    check_choice("unit", unit, get_args(Unit))
    check_result(adata, key_added, copy=copy)
    names = adata.var_names if genes is None else _names(adata, genes)
    if out is None:
        _check_memory(adata.n_obs, len(names), 2 if return_std else 1)
    target = None if out is None else check_path("out", out, "the path of a new file")
    return Request(unit, names, genes is None, return_std, target, key_added, copy)


def _names(adata: AnnData, genes: Sequence[str]) -> pd.Index[str]:
    """The genes asked for, each once."""
    wanted = pd.Index(check_names("genes", genes, "names of genes"), dtype=object)
    missing = wanted[~wanted.isin(adata.var_names)]
    if not len(wanted) or len(missing) or adata.var_names[adata.var_names.isin(wanted)].has_duplicates:
        raise ArgumentError(
            "Some of `genes` can't be denoised.",
            found=f"{some(missing)} not in adata.var_names" if len(missing) else "no gene, or a name of several",
            expected=f"names in adata.var_names, such as {', '.join(adata.var_names[:3])}",
            remedy="pass names as the object spells them, or leave `genes` out.",
            argument="genes",
        )
    return wanted


def _check_memory(cells: int, genes: int, results: int) -> None:
    needed, free = 4 * cells * genes * results, memory_budget(None)
    if needed > free:
        raise ArgumentError(
            "The denoised expression does not fit the memory.",
            found=f"{cells:,} cells × {genes:,} genes, {needed / 1e9:,.1f} GB",
            expected=f"at most {free / 1e9:,.1f} GB, half of what is free",
            remedy="pass `genes` for some of them, or out='denoised.h5ad' to write them by blocks.",
        )
