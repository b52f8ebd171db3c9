"""Plots of genes: the attention between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def gene_attention(table: pd.DataFrame) -> Figure:
    """Draw how much each gene reads of each other gene, a heat map for each group of cells.

    Parameters
    ----------
    table
        Result of :func:`celloquy.gene_attention`. Pairs that no cell reads stay white.

    Returns
    -------
    The figure; save it with ``figure.savefig("attention.png")``.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.gene_attention("genes-mini", adata, ["SPI1", "CST3", "LYZ"], by="cell_type")
    >>> cq.plots.gene_attention(table).savefig("attention.png")
    """
    import matplotlib.pyplot as plt

    for column in ("query", "key", "attention"):
        require(table, column, "the table", "table")
    genes = list(dict.fromkeys([*table["query"], *table["key"]]))
    grouped = "group" in table.columns
    groups = list(table.groupby("group", observed=True)) if grouped else [("", table)]
    side = 1.6 + 0.3 * len(genes)
    figure, axes = plt.subplots(
        1, max(1, len(groups)), figsize=(side * max(1, len(groups)) + 1, side), squeeze=False, layout="constrained"
    )
    highest = max(table["attention"].max(), 1e-12) if len(table) else 1.0
    for axis, (name, part) in zip(axes.flat, groups, strict=False):
        wide = part.pivot(index="query", columns="key", values="attention").reindex(index=genes, columns=genes)
        image = axis.imshow(wide.to_numpy(dtype=np.float64), vmin=0, vmax=highest, cmap="Blues")
        axis.set_xticks(range(len(genes)), genes, rotation=90)
        axis.set_yticks(range(len(genes)), genes)
        axis.set(xlabel="is read", ylabel="reads", title=str(name))
    if groups:
        figure.colorbar(image, ax=axes, label="attention")
    return figure
