"""``CellBatch``: cells as a model reads them, sparse counts over a vocabulary with tissue, position and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from scipy import sparse
from torch import Tensor

from celloquy.errors import ArgumentError


@dataclass(frozen=True, eq=False, slots=True)
class CellBatch:
    """Cells as sparse rows of raw counts, with their tissue, position, batch and panel.

    Shapes: ``n`` cells, ``z`` non-zero counts, ``g`` genes of the vocabulary, ``p`` panels.

    Examples
    --------
    >>> import celloquy as cq
    >>> reader = cq.data.CellSource(adata).over(cq.GeneVocabulary.from_names(adata.var_names))
    >>> batch = reader.read_all()
    >>> len(batch), batch.to_csr().shape[0]
    (120, 120)
    >>> first = batch.select(torch.arange(10))
    >>> len(cq.CellBatch.concatenate([first, first]))
    20
    >>> first.library_size().shape
    torch.Size([10])
    >>> deep = first.keep(first.values > 1).to("cpu")  # counts above one alone
    >>> few = first.keep_genes(torch.arange(batch.n_genes) < 100)
    """

    indptr: Tensor
    """``(n + 1,)`` int64: the counts of cell ``i`` are ``values[indptr[i]:indptr[i + 1]]``."""
    indices: Tensor
    """``(z,)`` int32: the gene of each count, in rising order within a cell."""
    values: Tensor
    """``(z,)`` float32: raw counts, never zero."""
    tissue: Tensor
    """``(n,)`` int64: the tissue of each cell. Only equality matters; cells may come in any order."""
    position: Tensor
    """``(n, 2)`` float32: the position of each cell in its tissue, in any unit; NaN for a cell without a position."""
    batch: Tensor
    """``(n,)`` int64: the experimental batch of each cell; -1 for a batch that the model has not seen."""
    panel: Tensor
    """``(n,)`` int64: the panel of each cell, a row of ``measured``."""
    measured: Tensor
    """``(p, g)`` bool: the genes of the vocabulary that each panel measures; other genes are not measured, not zero."""
    species: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """``(p,)`` int64: the species of each panel's genes, a place in ``SPECIES``; -1, as by default, if not known."""

    def __post_init__(self) -> None:
        if len(self.species) != len(self.measured):
            object.__setattr__(self, "species", self.panel.new_full((len(self.measured),), -1))

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.tissue)

    def __repr__(self) -> str:
        tissues, batches = len(self.tissue.unique()), len(self.batch[self.batch >= 0].unique())
        parts = [f"{len(self):,} cells × {self.n_genes:,} genes", f"{len(self.values):,} non-zero counts"]
        parts.append(f"{tissues:,} tissue{'' if tissues == 1 else 's'}")
        if batches:
            parts.append(f"{batches:,} batch{'' if batches == 1 else 'es'}")
        return f"CellBatch({', '.join(parts)}, on {self.values.device})"

    @property
    def n_genes(self) -> int:
        """Size of the vocabulary."""
        return self.measured.shape[1]

    @property
    def cell_of_count(self) -> Tensor:
        """``(z,)`` int64: the cell of each count."""
        cells = torch.arange(len(self), device=self.indptr.device)
        return torch.repeat_interleave(cells, self.indptr.diff(), output_size=len(self.values))

    def library_size(self) -> Tensor:
        """Return the total counts of each cell over the vocabulary, ``(n,)`` float32."""
        total = torch.zeros(len(self), device=self.values.device)
        return total.index_add_(0, self.cell_of_count, self.values)

    def to(self, device: torch.device | str) -> CellBatch:
        """Return the batch on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return CellBatch(**moved)

    def select(self, cells: Tensor) -> CellBatch:
        """Return some of the cells, in the given order.

        Parameters
        ----------
        cells
            Numbers of the cells, ``(m,)`` int64; a cell may be repeated.
        """
        lengths = self.indptr.diff()[cells]
        indptr = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        # Place in the new values, shifted to where the counts of the cell start in the old values.
        shift = self.indptr[cells] - indptr[:-1]
        source = torch.arange(int(indptr[-1]), device=cells.device) + torch.repeat_interleave(shift, lengths)
        return CellBatch(
            indptr=indptr,
            indices=self.indices[source],
            values=self.values[source],
            tissue=self.tissue[cells],
            position=self.position[cells],
            batch=self.batch[cells],
            panel=self.panel[cells],
            measured=self.measured,
            species=self.species,
        )

    def __getitem__(self, cells: slice) -> CellBatch:
        """Return a run of cells; the counts are views, not copies, where the step is one."""
        start, stop, step = cells.indices(len(self))
        if step != 1:
            chosen = list(range(start, stop, step))
            return self.select(torch.tensor(chosen, dtype=torch.int64, device=self.tissue.device))
        stop = max(start, stop)
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        return replace(
            self,
            indptr=self.indptr[start : stop + 1] - first,
            indices=self.indices[first:last],
            values=self.values[first:last],
            tissue=self.tissue[cells],
            position=self.position[cells],
            batch=self.batch[cells],
            panel=self.panel[cells],
        )

    def keep(self, counts: Tensor) -> CellBatch:
        """Return the cells with some of their counts, ``(z,)`` bool; the other counts become zero."""
        # Number of kept counts before each count; it turns the old starts of the cells into the new ones.
        before = torch.cat([counts.new_zeros(1, dtype=torch.int64), counts.cumsum(0)])
        return replace(self, indptr=before[self.indptr], indices=self.indices[counts], values=self.values[counts])

    def keep_genes(self, genes: Tensor) -> CellBatch:
        """Return the cells with some genes ``(g,)`` bool; the other genes become not measured."""
        return replace(self.keep(genes[self.indices.long()]), measured=self.measured & genes)

    def to_csr(self) -> sparse.csr_matrix:
        """Return the counts as a scipy matrix, cells × vocabulary; on a CPU it shares the batch's memory."""
        values, indices, indptr = (part.cpu().numpy() for part in (self.values, self.indices, self.indptr))
        return sparse.csr_matrix((values, indices, indptr), shape=(len(self), self.n_genes))

    @staticmethod
    def concatenate(batches: Sequence[CellBatch], *, renumber_tissues: bool = False) -> CellBatch:
        """Return the cells of several batches over one vocabulary.

        Parameters
        ----------
        batches
            Batches of cells, at least one.
        renumber_tissues
            Give every batch tissues of its own; by default codes are kept, and equal codes are one tissue.

        Raises
        ------
        ArgumentError
            If there is no batch, or the vocabularies differ in size.
        """
        sizes = {batch.n_genes for batch in batches}
        if len(sizes) != 1:
            raise ArgumentError(
                "Batches can't be concatenated.",
                found=f"vocabularies of {sorted(sizes)} genes" if sizes else "no batches",
                expected="one or more batches over one vocabulary",
                remedy="align all of them to the same GeneVocabulary.",
                argument="batches",
            )
        starts, n_counts, n_panels, n_tissues = [batches[0].indptr[:1]], 0, 0, 0
        panel, tissue = [], []
        for batch in batches:
            starts.append(batch.indptr[1:] + n_counts)
            panel.append(batch.panel + n_panels)
            tissue.append(batch.tissue + n_tissues)
            n_counts += len(batch.values)
            n_panels += len(batch.measured)
            if renumber_tissues and len(batch):
                n_tissues += int(batch.tissue.max()) + 1
        joined = {
            name: torch.cat([getattr(batch, name) for batch in batches])
            for name in ("indices", "values", "position", "batch", "measured", "species")
        }
        return CellBatch(indptr=torch.cat(starts), tissue=torch.cat(tissue), panel=torch.cat(panel), **joined)
