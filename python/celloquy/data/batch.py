"""The one form in which cells reach the model: sparse counts over a vocabulary, and what each cell belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from scipy import sparse
from torch import Tensor

from celloquy.errors import ArgumentError


@dataclass(frozen=True, eq=False, slots=True)
class CellBatch:
    """Cells as sparse rows of raw counts, with their tissue, place and batch.

    Shapes: ``n`` cells, ``z`` non-zero counts, ``g`` genes of the vocabulary, ``p`` panels.
    """

    indptr: Tensor
    """``(n + 1,)`` int64: the counts of cell ``i`` are ``values[indptr[i]:indptr[i + 1]]``."""
    indices: Tensor
    """``(z,)`` int32: the gene of each count, rising within a cell."""
    values: Tensor
    """``(z,)`` float32: raw counts, never zero."""
    tissue: Tensor
    """``(n,)`` int64: the sentence a cell belongs to. Only equality matters; cells may come in any order."""
    position: Tensor
    """``(n, 2)`` float32: where in its tissue a cell lies, in any unit; NaN where unknown."""
    batch: Tensor
    """``(n,)`` int64: experimental batch; -1 for one that the model has not seen."""
    panel: Tensor
    """``(n,)`` int64: which row of ``measured`` tells what was measured in a cell."""
    measured: Tensor
    """``(p, g)`` bool: genes of the vocabulary that a source measured; the others are unknown, not zero."""

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
        """``(n,)`` float32: total counts of a cell over the vocabulary."""
        total = torch.zeros(len(self), device=self.values.device)
        return total.index_add_(0, self.cell_of_count, self.values)

    def to(self, device: torch.device | str) -> CellBatch:
        """Return the batch on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return CellBatch(**moved)

    def select(self, cells: Tensor) -> CellBatch:
        """Return some of the cells, in the order asked for.

        Parameters
        ----------
        cells
            ``(m,)`` int64 cell numbers; a cell may be asked for more than once.
        """
        lengths = self.indptr.diff()[cells]
        indptr = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        # Position within the new values, moved to where the cell's counts start in the old ones.
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
        """Return the cells with some of their counts, ``(z,)`` bool; the others are as if they were zero."""
        # Number of kept counts before each count; so the old starts of the cells become the new ones.
        before = torch.cat([counts.new_zeros(1, dtype=torch.int64), counts.cumsum(0)])
        return replace(self, indptr=before[self.indptr], indices=self.indices[counts], values=self.values[counts])

    def keep_genes(self, genes: Tensor) -> CellBatch:
        """Return the cells as if some genes ``(g,)`` bool alone had been measured."""
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
            At least one.
        renumber_tissues
            Give every batch tissues of its own; by default tissue codes stay, and equal codes are one tissue.

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
            )
        starts, count, panels, tissues = [batches[0].indptr[:1]], 0, 0, 0
        panel, tissue = [], []
        for batch in batches:
            starts.append(batch.indptr[1:] + count)
            panel.append(batch.panel + panels)
            tissue.append(batch.tissue + tissues)
            count += len(batch.values)
            panels += len(batch.measured)
            if renumber_tissues and len(batch):
                tissues += int(batch.tissue.max()) + 1
        joined = {
            name: torch.cat([getattr(batch, name) for batch in batches])
            for name in ("indices", "values", "position", "batch", "measured")
        }
        return CellBatch(indptr=torch.cat(starts), tissue=torch.cat(tissue), panel=torch.cat(panel), **joined)
