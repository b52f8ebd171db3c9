"""The expression from which networks are inferred: of some cells of each group, in an order that is the data's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import codes
from celloquy.data.features import genes_among
from celloquy.data.matrix import counts_places
from celloquy.errors import ArgumentError, CountsError, GenesError
from celloquy.genes import identify_genes
from celloquy.runtime.arrays import runs

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_CELLS = 10
"""Cells of a group of which a network can be inferred, at least."""

_DEPTH = 10_000
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Group:
    """Some cells of one group."""

    name: str
    """Name of the group; empty where all cells are one."""
    rows: NDArray[np.int64]
    """``(cells,)``: their numbers in the object, in an order that does not depend on that of the object."""
    values: sparse.csc_matrix
    """``(cells, genes)``: their expression, log-normalised."""


@dataclass(frozen=True, eq=False)
class Expression:
    """The genes of an object, and their expression in the groups of its cells."""

    names: tuple[str, ...]
    """Names of the genes, as the object has them, sorted."""
    ids: tuple[str, ...]
    """Their Ensembl ids; empty where a name is not known."""
    species: str
    """``"human"``, ``"mouse"`` or ``"unknown"``."""
    groups: tuple[Group, ...]
    """The groups, sorted by name."""


def read_expression(
    adata: AnnData, by: str | None, columns: CellColumns, *, normalised: bool, most: int, seed: int
) -> Expression:
    """Read the expression of some cells of each group, in one pass over the object.

    Parameters
    ----------
    adata
        The object, in memory or on disk.
    by
        Column of the groups.
    columns
        Place of the counts.
    normalised
        True takes the values as they are; False takes counts, and the logarithm of counts per 10,000.
    most
        Cells of a group that are read, at most: those whose names, together with the seed, have the smallest hashes.
    seed
        Seed of the choice.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no raw counts, genes are of both species, or a group has too few cells.
    """
    group, names = codes(adata, by, "by")
    if normalised:
        (place,) = counts_places(adata, columns.layer or "X")
        read_run = place.open().read
        var_names, genes = place.var_names, genes_among(place.var, str(place))
    else:
        source = CellSource(adata, columns)
        read_run, var_names, genes = source.counts.read, source.counts.var_names, source.genes
    order = _hashes(adata, seed)
    chosen = [_chosen(np.flatnonzero(group == one), order, most) for one in range(max(1, len(names)))]
    for name, rows in zip(names or [""], chosen, strict=True):
        _check_size(name, len(rows), by)
    columns_of, found, ids, species = _genes(var_names, genes)
    blocks: list[list[sparse.csr_matrix]] = [[] for _ in chosen]
    for part in runs(0, adata.n_obs, _BLOCK):
        wanted = [rows[(rows >= part.start) & (rows < part.stop)] - part.start for rows in chosen]
        if sum(map(len, wanted)):
            block = _logged(read_run(part.start, part.stop), genes, columns_of, len(found), normalised=normalised)
            for own, rows in zip(blocks, wanted, strict=True):
                own.append(block[rows])
    groups = []
    for name, rows, own in zip(names or [""], chosen, blocks, strict=True):
        # Trees draw cells by their place, so the places must not be those of the object.
        drawn = np.argsort(order[rows], kind="stable")
        groups.append(Group(name, rows[drawn], sparse.csc_matrix(sparse.vstack(own, format="csr")[drawn])))
    return Expression(found, ids, species, tuple(groups))


def _hashes(adata: AnnData, seed: int) -> NDArray[np.uint64]:
    """Return a number for each cell that its name and the seed decide."""
    named = np.array([f"{seed} {name}" for name in adata.obs_names], dtype=object)
    return pd.util.hash_array(named, categorize=False)


def _chosen(rows: NDArray[np.int64], order: NDArray[np.uint64], most: int) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return np.sort(rows[np.argsort(order[rows], kind="stable")[:most]])


def _check_size(name: str, cells: int, by: str | None) -> None:
    if cells < LEAST_CELLS:
        what = "The object" if by is None else f"The group {name!r}"
        raise ArgumentError(
            f"{what} has too few cells for a network.",
            found=f"{cells:,} cell{'' if cells == 1 else 's'}",
            expected=f"at least {LEAST_CELLS}",
            remedy="drop or join such groups, or leave `by` out." if by else "pass more cells.",
            argument="by" if by else "adata",
        )


def _genes(
    var_names: NDArray[Any], genes: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[str, ...], str]:
    """Return the place of each column that is a gene, and names, ids and species of the genes, sorted by name.

    Columns of one gene, such as an old and a new symbol, share a place; the gene has the name that sorts first.
    """
    names = var_names[genes].tolist()
    identified = identify_genes(names)
    shares = {one: share for one, share in identified.shares().items() if share > 0}
    if identified.species == "mixed":
        raise GenesError(
            "A network is that of one species.",
            found="genes of both human and mouse: "
            + " and ".join(f"{share:.1%} {one}" for one, share in shares.items()),
            expected="the cells of one species, with its genes",
            remedy="keep the cells of one species and its genes.",
            argument="adata",
        )
    key = [gene or name for gene, name in zip(identified.ids, names, strict=True)]
    name_of: dict[str, str] = {}
    for one, name in zip(key, names, strict=True):
        name_of[one] = min(name, name_of.get(one, name))
    sorted_keys = sorted(name_of, key=lambda one: (name_of[one], one))
    place = {one: number for number, one in enumerate(sorted_keys)}
    id_of = dict(zip(key, identified.ids, strict=True))
    return (
        np.array([place[one] for one in key], dtype=np.int64),
        tuple(name_of[one] for one in sorted_keys),
        tuple(id_of[one] for one in sorted_keys),
        identified.species,
    )


def _logged(
    block: sparse.csr_matrix, genes: NDArray[np.bool_], columns: NDArray[np.int64], n: int, *, normalised: bool
) -> sparse.csr_matrix:
    """Return the log expression of some cells, ``(cells, genes)``, whose columns of one gene are added up."""
    own = block[:, genes].astype(np.float32)
    if normalised and not np.isfinite(own.data).all():
        raise CountsError(
            "The normalised values hold some that are not finite.",
            found=f"{int((~np.isfinite(own.data)).sum()):,} missing or infinite values",
            expected="finite numbers",
            remedy="check the step that made them; put 0 where 0 is meant.",
            argument="layer",
        )
    together = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), (np.arange(len(columns)), columns)), (len(columns), n)
    )
    if not normalised:
        depth = np.asarray(own.sum(axis=1)).ravel()
        own.data *= np.repeat((_DEPTH / np.maximum(depth, 1)).astype(np.float32), np.diff(own.indptr))
    merged = sparse.csr_matrix(own @ together)
    if not normalised:
        np.log1p(merged.data, out=merged.data)
    return merged
