"""From the latent back to expression, a block of cells at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celloquy.data import Cells, choose_counts
from celloquy.errors import GenesError
from celloquy.genes import GeneVocabulary, identify_genes
from celloquy.models import CellModel
from celloquy.tasks.neighbours import neighbour_means
from celloquy.training.fitting import Fitting
from celloquy.training.progress import ProgressBar

if TYPE_CHECKING:
    from anndata import AnnData

    from celloquy.data import CellBatch

Unit = Literal["counts", "lognorm"]

SCALE = 1e4
"""Counts of a cell in the unit ``"lognorm"``."""

ALL_CELLS = Fitting(validation=0.0, patience=None)
"""No cell is held out: each is to be predicted, and masks keep the model from learning cells by heart."""

CHUNK_ENTRIES = 2**23
"""Entries (cells × genes) that are computed at a time."""


class DenoisedRows:
    """Denoised expression ``(cells, genes)``, computed where it is read.

    Parameters
    ----------
    model
        Whose decoder is asked.
    cells
        The cells, over the model's vocabulary.
    latent
        ``(cells, latent)``, their embedding.
    neighbours
        Nearest cells of the same batch that the decoder is averaged with.
    columns
        Columns of the counts that are wanted.
    unit
        Counts at the cell's depth, or log1p of counts per 10,000.
    progress
        Show a progress bar.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        model: CellModel,
        cells: Cells,
        latent: NDArray[np.float32],
        *,
        neighbours: int,
        columns: NDArray[np.int64],
        unit: Unit,
        progress: bool,
    ) -> None:
        self._model, self._cells, self._latent, self._unit, self._progress = model, cells, latent, unit, progress
        counts = cells.read_all()
        self._counts = as_csr(counts)
        self._depth = np.asarray(self._counts.sum(axis=1), dtype=np.float64).ravel()
        self._measured = counts.measured[0].numpy()
        self._nearest = neighbour_means(latent, cells.batch, neighbours) if neighbours else None
        self._columns = columns
        # Columns of one gene share what is expected of it as they share its counts.
        self._share = _shares(cells)
        self._deviations = False
        self.shape = (len(cells), len(self._columns))

    def deviations(self) -> DenoisedRows:
        """Return the standard deviations of the same entries."""
        other = object.__new__(DenoisedRows)
        other.__dict__ |= self.__dict__ | {"_deviations": True}
        return other

    @torch.inference_mode()
    def read(self, rows: slice) -> Tensor:
        """Return a run of cells ``(rows, genes)`` float32."""
        values = np.empty((rows.stop - rows.start, len(self._columns)), dtype=np.float32)
        step = max(1, CHUNK_ENTRIES // self._model.decoder.log_dispersion.shape[0])
        bar = ProgressBar(
            total=len(values), desc="Denoising", unit=" cells", disable=not self._progress or len(values) <= step
        )
        with bar:
            for start in range(rows.start, rows.stop, step):
                stop = min(start + step, rows.stop)
                values[start - rows.start : stop - rows.start] = self._block(start, stop)
                bar.update(stop - start)
        return torch.from_numpy(values)

    def _block(self, start: int, stop: int) -> NDArray[np.float64]:
        decoder, chosen = self._model.decoder, slice(start, stop)
        hidden = decoder(torch.from_numpy(self._latent[chosen]), {"batch": torch.from_numpy(self._cells.batch[chosen])})
        expected = decoder.mean(hidden).numpy().astype(np.float64)
        expected[:, ~self._measured] = 0
        expected /= expected.sum(axis=1, keepdims=True)
        if self._nearest is not None:
            means = self._nearest[chosen]
            seen = np.asarray((means @ self._counts).todense(), dtype=np.float64)
            total = seen.sum(axis=1, keepdims=True)
            seen /= np.where(total > 0, total, 1)
            expected = np.where(total > 0, (expected + seen) / 2, expected)
        depth = self._depth[chosen, None]
        place, known = self._cells.columns[self._columns], self._cells.columns[self._columns] >= 0
        mean = expected[:, np.where(known, place, 0)] * depth * self._share[self._columns]
        deviation = np.zeros(1)
        if self._deviations:
            dispersion = decoder.dispersion().numpy()[np.where(known, place, 0)]
            deviation = np.sqrt(mean + mean**2 / dispersion)
        if not known.all():
            own = self._cells.own_counts(start, stop)[:, self._columns[~known]]
            mean[:, ~known] = np.asarray(own.todense())
            if self._deviations:
                deviation[:, ~known] = np.nan
        if self._unit == "lognorm":
            scale = SCALE / np.maximum(depth, 1)
            # To first order: the derivative of log1p.
            deviation = deviation * scale / (1 + mean * scale)
            mean = np.log1p(mean * scale)
        return deviation if self._deviations else mean


def expressed_names(adata: AnnData, layer: str | None, *, name: str = "adata") -> list[str]:
    """Names of the genes that have counts.

    Raises
    ------
    GenesError
        If no gene has.
    """
    counts = choose_counts(adata, layer=layer)
    names: list[str] = np.asarray(counts.var_names, dtype=object)[counts.genes_total() > 0].tolist()
    if not names:
        raise GenesError(
            f"No gene of {name} is expressed.",
            found=f"{counts.n_genes:,} genes without a count in {counts.source}",
            expected="counts above 0",
            remedy="look at the step that made them.",
        )
    return names


def gene_ids(names: Iterable[str]) -> list[str]:
    """Ensembl ids of the genes; a name that is not known stands for itself."""
    given = list(map(str, names))
    return [gene or name for name, gene in zip(given, identify_genes(given).ids, strict=True)]


def vocabulary_of(names: Iterable[str]) -> GeneVocabulary:
    """Return a vocabulary of all these genes, each once; one whose name is not known goes by its name."""
    given = list(dict.fromkeys(map(str, names)))
    identified = identify_genes(given).ids
    known = GeneVocabulary.from_ids(dict.fromkeys(gene for gene in identified if gene))
    others = tuple(name for name, gene in zip(given, identified, strict=True) if not gene)
    nothing = ("",) * len(others)
    return known.union(GeneVocabulary(others, nothing, nothing))


def as_csr(batch: CellBatch) -> sparse.csr_matrix:
    """Counts ``(cells, vocabulary)``."""
    parts: Any = (batch.values.numpy(), batch.indices.numpy(), batch.indptr.numpy())
    return sparse.csr_matrix(parts, shape=(len(batch), batch.genes))


def _shares(cells: Cells) -> NDArray[np.float64]:
    """Share ``(columns,)`` of the counts of its gene that a column has."""
    total = np.maximum(cells.column_totals, 1e-12)
    known = cells.columns >= 0
    gene = np.bincount(cells.columns[known], weights=total[known])
    shares = np.ones(len(total))
    shares[known] = total[known] / gene[cells.columns[known]]
    return shares
