"""Plots of networks: the targets of a regulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy.checks import check_whole_number
from celloquy.errors import ArgumentError, some
from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLOURS = {1: "#b2182b", -1: "#2166ac", 0: "#888888"}
"""Colours of edges that activate, that repress, and of those that are not known to do either."""


def regulator_targets(edges: pd.DataFrame, regulator: str, *, n: int = 20) -> Figure:
    """Draw a regulator in the middle of its surest targets, a star for each group of cells.

    Parameters
    ----------
    edges
        Result of :func:`celloquy.infer_network`. The width of an edge is its score, the colour its sign: red activates,
        blue represses.
    regulator
        Name of the regulator.
    n
        Number of targets.

    Returns
    -------
    The figure; save it with ``figure.savefig("targets.png")``.

    Raises
    ------
    ArgumentError
        If it is no such table, or the regulator has no edges in it.

    Examples
    --------
    >>> import celloquy as cq
    >>> edges = cq.infer_network(adata, regulators=["SPI1", "IRF8"], method="ridge")
    >>> cq.plots.regulator_targets(edges, "SPI1").savefig("targets.png")
    """
    import matplotlib.pyplot as plt

    for column in ("regulator", "target", "score", "sign"):
        require(edges, column, "the edges", "edges")
    check_whole_number("n", n, least=1)
    own = edges[edges["regulator"] == regulator]
    if not len(own):
        raise ArgumentError(
            f"The regulator {regulator!r} has no edges.",
            found=f"edges of {some(dict.fromkeys(edges['regulator']))}",
            expected="a regulator of the table",
            remedy="pass one of these, or infer the network with more `n_edges`.",
            argument="regulator",
        )
    groups = list(own.groupby("group", observed=True)) if "group" in own.columns else [("", own)]
    figure, axes = plt.subplots(1, len(groups), figsize=(5 * len(groups), 5), squeeze=False, layout="constrained")
    highest = max(float(own["score"].abs().max()), 1e-12)
    for axis, (name, part) in zip(axes.flat, groups, strict=True):
        shown = part.sort_values("score", ascending=False, kind="stable")[:n]
        angles = np.pi / 2 - 2 * np.pi * np.arange(len(shown)) / len(shown)
        for angle, target, score, sign in zip(angles, shown["target"], shown["score"], shown["sign"], strict=True):
            x, y = float(np.cos(angle)), float(np.sin(angle))
            axis.plot([0, x], [0, y], color=COLOURS[int(sign)], linewidth=0.5 + 3.5 * abs(score) / highest, zorder=1)
            # Names are read outward, and never upside down.
            turned = np.degrees(angle) + (180 if x < -1e-9 else 0)
            side = "right" if x < -1e-9 else "left"
            axis.text(
                1.05 * x, 1.05 * y, target, rotation=turned, rotation_mode="anchor", ha=side, va="center", fontsize=9
            )
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}
        axis.text(0, 0, regulator, ha="center", va="center", fontweight="bold", bbox=box)
        axis.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", title=str(name))
        axis.set_axis_off()
    return figure
