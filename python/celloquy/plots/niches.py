"""Plots of niches: where they lie in each tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy import keys
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

COLUMNS = 3
"""Number of tissues in a row."""


def niches(
    adata: AnnData, *, tissue_key: str | None = None, spatial_key: str = "spatial", key: str = keys.NICHE
) -> Figure:
    """Draw every cell at its place in the colour of its niche, one panel a tissue.

    Parameters
    ----------
    adata
        Cells with the result of :func:`celloquy.niches`.
    tissue_key
        Column of ``obs`` with the tissue; by default all cells are of one.
    spatial_key
        Key of ``obsm`` with the positions.
    key
        Key of the result in ``obs``.

    Raises
    ------
    ArgumentError
        If there is no such result, column or position.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.niches(adata, tissue_key="slice")
    >>> cq.plots.niches(adata, tissue_key="slice").savefig("niches.png")
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    require(adata.obs, key, "adata.obs", "key")
    require(adata.obsm, spatial_key, "adata.obsm", "spatial_key")
    if tissue_key is not None:
        require(adata.obs, tissue_key, "adata.obs", "tissue_key")
    place, niche = np.asarray(adata.obsm[spatial_key]), adata.obs[key].astype("category")
    tissue = np.full(adata.n_obs, "") if tissue_key is None else adata.obs[tissue_key].astype(str).to_numpy()
    names = sorted(set(tissue))
    colours = mpl.colormaps["tab10" if len(niche.cat.categories) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    rows, wide = -(-len(names) // COLUMNS), min(COLUMNS, len(names))
    size = (4 * wide + 1.2, 3.8 * rows)
    figure, axes = plt.subplots(rows, wide, figsize=size, squeeze=False, layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        for code, one in enumerate(niche.cat.categories):
            here = (tissue == name) & (niche == one).to_numpy()
            axis.scatter(*place[here].T, s=8, color=colours[code % len(colours)], label=one, linewidths=0)
        axis.set(title=name, aspect="equal", xticks=[], yticks=[])
        # The origin of an image is above, as squidpy draws it.
        axis.invert_yaxis()
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, title=key, loc="outside right center", markerscale=2, frameon=False)
    return figure
