"""Some cells of each group, in memory, and how strongly they express each gene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.checks import check_whole_number
from celloquy.data import CellBatch, CellColumns, CellSource
from celloquy.data.columns import codes
from celloquy.data.share import CellShare
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.models import Model
from celloquy.runtime.arrays import runs
from celloquy.runtime.hardware import Precision, autocast, choose_device, choose_precision
from celloquy.tasks.gene_reading import known_genes, reading

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellReader

DEPTH = 1e4
"""Counts to which a cell is scaled where expression is compared."""
CELLS_READ = 256
"""Cells that a model reads at a time."""
CELLS_COPIED = 4096
"""Cells that are taken from the object at a time."""
LEAST_CELLS = 2
"""Cells of a group below which there is no mean to speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How cells are read for a perturbation."""

    columns: CellColumns
    n_cells: int
    """Cells of a group, at most."""
    precision: Precision
    device: str
    seed: int

    def __post_init__(self) -> None:
        check_whole_number("n_cells", self.n_cells, least=LEAST_CELLS)
        check_whole_number("seed", self.seed, least=0)


@dataclass(frozen=True, eq=False)
class SampledCells:
    """Some cells of each group of an object, and the model that reads them: ``n`` cells, ``k`` groups, ``g`` genes."""

    model: Model
    batch: CellBatch
    """The cells over the model's vocabulary, on the CPU, those of a group together."""
    group: Tensor
    """``(n,)`` int64: group of each cell."""
    names: list[str]
    """Names of the groups; none where all cells are one."""
    known: pd.DataFrame
    """All genes of the model."""
    genes: pd.DataFrame
    """The genes that the cells measure: ``row`` of the vocabulary, ``gene``, ``symbol``, ``species``; each row once."""

    @property
    def n_groups(self) -> int:
        """Number of groups, at least one."""
        return max(1, len(self.names))

    @property
    def rows(self) -> NDArray[np.int64]:
        """``(g,)``: rows of the vocabulary."""
        return self.genes["row"].to_numpy(dtype=np.int64)

    @cached_property
    def scaled(self) -> sparse.csc_matrix:
        """``(n, g)`` counts per 10,000."""
        counts = self.batch.to_csr()
        depth = np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
        return sparse.csc_matrix(sparse.diags(DEPTH / depth) @ counts[:, self.rows])

    @cached_property
    def logged(self) -> sparse.csc_matrix:
        """``(n, g)`` log1p of the counts per 10,000."""
        return sparse.csc_matrix(self.scaled.log1p())

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """``(k, g)``: mean counts per 10,000 of each gene in each group."""
        return self._of_groups(self.scaled)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """``(k, g)``: share of the cells of each group that express each gene."""
        return self._of_groups(sparse.csc_matrix(self.scaled > 0, dtype=np.float64))

    def parts(self, n: int | None = None) -> Iterator[tuple[Tensor, CellBatch]]:
        """Yield numbers of some cells ``(m,)``, and the cells, of all or of the first ``n``."""
        for part in runs(0, len(self.batch) if n is None else n, CELLS_READ):
            yield torch.arange(part.start, part.stop), self.batch[part]

    def _of_groups(self, values: sparse.csc_matrix) -> NDArray[np.float64]:
        member = np.zeros((self.n_groups, len(self.group)))
        member[self.group.numpy(), np.arange(len(self.group))] = 1
        return np.asarray((values.T @ (member / member.sum(1, keepdims=True)).T).T)


@contextmanager
def sampled_cells(
    model: Model,
    adata: AnnData | str | PathLike[str],
    by: str | None,
    options: ReadingOptions,
    groups: Sequence[str] | None = None,
) -> Iterator[SampledCells]:
    """Read some cells of each group, and have the model ready to read them on its device.

    A model that adapts has learned from all cells before, as in :func:`celloquy.embed`. Which cells of a large group
    are taken is decided by a hash of their names and the seed, so that their order does not matter.

    Parameters
    ----------
    model, adata, by, options
        As of :func:`celloquy.perturb`.
    groups
        Groups to read, in this order; by default all.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no raw counts, no column ``by``, or a group has fewer than two cells.
    """
    device = choose_device(options.device)
    with opened(adata) as read:
        group, names = codes(read, by, "by", groups)
        cells = CellSource(read, options.columns).over(model.vocabulary)
        if "adapt" in model.abilities:
            model = model.to(device).adapted(cells)
        cell_names = read.obs_names.to_numpy(dtype=object)
        keys = pd.util.hash_array(cell_names, hash_key=f"{options.seed % 10**16:016d}", categorize=False)
        rows = _chosen(keys, group, names, by, options.n_cells)
        # Of a group the cells stand together, in the order of their hashes, whatever their order in the object.
        order = np.lexsort((keys[rows], group[rows]))
        batch, group = _taken(cells, rows).select(torch.from_numpy(order)), group[rows][order]
        known = known_genes(model)
        other = {"human": "mouse", "mouse": "human"}.get(cells.report.species)
        by_row = known[known["species"] != other].drop_duplicates("row")
        genes = by_row[cells.measured.numpy()[by_row["row"]]].reset_index(drop=True)
        precision = choose_precision(options.precision, device, model.config.width)
        with reading(model, device), autocast(precision, device):
            yield SampledCells(model, batch, torch.from_numpy(group), names, known, genes)


def _chosen(
    keys: NDArray[np.uint64], group: NDArray[np.int64], names: Sequence[str], by: str | None, most: int
) -> NDArray[np.int64]:
    """Rows of the cells to read, rising."""
    rows = []
    for number in range(max(1, len(names))):
        own = np.flatnonzero(group == number)
        if len(own) < LEAST_CELLS:
            what = f"The group {names[number]!r} of `{by}`" if names else "The object"
            raise ArgumentError(
                f"{what} has too few cells.",
                found=f"{len(own)} cell{'' if len(own) == 1 else 's'}",
                expected=f"at least {LEAST_CELLS}, of which a mean can be taken",
                remedy="leave these cells out, or join them to another group.",
                argument="by" if names else "adata",
            )
        rows.append(own[np.argsort(keys[own], kind="stable")[:most]])
    return np.sort(np.concatenate(rows))


def _taken(cells: CellReader, rows: NDArray[np.int64]) -> CellBatch:
    """The cells of some rows in memory."""
    share = CellShare(cells, rows)
    whole = CellBatch.concatenate([share.read(part.start, part.stop) for part in runs(0, len(rows), CELLS_COPIED)])
    # All have the same panel.
    return replace(whole, panel=torch.zeros_like(whole.panel), measured=whole.measured[:1], species=whole.species[:1])


def grouped_table(table: pd.DataFrame, cells: SampledCells) -> pd.DataFrame:
    """Return a table with its groups as categories in their order, or without them where all cells are one."""
    if not cells.names:
        return table.drop(columns="group")
    return table.assign(group=pd.Categorical(table["group"].tolist(), categories=cells.names))
