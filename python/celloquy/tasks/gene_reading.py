"""The genes of a model, found by name and read in the cells of an AnnData, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from celloquy.checks import check_names, refuse
from celloquy.data import CellBatch, CellColumns, CellReader, CellSource
from celloquy.data.columns import codes
from celloquy.data.store import opened
from celloquy.errors import GenesError, some
from celloquy.genes import identify_genes
from celloquy.genes.nearest import said_nearest
from celloquy.models import Model
from celloquy.runtime.arrays import runs
from celloquy.runtime.hardware import Precision, autocast, choose_precision
from celloquy.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from anndata import AnnData

CELLS_READ = 256
"""Cells whose counts are in memory at a time."""


class DescribesGenes(Protocol):
    """A model of the ability ``"describe genes"``."""

    n_layers: int
    """Layers in which genes read one another."""

    def gene_vectors(self) -> Tensor:
        """Return a vector of every gene of the vocabulary, ``(genes, width)``."""

    def gene_vectors_in(self, batch: CellBatch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield cell, row of the vocabulary and vector of the genes that are read."""

    def gene_attention_in(
        self, batch: CellBatch, rows: Tensor, layer: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield cell, query, key and weight of the pairs of some genes that are read."""


@contextmanager
def reading(model: Model, device: torch.device) -> Iterator[None]:
    """Have a model on a device read and not learn, and be as it was afterwards."""
    was_training = model.training
    model.to(device).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def known_genes(model: Model) -> pd.DataFrame:
    """Return the genes of a model: ``row`` of the vocabulary, ``gene`` (Ensembl id), ``symbol`` and ``species``."""
    return pd.DataFrame(model.vocabulary.genes(), columns=["row", "gene", "symbol", "species"])


def find_genes(known: pd.DataFrame, genes: Iterable[str] | None, argument: str = "genes") -> np.ndarray:
    """Return the places of genes in the table of those that a model knows, in their order; all by default.

    Parameters
    ----------
    known
        What :func:`known_genes` returned.
    genes
        Symbols or ids.
    argument
        Argument that names them, for messages.

    Raises
    ------
    ArgumentError, GenesError
        If these are no names, or one is of no gene of the model.
    """
    if genes is None:
        return np.arange(len(known))
    names = check_names(argument, genes, "names of genes")
    if not names:
        refuse(argument, names, "the name of at least one gene")
    by_name: dict[str, int] = {}
    for column in ("gene", "symbol"):
        for place, name in enumerate(known[column]):
            # A symbol of both species, such as C3, is that of the human gene, which comes first.
            by_name.setdefault(name, place)
    by_name.pop("", None)
    ids = identify_genes(names).ids
    found = [by_name.get(name, by_name.get(gene, -1)) for name, gene in zip(names, ids, strict=True)]
    missing = [name for name, place in zip(names, found, strict=True) if place < 0]
    if missing:
        raise GenesError(
            "The model does not know these genes.",
            found=some(missing),
            expected=f"symbols or ids of its {len(known):,} genes; {said_nearest(missing, known['symbol'])}",
            remedy="leave them out; `cq.identify_genes(genes)` shows what each name stands for.",
            argument=argument,
        )
    return np.array(list(dict.fromkeys(found)), dtype=np.int64)


def labels_of(genes: pd.DataFrame) -> pd.Series:
    """Return the symbol of each gene, or its id where it has none; a symbol of two genes is followed by the id."""
    label = genes["symbol"].where(genes["symbol"] != "", genes["gene"])
    return label.where(~label.duplicated(keep=False), label + "|" + genes["gene"]).astype(str)


@dataclass(frozen=True, eq=False)
class GroupedCells:
    """Cells in groups, with genes of a model to look at in them."""

    cells: CellReader
    """The cells over the model's vocabulary."""
    group: Tensor
    """``(cells,)`` int64: group of each cell."""
    names: list[str]
    """Names of the groups; none where all cells are one."""
    genes: pd.DataFrame
    """The genes: ``row`` of the vocabulary, ``gene``, ``symbol``, ``species``, each row once."""

    @property
    def n_groups(self) -> int:
        """Number of groups, at least one."""
        return max(1, len(self.names))

    @property
    def rows(self) -> Tensor:
        """``(genes,)`` int64: their rows of the vocabulary."""
        # A copy: pandas gives a view that can't be written to.
        return torch.tensor(self.genes["row"].to_numpy(dtype=np.int64))

    def read(self, progress: bool) -> Iterator[tuple[Tensor, CellBatch]]:
        """Yield the groups of some cells ``(n,)``, and the cells."""
        with ProgressBar(total=len(self.cells), desc="Reading genes", unit=" cells", disable=not progress) as bar:
            for part in runs(0, len(self.cells), CELLS_READ):
                yield self.group[part], self.cells.read(part.start, part.stop)
                bar.update(part.stop - part.start)


@contextmanager
def grouped_cells(
    model: Model,
    adata: AnnData | str | PathLike[str],
    by: str | None,
    genes: Iterable[str] | None,
    columns: CellColumns,
    precision: Precision,
    device: torch.device,
) -> Iterator[GroupedCells]:
    """Open cells to read genes in, in a precision.

    A row of the vocabulary that is a pair stands for the gene of the cells' species, whichever of both was named.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no raw counts, a gene is not known, or there is no column ``by``.
    """
    known = known_genes(model)
    wanted = find_genes(known, genes)
    exact = choose_precision(precision, device, model.config.width)
    with opened(adata) as read, autocast(exact, device):
        group, names = codes(read, by, "by")
        cells = CellSource(read, columns).over(model.vocabulary)
        other = {"human": "mouse", "mouse": "human"}.get(cells.report.species)
        by_row = known[known["species"] != other].drop_duplicates("row").set_index("row", drop=False)
        rows = dict.fromkeys(known["row"].to_numpy()[wanted].tolist())
        chosen = by_row.loc[[row for row in rows if row in by_row.index]]
        yield GroupedCells(cells, torch.from_numpy(group), names, chosen.reset_index(drop=True))
