"""Pictures of labels: how sure they are, and how they agree with known ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy import keys
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure


def confidence(adata: AnnData) -> Figure:
    """Draw the confidence of every cell by its label, and how many cells each label was given.

    Raises
    ------
    ArgumentError
        If the cells are not annotated.
    """
    import matplotlib.pyplot as plt

    for key in (keys.LABEL, keys.CONFIDENCE):
        require(adata.obs, key, "adata.obs")
    label, sure = adata.obs[keys.LABEL].astype(str).to_numpy(), adata.obs[keys.CONFIDENCE].to_numpy()
    names, sizes = np.unique(label, return_counts=True)
    names = names[np.argsort(sizes, kind="stable")]
    figure, axis = plt.subplots(figsize=(6, 1 + 0.35 * len(names)))
    axis.boxplot([sure[label == name] for name in names], orientation="horizontal", widths=0.6, showfliers=False)
    axis.set_yticks(range(1, len(names) + 1), [f"{name} ({(label == name).sum():,})" for name in names])
    axis.set(xlabel="confidence", xlim=(0, 1.02))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def confusion(adata: AnnData, *, truth_key: str) -> Figure:
    """Draw which share of the cells of each known label was given which label.

    Parameters
    ----------
    adata
        Annotated cells.
    truth_key
        Column of ``obs`` with the known labels.

    Raises
    ------
    ArgumentError
        If the cells are not annotated, or there is no such column.
    """
    import matplotlib.pyplot as plt
    import pandas as pd

    for key in (keys.LABEL, truth_key):
        require(adata.obs, key, "adata.obs")
    known, given = (pd.Categorical(adata.obs[key].astype(str)) for key in (truth_key, keys.LABEL))
    shares = pd.crosstab(known, given, normalize="index")
    # The same label lies on the diagonal.
    shares = shares[[*shares.index.intersection(shares.columns), *shares.columns.difference(shares.index)]]
    figure, axis = plt.subplots(figsize=(2.5 + 0.45 * shares.shape[1], 2 + 0.4 * shares.shape[0]))
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axis.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right")
    axis.set_yticks(range(shares.shape[0]), shares.index)
    axis.set(xlabel="given", ylabel=truth_key)
    figure.colorbar(image, ax=axis, label="share of the known label")
    figure.tight_layout()
    return figure
