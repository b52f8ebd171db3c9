"""Plots of genes that were changed in silico."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SIGNIFICANT = 0.05
"""False discovery rate below which a point is filled."""


def perturbed(table: pd.DataFrame) -> Figure:
    """Draw how far changed genes move cells, beside random genes of like expression.

    Parameters
    ----------
    table
        Result of :func:`celloquy.perturb`, of cells. A point a gene and group: its z, filled where q is below .05.
        Genes without a z are left out.

    Returns
    -------
    The figure; save it with ``figure.savefig("shifts.png")``.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.perturb(adata, ["CST3", "LYZ"], by="cell_type", n_cells=20)
    >>> cq.plots.perturbed(table).savefig("shifts.png")
    """
    import matplotlib.pyplot as plt

    for column in ("gene", "z", "q", "shift_euclidean"):
        require(table, column, "the table", "table")
    genes = list(dict.fromkeys(table["gene"]))
    groups = list(table.groupby("group", observed=True)) if "group" in table.columns else [("", table)]
    lines = max(len(genes), len(groups) if len(groups) > 1 else 0)
    figure, axis = plt.subplots(figsize=(5, 1.2 + 0.3 * lines), layout="constrained")
    for number, (name, part) in enumerate(groups):
        place = part["gene"].map(genes.index).to_numpy(dtype=np.float64)
        offset = 0.6 * ((number + 0.5) / len(groups) - 0.5)
        filled = (part["q"] < SIGNIFICANT).to_numpy()
        colour = f"C{number % 10}"
        z = part["z"].to_numpy(dtype=np.float64)
        axis.scatter(z[filled], place[filled] + offset, color=colour)
        axis.scatter(z[~filled], place[~filled] + offset, facecolors="none", edgecolors=colour, label=str(name))
    axis.axvline(0, color="0.7", zorder=0)
    axis.set_yticks(range(len(genes)), genes)
    axis.invert_yaxis()
    axis.set(xlabel="z of the shift among random genes")
    if len(groups) > 1:
        figure.legend(loc="outside right center", frameon=False)
    return figure


def drivers(table: pd.DataFrame, *, n: int = 15) -> Figure:
    """Draw the best drivers: how well each moves cells toward the target, and how it differs between the states.

    Parameters
    ----------
    table
        Result of :func:`celloquy.rank_drivers`.
    n
        Number of genes, the best first.

    Returns
    -------
    The figure.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> states = dict(source="monocyte", target="dendritic")
    >>> table = cq.rank_drivers(adata, by="cell_type", candidates=["CST3", "LYZ"], **states)
    >>> cq.plots.drivers(table).savefig("drivers.png")
    """
    import matplotlib.pyplot as plt

    for column in ("gene", "direction", "cosine", "t", "q"):
        require(table, column, "the table", "table")
    best = table[table["t"].notna()].head(n)
    place = np.arange(len(best))
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 1.2 + 0.3 * len(best)), sharey=True, layout="constrained")
    colours = np.where(best["direction"] == "up", "#b2182b", "#2166ac")
    left.barh(place, best["cosine"], color=colours)
    right.barh(place, best["t"], color=colours)
    left.set_yticks(place, [f"{gene} ({way})" for gene, way in zip(best["gene"], best["direction"], strict=True)])
    left.invert_yaxis()
    left.set(xlabel="cosine with the way")
    right.set(xlabel="t between the states")
    return figure
