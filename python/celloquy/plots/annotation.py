"""Plots of an annotation: the confidence of its labels, and their agreement with known labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celloquy import keys
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure


def confidence(adata: AnnData, *, key: str = keys.ANNOTATION) -> Figure:
    """Draw the confidence of the cells of every label, and the number of these cells.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        Prefix of the keys of the annotation, ``key_added`` of :func:`celloquy.annotate`.

    Raises
    ------
    ArgumentError
        If the cells are not annotated.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata)
    >>> cq.plots.confidence(adata).savefig("confidence.png")
    """
    import matplotlib.pyplot as plt

    label_column, confidence_column = keys.prefixed(keys.LABEL, key), keys.prefixed(keys.CONFIDENCE, key)
    for column in (label_column, confidence_column):
        require(adata.obs, column, "adata.obs", "key")
    label, confidences = adata.obs[label_column].astype(str).to_numpy(), adata.obs[confidence_column].to_numpy()
    names, sizes = np.unique(label, return_counts=True)
    names = names[np.argsort(sizes, kind="stable")]
    figure, axis = plt.subplots(figsize=(6, 1 + 0.35 * len(names)))
    by_label = [confidences[label == name] for name in names]
    axis.boxplot(by_label, orientation="horizontal", widths=0.6, showfliers=False)
    axis.set_yticks(range(1, len(names) + 1), [f"{name} ({(label == name).sum():,})" for name in names])
    axis.set(xlabel="confidence", xlim=(0, 1.02))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def confusion(adata: AnnData, *, truth_key: str, key: str = keys.ANNOTATION) -> Figure:
    """Draw the share of the cells of each known label that was given each label.

    Parameters
    ----------
    adata
        Annotated cells.
    truth_key
        Column of ``obs`` with the known labels.
    key
        Prefix of the keys of the annotation, ``key_added`` of :func:`celloquy.annotate`.

    Raises
    ------
    ArgumentError
        If the cells are not annotated, or there is no such column.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.annotate(adata)
    >>> cq.plots.confusion(adata, truth_key="cell_type").savefig("confusion.png")
    """
    import matplotlib.pyplot as plt
    import pandas as pd

    label_column = keys.prefixed(keys.LABEL, key)
    require(adata.obs, label_column, "adata.obs", "key")
    require(adata.obs, truth_key, "adata.obs", "truth_key")
    known, given = (pd.Categorical(adata.obs[column].astype(str)) for column in (truth_key, label_column))
    shares = pd.crosstab(known, given, normalize="index")
    # A label that is both known and given lies on the diagonal.
    shares = shares[[*shares.index.intersection(shares.columns), *shares.columns.difference(shares.index)]]
    figure, axis = plt.subplots(figsize=(2.5 + 0.45 * shares.shape[1], 2 + 0.4 * shares.shape[0]))
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axis.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right")
    axis.set_yticks(range(shares.shape[0]), shares.index)
    axis.set(xlabel="given", ylabel=truth_key)
    figure.colorbar(image, ax=axis, label="share of the known label")
    figure.tight_layout()
    return figure
