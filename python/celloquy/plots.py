"""Pictures of results, drawn by scanpy and matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from celloquy.errors import ArgumentError

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

    for name, present, what in [
        *((base, adata.obsm, "obsm") for base in bases),
        *((column, adata.obs, "obs") for column in color),
    ]:
        if name not in present:
            raise ArgumentError(
                f"There is no {name!r} in adata.{what}.",
                found=", ".join(map(str, present.keys())) or "nothing",
                remedy="compute it first, or name one that is there.",
            )
    figure, axes = plt.subplots(len(bases), len(color), figsize=(5.5 * len(color), 4 * len(bases)), squeeze=False)
    for row, (base, title) in zip(axes, bases.items(), strict=True):
        for axis, column in zip(row, color, strict=True):
            sc.pl.embedding(
                adata, basis=base, color=column, ax=axis, show=False, frameon=False, title=f"{title}: {column}"
            )
    figure.tight_layout()
    return figure
