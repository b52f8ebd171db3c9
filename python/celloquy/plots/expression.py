"""Plots of expression: measured beside denoised or imputed expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celloquy import keys
from celloquy.data import choose_counts, get
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

COLUMNS = 4
"""Number of genes in a row."""


def denoised(adata: AnnData, genes: Sequence[str], *, color: str | None = None, key: str = keys.DENOISED) -> Figure:
    """Draw the denoised counts of every cell against its observed counts, one panel a gene.

    Parameters
    ----------
    adata
        Cells with the result of :func:`celloquy.denoise`, as counts.
    genes
        Names of genes.
    color
        Column of ``obs`` by which cells are coloured.
    key
        Key of the result in ``layers`` or ``obsm``.

    Raises
    ------
    ArgumentError
        If there is no such result, gene or column.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.denoise(adata)
    >>> cq.plots.denoised(adata, ["CD79A", "NKG7"], color="cell_type").savefig("denoised.png")
    """
    import matplotlib.pyplot as plt

    frame = get(adata, key)
    if color is not None:
        require(adata.obs, color, "adata.obs", "color")
    groups = pd.Series("", index=adata.obs_names) if color is None else adata.obs[color].astype(str)
    counts = choose_counts(adata, counts="round")
    observed = counts.read(0, counts.n_cells)
    rows = -(-len(genes) // COLUMNS)
    wide = min(COLUMNS, len(genes))
    size = (3.2 * wide + (2.6 if color else 0), 3 * rows)
    figure, axes = plt.subplots(rows, wide, figsize=size, squeeze=False, layout="constrained")
    jitter = np.random.default_rng(0).uniform(-0.15, 0.15, adata.n_obs)
    for axis, gene in zip(axes.flat, genes, strict=False):
        require(_places(counts.var_names), gene, "adata.var_names", "genes")
        column = observed[:, _places(counts.var_names)[gene]].toarray().ravel()
        require(frame, gene, f"the table {key!r}", "genes")
        values = frame[gene].to_numpy()
        for group in sorted(groups.unique()):
            cells = (groups == group).to_numpy()
            axis.plot((column + jitter)[cells], values[cells], ".", markersize=3, alpha=0.6, label=group)
        axis.set(title=gene, xlabel="observed count", ylabel="denoised count")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(genes) :]:
        axis.set_axis_off()
    if color is not None:
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside right center", markerscale=2, frameon=False
        )
    return figure


def imputed(
    adata: AnnData,
    genes: Sequence[str],
    *,
    measured: AnnData | None = None,
    spatial_key: str = "spatial",
    key: str = keys.IMPUTED,
) -> Figure:
    """Draw imputed genes on the tissue, beside the measured ones if there is a measurement.

    Parameters
    ----------
    adata
        Cells with the result of :func:`celloquy.impute`.
    genes
        Names of imputed genes; each is a row.
    measured
        The same cells with measured counts of these genes.
    spatial_key
        Key of ``obsm`` with the positions.
    key
        Key of the result in ``obsm``.

    Raises
    ------
    ArgumentError
        If there is no such result, gene or position.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.impute(spatial, reference=reference, genes=["CD79A", "CD79B", "LYZ", "NKG7"])
    >>> cq.plots.imputed(spatial, ["CD79A", "LYZ"], measured=adata).savefig("imputed.png")
    """
    import matplotlib.pyplot as plt

    table = get(adata, key)
    require(adata.obsm, spatial_key, "adata.obsm", "spatial_key")
    place = np.asarray(adata.obsm[spatial_key])
    panels: list[tuple[str, str, Any]] = []
    if measured is not None:
        counts = choose_counts(measured, counts="round")
        matrix = counts.read(0, counts.n_cells)
        depth = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    for gene in genes:
        require(table, gene, f"the table {key!r}", "genes")
        if measured is not None:
            require(_places(counts.var_names), gene, "measured.var_names", "genes")
            column = matrix[:, _places(counts.var_names)[gene]].toarray().ravel()
            panels.append((gene, "measured", np.log1p(column / depth * np.median(depth))))
        panels.append((gene, "imputed", table[gene].to_numpy()))
    wide = len(panels) // len(genes)
    size = (4.4 * wide, 3.6 * len(genes))
    figure, axes = plt.subplots(len(genes), wide, figsize=size, squeeze=False, layout="constrained")
    for axis, (gene, kind, values) in zip(axes.flat, panels, strict=True):
        order = np.argsort(values, kind="stable")
        top = np.quantile(values, 0.99) or values.max()
        points = axis.scatter(*place[order].T, c=values[order], s=8, cmap="viridis", vmin=0, vmax=max(top, 1e-9))
        axis.set(title=f"{gene}, {kind}", aspect="equal", xticks=[], yticks=[])
        # The origin of an image is above, as squidpy draws it.
        axis.invert_yaxis()
        figure.colorbar(points, ax=axis, label="log-normalised")
    return figure


def _places(names: Any) -> dict[str, int]:
    return {str(name): place for place, name in enumerate(names)}
