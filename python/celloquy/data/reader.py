"""Read the cells of one AnnData for a model: checked, aligned to its genes, a run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.data.batch import CellBatch
from celloquy.data.columns import CellColumns, codes
from celloquy.data.counts import choose_counts
from celloquy.data.features import genes_among
from celloquy.data.matrix import Owner
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes import AlignmentReport, GeneVocabulary, in_species
from celloquy.genes.tables import SPECIES, Species

if TYPE_CHECKING:
    from anndata import AnnData

BLOCK = 8192
"""Number of cells read at a time when all cells are read."""


class CellSource:
    """The cells of one AnnData, whose counts are found and checked once and then read over any number of vocabularies.

    Parameters
    ----------
    adata
        The object, in memory or backed; it is never changed.
    columns
        Place of the counts, and columns of tissue, position and batch.
    batches
        Names of the batches that a model knows, in the order of its codes; by default those of the column, sorted. Any
        other batch has the code -1.
    name
        Name of the object, for messages.
    layer_argument
        Argument that names the place of its counts, for messages.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no raw counts, no feature is a gene, or a column is missing or unfit.

    Examples
    --------
    >>> import celloquy as cq
    >>> source = cq.data.CellSource(adata, cq.CellColumns(tissue_key="slice"))
    >>> reader = source.over(cq.GeneVocabulary.from_names(adata.var_names))
    >>> reader.report.share > 0.9
    True
    """

    def __init__(
        self,
        adata: AnnData,
        columns: CellColumns = CellColumns(),  # noqa: B008 -- frozen
        *,
        batches: Sequence[str] | None = None,
        name: str = "adata",
        layer_argument: str = "layer",
    ) -> None:
        owner = Owner(name, layer_argument)
        self.counts = choose_counts(adata, layer=columns.layer, counts=columns.counts, owner=owner)
        self.genes = genes_among(self.counts.var, str(self.counts.place))
        self.columns, self.name, self.cell_names = columns, name, adata.obs_names
        self.tissue, self.tissues = codes(adata, columns.tissue_key, "tissue_key", name=name)
        self.batch, self.batches = codes(adata, columns.batch_key, "batch_key", batches, name=name)
        if columns.batch_key is None:
            self.batch[:] = -1
        self.position = _positions(adata, columns.spatial_key, self.tissue)
        self._readers: dict[tuple[str, bool], CellReader] = {}

    def __len__(self) -> int:
        """Number of cells."""
        return self.counts.n_cells

    @cached_property
    def column_totals(self) -> NDArray[np.float64]:
        """``(columns,)``: sum of the counts of every column."""
        return self.counts.genes_total()

    @property
    def var_names(self) -> pd.Index[str]:
        """Names of the columns of the counts, which for ``raw`` are not those of the AnnData."""
        return pd.Index(self.counts.var_names.tolist())

    def expressed_names(self, least: float = 1) -> list[str]:
        """Return the names of the genes that have at least a number of counts over all cells.

        Raises
        ------
        GenesError
            If no gene has a count.
        """
        names = self.counts.var_names
        return expressed_names(names, self.column_totals, self.genes, least, self.name, self.counts.source)

    def over(self, vocabulary: GeneVocabulary, *, selected: bool = False) -> CellReader:
        """Return the reader of these cells over a vocabulary, which is made once for each vocabulary.

        Parameters
        ----------
        vocabulary
            Genes to read.
        selected
            True if the vocabulary is a selection: coverage is then checked by genes, not by counts.

        Raises
        ------
        GenesError
            If no gene is known, or the genes are of another species.
        """
        key = vocabulary.fingerprint, selected
        if key not in self._readers:
            # What is wrong with its genes is told once.
            self._readers[key] = CellReader(self, vocabulary, selected=selected, warn=not self._readers)
        return self._readers[key]


class CellReader:
    """The cells of one AnnData over a vocabulary, read a run at a time; :meth:`CellSource.over` makes it.

    Examples
    --------
    >>> import celloquy as cq
    >>> reader = cq.data.CellSource(adata).over(cq.GeneVocabulary.from_names(adata.var_names))
    >>> batch = reader.read_all()
    """

    def __init__(
        self, source: CellSource, vocabulary: GeneVocabulary, *, selected: bool = False, warn: bool = True
    ) -> None:
        self._source, self._counts = source, source.counts
        self.tissue, self.batch, self.batches = source.tissue, source.batch, source.batches
        self.position, self.column_totals = source.position, source.column_totals
        self._genes = GeneColumns(
            vocabulary, self._counts.var_names, source.column_totals, source.genes, source.columns.species,
            selected=selected, warn=warn,
        )  # fmt: skip
        self.report, self.columns = self._genes.report, self._genes.columns

    def __repr__(self) -> str:
        return f"CellReader({len(self):,} cells × {len(self.measured):,} genes, from {self.source})"

    def __len__(self) -> int:
        """Number of cells."""
        return self._counts.n_cells

    def within(self, genes: Tensor) -> CellReader:
        """Return a reader of the same cells to which the other genes, ``(genes,)`` bool, are not measured."""
        other = copy(self)
        other._genes = self._genes.within(genes)
        other.columns = other._genes.columns
        return other

    @property
    def measured(self) -> Tensor:
        """``(genes,)`` bool: genes of the vocabulary that have a column."""
        return self._genes.measured

    @property
    def on_disk(self) -> bool:
        """Whether the counts are read from a file."""
        return self._counts.rows.on_disk

    @property
    def source(self) -> str:
        """Place of the counts, e.g. ``"layers['counts']"``."""
        return self._counts.source

    @property
    def var_names(self) -> pd.Index[str]:
        """Names of the columns of the counts, which for ``raw`` are not those of the AnnData."""
        return self._source.var_names

    def own_counts(self, start: int, stop: int) -> sparse.csr_matrix:
        """Return a run of cells with all columns of the object, ``(cells, columns)`` float32."""
        return self._counts.read(start, stop)

    def read_all(self) -> CellBatch:
        """Return all cells in memory, sparse."""
        blocks = [self.read(start, min(start + BLOCK, len(self))) for start in range(0, len(self), BLOCK)]
        whole = CellBatch.concatenate(blocks)
        # All blocks have the same panel.
        return replace(
            whole, panel=torch.zeros_like(whole.panel), measured=self.measured[None], species=self._genes.species[None]
        )

    def read(self, start: int, stop: int) -> CellBatch:
        """Return a run of cells; columns outside the vocabulary are left out, columns of one gene are summed."""
        rows = slice(start, stop)
        return self._genes.batch(
            self._counts.read(start, stop), self.tissue[rows], self.position[rows], self.batch[rows]
        )


def expressed_names(
    names: NDArray[Any], totals: NDArray[np.float64], genes: NDArray[np.bool_], least: float, name: str, place: str
) -> list[str]:
    """Return the names of the genes with at least a number of counts; see :meth:`CellSource.expressed_names`."""
    if not totals[genes].any():
        raise GenesError(
            f"No gene of {name} is expressed.",
            found=f"{int(genes.sum()):,} genes without a count in {place}",
            expected="counts above 0",
            remedy="check the step that made the counts.",
        )
    expressed: list[str] = names[genes & (totals >= least)].tolist()
    return expressed


class GeneColumns:
    """The columns of a count matrix over a vocabulary: which gene each of them is.

    Parameters
    ----------
    vocabulary
        Genes to read.
    names
        Names of the columns.
    totals
        Sum of the counts of every column, ``(columns,)``, by which coverage is measured.
    genes
        ``(columns,)`` bool, the columns that are genes; see :func:`celloquy.data.features.genes_among`.
    species
        ``"auto"`` maps genes of another species; see :class:`CellColumns`.
    selected
        True if the vocabulary is a selection: coverage is then checked by genes, not by counts.
    warn
        False if what is wrong with the genes has been told before.

    Raises
    ------
    GenesError
        If no gene is known, or the genes are of another species.
    """

    def __init__(
        self,
        vocabulary: GeneVocabulary,
        names: NDArray[Any],
        totals: NDArray[np.float64],
        genes: NDArray[np.bool_],
        species: str | None = None,
        *,
        selected: bool = False,
        warn: bool = True,
    ) -> None:
        names_of_genes: list[str] = names[genes].tolist()
        if species == "auto" and not vocabulary.pairs:
            target: Species = "mouse" if vocabulary.species == ("mouse",) else "human"
            names_of_genes = in_species(names_of_genes, target, warn=warn)
        alignment = vocabulary.align(names_of_genes, counts_per_gene=totals[genes], selected=selected, warn=warn)
        self.report: AlignmentReport = replace(alignment.report, not_genes=tuple(names[~genes].tolist()))
        self.columns = np.full(len(names), -1, dtype=np.int32)
        """``(columns,)`` int32: place of each column in the vocabulary, or -1."""
        self.columns[genes] = alignment.columns
        known = self.columns[self.columns >= 0]
        self._has_unmatched = len(known) < len(self.columns)
        self._has_duplicates = len(known) > len(np.unique(known))
        self.measured = torch.zeros(len(vocabulary), dtype=torch.bool)
        """``(genes,)`` bool: genes of the vocabulary that have a column."""
        self.measured[torch.from_numpy(known.astype(np.int64))] = True
        found = self.report.species
        self.species = torch.tensor(SPECIES.index(found) if found in SPECIES else -1)
        """Species of the genes, as :class:`CellBatch` has it."""

    def within(self, genes: Tensor) -> GeneColumns:
        """Return the same columns to which the other genes, ``(genes,)`` bool, are not measured."""
        known = np.append(genes.numpy(), False)[self.columns]
        other = copy(self)
        other.columns = np.where(known, self.columns, -1)
        other._has_unmatched = True
        other.measured = self.measured & genes
        return other

    def batch(self, block: sparse.csr_matrix, tissue: np.ndarray, position: np.ndarray, batch: np.ndarray) -> CellBatch:
        """Return cells of one panel; columns outside the vocabulary are left out, columns of one gene are summed.

        Parameters
        ----------
        block
            Raw counts, ``(cells, columns)`` float32.
        tissue, position, batch
            As of :class:`CellBatch`.
        """
        # The columns have been checked, and to clip is several times as fast as to check.
        indptr, indices, values = block.indptr, self.columns.take(block.indices, mode="clip"), block.data
        if self._has_unmatched:
            known = indices >= 0
            before = np.concatenate([[0], np.cumsum(known)])
            indptr, indices, values = before[indptr], indices[known], values[known]
        if self._has_duplicates:
            # Counts of several columns of one gene, e.g. an old and a new symbol, are summed. In a copy, because scipy
            # sorts and sums in place, and the values may be the caller's.
            shape = (block.shape[0], len(self.measured))
            merged = sparse.csr_matrix((values, indices, indptr), shape=shape, copy=True)
            merged.sum_duplicates()
            indptr, indices, values = merged.indptr, merged.indices, merged.data
        return CellBatch(
            indptr=torch.from_numpy(indptr.astype(np.int64)),
            indices=torch.from_numpy(indices.astype(np.int32, copy=False)),
            # The values may be the caller's: they are read here, never written.
            values=torch.from_numpy(np.require(values, np.float32, "W")),
            tissue=torch.from_numpy(tissue),
            position=torch.from_numpy(position),
            batch=torch.from_numpy(batch),
            panel=torch.zeros(block.shape[0], dtype=torch.int64),
            measured=self.measured[None],
            species=self.species[None],
        )


def read_positions(adata: AnnData, key: str, *, optional: bool = True) -> NDArray[np.float64]:
    """Return the positions ``(cells, 2)`` in ``obsm`` as they are; NaN where missing. ``optional`` is for the message.

    Raises
    ------
    ArgumentError
        If there are none of that key, or they are no pairs of numbers.
    """
    if key not in adata.obsm:
        raise ArgumentError(
            f"There is no {key!r} in adata.obsm.",
            found=", ".join(map(str, adata.obsm.keys())) or "nothing in adata.obsm",
            expected="the coordinates that `spatial_key` names",
            remedy=f"pass one of these as `spatial_key`, or {'leave it out' if optional else 'put positions there'}.",
            argument="spatial_key",
        )
    stored = adata.obsm[key]
    try:
        dense = cast("Any", stored).toarray() if sparse.issparse(stored) else stored
        values = np.asarray(dense, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"adata.obsm[{key!r}] can't be used as positions.",
            found=str(error).splitlines()[0],
            expected=f"numbers, of shape ({adata.n_obs}, 2), NaN where unknown",
            remedy="pass the two coordinates of each cell.",
            argument="spatial_key",
        ) from error
    if values.ndim != 2 or values.shape[1] != 2 or np.isinf(values).any():
        raise ArgumentError(
            f"adata.obsm[{key!r}] can't be used as positions.",
            found="infinite values" if values.ndim == 2 and values.shape[1] == 2 else f"shape {values.shape}",
            expected=f"finite coordinates of shape ({adata.n_obs}, 2), NaN for cells without a position",
            remedy="pass the two coordinates of each cell.",
            argument="spatial_key",
        )
    return values


def _positions(adata: AnnData, key: str | None, tissue: np.ndarray) -> np.ndarray:
    """Return the positions ``(cells, 2)`` float32 in hundredths of the longer side of the tissue; NaN where missing."""
    if key is None:
        return np.full((adata.n_obs, 2), np.nan, dtype=np.float32)
    values = read_positions(adata, key)
    known = ~np.isnan(values)
    n_tissues = int(tissue.max(initial=-1)) + 1
    low, high = np.full((n_tissues, 2), np.inf), np.full((n_tissues, 2), -np.inf)
    np.minimum.at(low, tissue, np.where(known, values, np.inf))
    np.maximum.at(high, tissue, np.where(known, values, -np.inf))
    with np.errstate(invalid="ignore"):
        extent = (high - low).max(axis=1)
        # A tissue without an extent (one cell, or no position) is not scaled.
        scale = 100 / np.where(extent > 0, extent, 1)
        scaled = (values - low[tissue]) * scale[tissue][:, None]
    return scaled.astype(np.float32)
