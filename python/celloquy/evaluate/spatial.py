"""Benchmark of imputation: hold out genes of a spatial panel, and score how well a method predicts them.

Wen et al. 2024, CellPLM, section 4.3: Pearson correlation and cosine per gene over all cells, averaged over genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.data import choose_counts
from celloquy.data.matrix import Owner
from celloquy.errors import ArgumentError
from celloquy.genes import identify_genes

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse


@dataclass(frozen=True)
class HeldOutGenes:
    """A spatial panel without its hidden genes, a reference, and the counts of the hidden genes.

    Shapes: ``n`` cells, ``h`` hidden genes.

    Examples
    --------
    >>> import celloquy as cq
    >>> held_out = cq.evaluate.hold_out_genes(adata, reference, hidden_genes=0.05, seed=0)
    >>> held_out.genes
    """

    spatial: AnnData
    """The cells without the hidden genes: raw counts in ``X``, with ``obs`` and ``obsm``."""
    reference: AnnData
    """The reference: raw counts in ``X``."""
    genes: list[str]
    """``(h,)``: names of the hidden genes in the spelling of the spatial data."""
    counts: sparse.csc_matrix = field(repr=False)
    """``(n, h)``: counts of the hidden genes."""

    def score(self, imputed: pd.DataFrame) -> pd.DataFrame:
        """Compare imputed with measured expression, gene by gene, over all cells together.

        Parameters
        ----------
        imputed
            Imputed expression ``(n, h)``, a column for every hidden gene: log1p of counts scaled to the median depth of
            the visible panel.

        Returns
        -------
        A row for every hidden gene: ``pearson`` and ``cosine`` of log-normalised expression, ``pearson_counts`` and
        ``cosine_counts`` of counts at each cell's depth. The correlation of a constant is 0. Genes without any count
        in the spatial data are left out, because all predictions of them score the same.

        Raises
        ------
        ArgumentError
            If cells or genes are missing, or a value is not finite.
        """
        missing = [gene for gene in self.genes if gene not in imputed.columns]
        if missing or not imputed.index.equals(self.spatial.obs_names):
            raise ArgumentError(
                "These imputed values can't be scored.",
                found=f"no column for {', '.join(missing[:5])}" if missing else "other cells, or another order",
                expected=f"{self.spatial.n_obs:,} cells × {len(self.genes):,} genes, named as those held out",
                remedy="impute the held-out `genes` for the held-out `spatial`.",
                argument="imputed",
            )
        values = imputed[self.genes].to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise ArgumentError(
                "These imputed values can't be scored.",
                found="values that are not finite",
                expected="log1p of scaled counts",
                remedy="check the step that made the values.",
                argument="imputed",
            )
        depth = np.asarray(self.spatial.X.sum(axis=1), dtype=np.float64).ravel()
        share = np.maximum(depth, 1)[:, None] / np.median(np.maximum(depth, 1))
        true = np.asarray(self.counts.todense(), dtype=np.float64)
        expressed = true.any(axis=0)
        scores = pd.DataFrame(
            {
                "pearson": pearson(np.log1p(true / share), values),
                "cosine": cosine(np.log1p(true / share), values),
                "pearson_counts": pearson(true, np.expm1(values) * share),
                "cosine_counts": cosine(true, np.expm1(values) * share),
            },
            index=pd.Index(self.genes, name="gene"),
        )
        return scores.iloc[np.flatnonzero(expressed)]


def hold_out_genes(
    spatial: AnnData,
    reference: AnnData,
    hidden_genes: Sequence[str] | float = 0.2,
    seed: int = 0,
    *,
    layer: str | None = None,
    reference_layer: str | None = None,
    counts: Literal["round"] | None = None,
) -> HeldOutGenes:
    """Hold out genes of a spatial panel that a reference has too.

    Parameters
    ----------
    spatial
        Raw counts of the panel, cells × genes; it is not changed.
    reference
        Raw counts of dissociated cells of the same tissue; it is not changed.
    hidden_genes
        Names of genes in ``spatial.var_names``, or a share of the shared genes, which is drawn at random.
    seed
        Seed of the draw.
    layer, reference_layer
        Places of the raw counts; by default the first place that holds counts.
    counts
        ``"round"`` rounds estimated or corrected counts; by default they are an error.

    Returns
    -------
    HeldOutGenes
        Impute its ``genes``, then call its :meth:`~HeldOutGenes.score`.

    Raises
    ------
    CountsError, ArgumentError
        If there are no raw counts, no shared genes, or a hidden gene is not in both.

    Examples
    --------
    >>> held_out = cq.evaluate.hold_out_genes(adata, reference, hidden_genes=0.05, seed=0)
    >>> imputed = cq.impute(held_out.spatial, reference=held_out.reference, genes=held_out.genes, copy=True)
    >>> held_out.score(cq.get(imputed, "celloquy_imputed")).mean()
    """
    from anndata import AnnData

    of_reference = Owner("reference", "reference_layer")
    panel_counts = choose_counts(spatial, layer=layer, counts=counts, owner=Owner("spatial"))
    others = choose_counts(reference, layer=reference_layer, counts=counts, owner=of_reference)
    shared = shared_genes(panel_counts.var_names.tolist(), others.var_names.tolist())
    if isinstance(hidden_genes, float | int):
        number = round(float(hidden_genes) * len(shared))
        if not 0 < number < len(shared):
            raise ArgumentError(
                "`hidden_genes` can't be used.",
                found=f"{hidden_genes!r} of {len(shared):,} shared genes",
                expected="a share that hides at least one gene and leaves one",
                remedy="pass a share such as 0.2, or names; check that both objects are of one species.",
                argument="hidden_genes",
            )
        chosen = np.sort(np.random.default_rng(seed).choice(len(shared), number, replace=False))
        hidden = [shared[place] for place in chosen]
    else:
        hidden = list(dict.fromkeys(hidden_genes))
        if missing := [gene for gene in hidden if gene not in set(shared)]:
            raise ArgumentError(
                "Some of `hidden_genes` can't be hidden.",
                found=f"{', '.join(missing[:5])} not in both objects",
                expected="genes of the panel that the reference has too",
                remedy="leave them out.",
                argument="hidden_genes",
            )
    matrix = panel_counts.read(0, panel_counts.n_cells)
    place = pd.Index(panel_counts.var_names).get_indexer(pd.Index(hidden))
    kept = np.setdiff1d(np.arange(panel_counts.n_genes), place)
    panel = AnnData(matrix[:, kept], obs=spatial.obs.copy(), obsm=dict(spatial.obsm))
    panel.var_names = np.asarray(panel_counts.var_names)[kept]
    whole = AnnData(others.read(0, others.n_cells), obs=reference.obs.copy())
    whole.var_names = others.var_names
    return HeldOutGenes(panel, whole, hidden, matrix[:, place].tocsc())


def shared_genes(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the names of the first list that mean a gene of the second, in any spelling; each gene once."""
    known = set(others) | {gene for gene in identify_genes(others).ids if gene}
    found: dict[str, str] = {}
    for name, gene in zip(names, identify_genes(names).ids, strict=True):
        if name in known or (gene and gene in known):
            found.setdefault(gene or name, str(name))
    return list(found.values())


def pearson(true: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of every column ``(n, h)`` with its partner, ``(h,)``; 0 if one is constant."""
    return cosine(true - true.mean(axis=0), found - found.mean(axis=0))


def cosine(true: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of every column ``(n, h)`` with its partner, ``(h,)``; 0 if one is zero."""
    lengths = np.linalg.norm(true, axis=0) * np.linalg.norm(found, axis=0)
    tiny = 1e-9 * len(true)
    products: NDArray[np.float64] = (true * found).sum(axis=0)
    return np.where(lengths > tiny, products / np.maximum(lengths, tiny), 0.0)
