"""Plots of context: which cells a cell was read with, by type and by distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def context(table: pd.DataFrame) -> Figure:
    """Draw how much cells read others, beside reading their tissue evenly.

    Parameters
    ----------
    table
        Result of :func:`celloquy.context`. Cells that ``n_top`` names are not drawn.

    Returns
    -------
    The figure: a heat map of groups and the labels that they read, where white is an even reading, red more and blue
    less, on a scale of doublings; and a line for each group over the intervals of distance. Each is drawn if it is in
    the table.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.context(adata, labels="cell_type", spatial_key="spatial")
    >>> cq.plots.context(table).savefig("context.png")
    """
    import matplotlib.pyplot as plt

    for column in ("group", "kind", "read", "distance", "ratio"):
        require(table, column, "the table", "table")
    groups = list(dict.fromkeys(table["group"]))
    drawn = [(draw, part) for kind, draw in (("label", _labels), ("distance", _distances))
             if len(part := table[table["kind"] == kind])]  # fmt: skip
    number = max(1, len(drawn))
    height = 2.6 + 0.28 * min(len(groups), 40)
    figure, axes = plt.subplots(1, number, figsize=(5.2 * number, height), squeeze=False, layout="constrained")
    for axis, (draw, part) in zip(axes.flat, drawn, strict=False):
        draw(axis, part, groups)
    return figure


def _labels(axis: Axes, table: pd.DataFrame, groups: list[str]) -> None:
    """The ratio of each group and label."""
    labels = list(dict.fromkeys(table["read"]))
    wide = table.pivot(index="group", columns="read", values="ratio").reindex(index=groups, columns=labels)
    doublings = np.log2(wide.to_numpy(dtype=np.float64))
    known = np.abs(doublings[np.isfinite(doublings)])
    # A scale that ends close to white would show noise as structure.
    most = max(float(known.max(initial=0)), 0.1)
    image = axis.imshow(doublings, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    axis.set_xticks(range(len(labels)), labels, rotation=90)
    axis.set_yticks(range(len(groups)), groups)
    axis.set(xlabel="is read", ylabel="reads")
    axis.figure.colorbar(image, ax=axis, label="doublings of an even reading")


def _distances(axis: Axes, table: pd.DataFrame, groups: list[str]) -> None:
    """The ratio of each group over the intervals."""
    known = table[table["distance"].notna()]
    order = known.drop_duplicates("read").sort_values("distance")["read"].tolist()
    for group in groups:
        own = known[known["group"] == group].set_index("read")["ratio"].reindex(order)
        axis.plot(range(len(order)), own, marker="o", markersize=3, linewidth=1, label=group)
    axis.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set_xticks(range(len(order)), order, rotation=90)
    axis.set(xlabel="distance", ylabel="weight over an even reading")
    axis.spines[["top", "right"]].set_visible(False)
    if len(groups) <= 20:
        axis.legend(fontsize=7, frameon=False)
