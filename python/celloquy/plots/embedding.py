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
        Cells with the UMAPs in ``obsm``.
    bases
        Keys of ``obsm`` with titles; each is a row of panels.
    color
        Columns of ``obs``; each is a column of panels.

    Returns
    -------
    The figure; save it with ``figure.savefig("umap.png")``.

    Raises
    ------
    ArgumentError
        If a key or a column is missing.

    Examples
    --------
    >>> import celloquy as cq
    >>> bases = {"X_umap": "PCA"}
    >>> cq.plots.umaps(adata, bases=bases, color=["cell_type", "donor"]).savefig("umaps.png")
    """
    import matplotlib.pyplot as plt
    import scanpy as sc

    for base in bases:
        require(adata.obsm, base, "adata.obsm", "bases")
    for name in color:
        require(adata.obs, name, "adata.obs", "color")
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
        Cells with both embeddings in ``obsm``; it is not changed.
    batch_key, label_key
        Columns of ``obs`` with batches and labels.
    before, after
        Keys of ``obsm`` with the embeddings.
    seed
        Seed of the UMAPs.

    Returns
    -------
    The figure.

    Raises
    ------
    ArgumentError
        If a key or a column is missing.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.integrate(adata, batch_key="donor")
    >>> cq.plots.integration(adata, batch_key="donor", label_key="cell_type").savefig("integration.png")
    """
    import anndata
    import scanpy as sc

    color = [batch_key] if label_key is None else [batch_key, label_key]
    for argument, name in zip(("batch_key", "label_key"), color, strict=False):
        require(adata.obs, name, "adata.obs", argument)
    cells = anndata.AnnData(obs=adata.obs[color].copy())
    bases = {"X_umap_before": (before, "before"), "X_umap_after": (after, "after")}
    for base, (key, argument) in bases.items():
        require(adata.obsm, key, "adata.obsm", argument)
        cells.obsm[key] = adata.obsm[key]
        sc.pp.neighbors(cells, use_rep=key, transformer="sklearn", random_state=seed)
        cells.obsm[base] = sc.tl.umap(cells, random_state=seed, copy=True).obsm["X_umap"]
    return umaps(cells, bases={base: title for base, (_, title) in bases.items()}, color=color)
