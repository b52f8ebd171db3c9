"""Recover the counts from which normalised values were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from celloquy import keys
from celloquy.data.counts import MOSTLY, open_counts
from celloquy.data.matrix import CountRows, CountsPlace, counts_places
from celloquy.data.normalisation import recognise, solve
from celloquy.data.store import quiet_anndata
from celloquy.errors import CountsError

if TYPE_CHECKING:
    from anndata import AnnData


def recover_counts(adata: AnnData, *, layer: str | None = None) -> AnnData:
    """Restore the raw counts of log-normalised or normalised cells, exactly or not at all.

    ``log1p(counts / library * target)`` keeps the counts up to one factor a cell: the largest number of which all
    values of the cell are whole multiples. Finding it needs neither the target nor the library size, so cells with only
    a part of their genes are restored too. Counts with a common factor are returned divided by it.

    Parameters
    ----------
    adata
        Cells × genes; it is not changed.
    layer
        Place of the values (a layer, ``"X"`` or ``"raw"``); by default the first place from which counts are restored.

    Returns
    -------
    A new AnnData with the counts in ``X`` and ``layers["counts"]``, and ``obs``, ``obsm`` and ``uns`` of ``adata``. Its
    genes are those of the place of the values: ``raw`` may have more genes than ``adata``.

    Raises
    ------
    CountsError
        If no place holds normalised counts, or the counts of some cells can't be restored.

    Examples
    --------
    >>> import celloquy as cq
    >>> import scanpy as sc
    >>> adata = cq.recover_counts(sc.datasets.pbmc68k_reduced())
    """
    refused: list[CountsError] = []
    for source in counts_places(adata, layer, others=True):
        try:
            return _with_counts(adata, source, _counts_of(adata, source))
        except CountsError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    raise CountsError(
        "No matrix of adata holds counts, or values from which they can be restored.",
        found="; ".join(error.problem.rstrip(".") for error in refused) or "no matrix",
        expected="log-normalised or normalised counts",
        remedy="start from the raw counts, or name the normalised values with `layer`.",
    )


def _counts_of(adata: AnnData, source: CountsPlace) -> sparse.csr_matrix:
    try:
        rows = open_counts(adata, source).rows
    except CountsError as error:
        if "almost counts" in error.problem:
            # Restored by someone else, but for rounding errors.
            rows = open_counts(adata, source, rounding=True).rows
            return sparse.csr_matrix(sparse.vstack([rows.read(start, stop) for start, stop in rows.runs()]))
        if not any(word in error.problem for word in ("normalised", "no counts", "estimated")):
            raise
        return _solve(source.open(), source)
    return sparse.csr_matrix(sparse.vstack([rows.read(start, stop) for start, stop in rows.runs()]))


def _solve(rows: CountRows, source: CountsPlace) -> sparse.csr_matrix:
    transform, rounding, share = recognise(rows)
    if share <= MOSTLY:
        raise CountsError(
            f"{source} is not normalised in a way that can be undone.",
            found="values without a common unit in each cell",
            expected="log1p(counts / library * target), to any base, or without the logarithm",
            remedy="start from the raw counts.",
        )
    parts, inconsistent, coarse = [], 0, 0
    for start, stop in rows.runs():
        solution = solve(rows.read(start, stop), transform, rounding)
        parts.append(solution.counts)
        inconsistent += int(solution.inconsistent.sum())
        coarse += int(solution.coarse.sum())
    if inconsistent or coarse:
        raise CountsError(
            f"The counts in {source} can't be restored exactly.",
            found=f"{inconsistent:,} cells without a common unit, {coarse:,} with values too rounded to tell, "
            f"of {rows.shape[0]:,}",
            expected=f"every cell normalised by one factor ({transform.name})",
            remedy="start from the raw counts, or leave the other cells out.",
        )
    return sparse.csr_matrix(sparse.vstack(parts))


def _with_counts(adata: AnnData, source: CountsPlace, counts: sparse.csr_matrix) -> AnnData:
    import anndata

    var = adata.raw.var if source.label == "raw" else adata.var
    counts = counts.astype(np.float32)
    with quiet_anndata():
        return anndata.AnnData(
            X=counts,
            obs=adata.obs.copy(),
            var=var.copy(),
            obsm={key: value.copy() for key, value in adata.obsm.items()},
            uns=dict(adata.uns),
            layers={keys.COUNTS_LAYER: counts.copy()},
        )
