"""Benchmark of denoising: hold out counts, and score how well a method predicts them.

Wen et al. 2024, CellPLM, section 4.2, after Ding et al. 2024, DANCE: some of the non-zero counts of every cell are set
to zero, low ones more often (missing at random); RMSE and MAE are those of log1p of the removed counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from celloquy.data import choose_counts
from celloquy.errors import ArgumentError

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_GENES = 5
"""Number of expressed genes up to which a cell keeps all its counts."""

DECAY = 20.0
"""Count that is removed 1/e as often as a very low count."""

SCALE = 1e4
"""Total counts of each cell in the normalised scores."""

BLOCK = 2048
"""Number of cells that are scored at a time."""


@dataclass(frozen=True)
class HeldOutCounts:
    """Cells with counts held out, and the held-out counts.

    Shapes: ``n`` cells, ``g`` genes, ``k`` removed entries.

    Examples
    --------
    >>> import celloquy as cq
    >>> held_out = cq.evaluate.hold_out_counts(adata, seed=0)
    >>> held_out.adata
    """

    adata: AnnData
    """The cells to denoise: raw counts ``(n, g)`` in ``X``, ``obs``, ``var`` and positions, but no other matrix."""
    cells: NDArray[np.int64] = field(repr=False)
    """``(k,)``: the cell of each removed count."""
    genes: NDArray[np.int64] = field(repr=False)
    """``(k,)``: the gene of each removed count."""
    counts: NDArray[np.float64] = field(repr=False)
    """``(k,)``: the removed counts."""
    totals: NDArray[np.float64] = field(repr=False)
    """``(n,)``: the total counts of each cell, removed counts included."""

    def score(self, denoised: Any) -> dict[str, float]:
        """Compare denoised counts with the removed counts, over all cells together.

        Parameters
        ----------
        denoised
            Denoised counts ``(n, g)`` at the depth of each cell; dense, sparse, or anything that is read by rows.

        Returns
        -------
        ``rmse``, ``mae`` and ``pearson`` of log1p of the counts; ``rmse_normalised`` and ``mae_normalised`` after
        scaling every cell, removed counts included, to 10,000 counts.

        Raises
        ------
        ArgumentError
            If the shape differs, or a value is negative or not finite.
        """
        if tuple(denoised.shape) != self.adata.shape:
            _refuse(f"shape {tuple(denoised.shape)}", f"{self.adata.shape[0]} cells × {self.adata.shape[1]} genes")
        found = np.empty(len(self.counts))
        scaled = np.empty(len(self.counts))
        starts = np.searchsorted(self.cells, np.arange(0, self.adata.n_obs + BLOCK, BLOCK))
        for number, start in enumerate(range(0, self.adata.n_obs, BLOCK)):
            rows = denoised[start : start + BLOCK]
            block = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
            if not np.isfinite(block).all() or block.min(initial=0) < 0:
                _refuse("negative values or values that are not finite", "expected counts")
            entries = slice(starts[number], starts[number + 1])
            cells = self.cells[entries] - start
            found[entries] = block[cells, self.genes[entries]]
            scaled[entries] = found[entries] * SCALE / np.maximum(block.sum(axis=1), 1e-12)[cells]
        true = np.log1p(self.counts)
        error = np.log1p(found) - true
        normalised = np.log1p(scaled) - np.log1p(self.counts * SCALE / self.totals[self.cells])
        return {
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.mean(np.abs(error))),
            "pearson": float(np.corrcoef(np.log1p(found), true)[0, 1]),
            "rmse_normalised": float(np.sqrt(np.mean(normalised**2))),
            "mae_normalised": float(np.mean(np.abs(normalised))),
        }


def hold_out_counts(
    adata: AnnData,
    fraction: float = 0.1,
    seed: int = 0,
    *,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
) -> HeldOutCounts:
    """Hold out a share of the non-zero counts of every cell.

    Parameters
    ----------
    adata
        Raw counts, cells × genes; it is not changed.
    fraction
        Share of the non-zero counts of a cell that is set to zero; a cell with 5 expressed genes or fewer keeps all.
    seed
        Seed of the draw.
    layer
        Place of the raw counts; by default the first place that holds counts.
    counts
        ``"round"`` rounds estimated or corrected counts; by default they are an error.

    Returns
    -------
    HeldOutCounts
        Denoise its ``adata``, then call its :meth:`~HeldOutCounts.score`.

    Raises
    ------
    CountsError, ArgumentError
        If there are no raw counts, or no count would be removed.

    Examples
    --------
    >>> held_out = cq.evaluate.hold_out_counts(adata, fraction=0.1, seed=0)
    >>> cq.denoise(held_out.adata)
    >>> held_out.score(held_out.adata.layers["celloquy_denoised"])
    """
    from anndata import AnnData

    if not 0 < fraction < 1:
        raise ArgumentError(
            "`fraction` can't be used.",
            found=repr(fraction),
            expected="a share of the non-zero counts above 0 and below 1",
            remedy="leave it out: 0.1 is usual.",
            argument="fraction",
        )
    source = choose_counts(adata, layer=layer, counts=counts)
    observed = source.read(0, source.n_cells).astype(np.float64)
    expressed = np.diff(observed.indptr)
    n_removed = np.where(expressed > LEAST_GENES, np.floor(fraction * expressed), 0).astype(np.int64)
    if not n_removed.any():
        raise ArgumentError(
            "There is nothing to take out.",
            found=f"at most {expressed.max(initial=0)} expressed genes in a cell, of which {fraction:g} is none",
            expected="cells with more expressed genes",
            remedy="pass a larger `fraction`.",
            argument="fraction",
        )
    cell = np.repeat(np.arange(source.n_cells), expressed)
    # Efraimidis and Spirakis 2006: the entries with the highest keys are a weighted draw without replacement.
    weight = np.exp(-observed.data / DECAY).clip(min=1e-300)
    keys = np.log(np.random.default_rng(seed).random(len(weight))) / weight
    order = np.lexsort((-keys, cell))
    rank = np.arange(len(order)) - np.repeat(observed.indptr[:-1], expressed)
    removed = np.sort(order[rank < n_removed[cell]])
    removed_counts = observed.data[removed].copy()
    removed_cells, removed_genes = cell[removed], observed.indices[removed].astype(np.int64)
    totals = np.asarray(observed.sum(axis=1), dtype=np.float64).ravel()
    observed.data[removed] = 0
    observed.eliminate_zeros()
    # Other matrices of the input are left out, because they would show the removed counts.
    corrupted = AnnData(
        observed.astype(np.float32),
        obs=adata.obs.copy(),
        var=adata.var.copy() if len(adata.var) == source.n_genes else None,
        obsm={key: adata.obsm[key].copy() for key in adata.obsm if key == "spatial"},
    )
    corrupted.var_names = source.var_names
    return HeldOutCounts(corrupted, removed_cells, removed_genes, removed_counts, totals)


def _refuse(found: str, expected: str) -> None:
    raise ArgumentError(
        "These denoised counts can't be scored.",
        found=found,
        expected=expected,
        remedy="denoise all genes of the held-out `adata`, as counts at the depth of each cell.",
        argument="denoised",
    )
