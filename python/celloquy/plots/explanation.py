"""Plots of explanations: the genes behind labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

THERE, ABSENT = "#b2182b", "#2166ac"
COLUMNS = 4
"""Groups side by side."""


def explained(table: pd.DataFrame, n_genes: int = 8) -> Figure:
    """Draw the genes that tell each label from the others.

    Parameters
    ----------
    table
        Result of :func:`celloquy.explain`.
    n_genes
        Genes of each group to draw, those with the largest shares up or down.

    Returns
    -------
    The figure: a panel for each group, a bar for each gene, red where the group has more of it than the mean cell and
    blue where it has less.

    Raises
    ------
    ArgumentError
        If it is no such table.

    Examples
    --------
    >>> import celloquy as cq
    >>> table = cq.explain(adata, labels="cell_type")
    >>> cq.plots.explained(table).savefig("genes.png")
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    for column in ("group", "gene", "attribution", "expression"):
        require(table, column, "the table", "table")
    groups = list(dict.fromkeys(table["group"]))
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    size = (3.0 * columns, (0.8 + 0.2 * n_genes) * rows + 0.4)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis, group in zip(axes.flat, groups, strict=False):
        own = table[table["group"] == group]
        own = own.loc[own["attribution"].abs().nlargest(n_genes).index].sort_values("attribution")
        place = np.arange(len(own))
        axis.barh(place, own["attribution"], color=np.where(own["expression"] > 0, THERE, ABSENT))
        axis.set_yticks(place, own["gene"])
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(str(group), fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(groups) :]:
        axis.set_visible(False)
    figure.supxlabel("share in the difference of logits", fontsize=10)
    figure.legend(
        handles=[Patch(color=THERE, label="more of it"), Patch(color=ABSENT, label="less of it")], frameon=False,
        loc="outside lower right", fontsize=8,
    )  # fmt: skip
    return figure
