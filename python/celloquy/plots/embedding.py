"""UMAPs of the same cells side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from celloquy import keys
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure


def umaps(adata: AnnData, *, bases: Mapping[str, str], color: Sequence[str]) -> Figure:
    """Draw several UMAPs of the same cells side by side, each coloured in several ways.

    Parameters
    ----------
    adata
        With the UMAPs in ``obsm``.
    bases
        Key of ``obsm`` → title, one row of panels each.
    color
        Columns of ``obs``, one column of panels each.

    Returns
    -------
    The figure; save it with ``figure.savefig("umap.png")``.

    Raises
    ------
    ArgumentError
        If a key or a column is missing.
    """
    import matplotlib.pyplot as plt
    import scanpy as sc

    for base in bases:
        require(adata.obsm, base, "adata.obsm")
    for name in color:
        require(adata.obs, name, "adata.obs")
    figure, axes = plt.subplots(len(bases), len(color), figsize=(5.5 * len(color), 4 * len(bases)), squeeze=False)
    for row, (base, title) in zip(axes, bases.items(), strict=True):
        for axis, column in zip(row, color, strict=True):
            sc.pl.embedding(
                adata, basis=base, color=column, ax=axis, show=False, frameon=False, title=f"{title}: {column}"
            )
    figure.tight_layout()
    return figure


def integration(
    adata: AnnData,
    *,
    batch_key: str,
    label_key: str | None = None,
    before: str = "X_pca",
    after: str = keys.EMBEDDING,
    seed: int = 0,
) -> Figure:
    """Draw UMAPs of two embeddings, before and after integration, coloured by batch and by label.

    Parameters
    ----------
    adata
        With both embeddings in ``obsm``; it is left as it is.
    batch_key, label_key
        Columns of ``obs``.
    before, after
        Keys of ``obsm``.
    seed
        Of the UMAPs.

    Returns
    -------
    The figure.

    Raises
    ------
    ArgumentError
        If a key or a column is missing.
    """
    import anndata
    import scanpy as sc

    color = [batch_key] if label_key is None else [batch_key, label_key]
    for name in color:
        require(adata.obs, name, "adata.obs")
    drawn = anndata.AnnData(obs=adata.obs[color].copy())
    bases = {"X_umap_before": (before, "before"), "X_umap_after": (after, "after")}
    for base, (key, _) in bases.items():
        require(adata.obsm, key, "adata.obsm")
        drawn.obsm[key] = adata.obsm[key]
        sc.pp.neighbors(drawn, use_rep=key, random_state=seed)
        drawn.obsm[base] = sc.tl.umap(drawn, random_state=seed, copy=True).obsm["X_umap"]
    return umaps(drawn, bases={base: title for base, (_, title) in bases.items()}, color=color)
