"""Networks in the object that they were inferred from: a table of edges, and a matrix of genes for each group."""

from __future__ import annotations

import re
from os import PathLike
from typing import TYPE_CHECKING

import pandas as pd
from scipy import sparse

from celloquy.data.store import quiet_anndata
from celloquy.errors import ArgumentError
from celloquy.tasks.results import check_result

if TYPE_CHECKING:
    from anndata import AnnData


def check_key(adata: AnnData | str | PathLike[str], key: object) -> None:
    """Check that a network can be kept in an object under a key.

    Raises
    ------
    ArgumentError
        If the object is a file, or no file can have the key.
    """
    if isinstance(adata, str | PathLike):
        raise ArgumentError(
            "`key_added` can't be used with a file.",
            found=f"the file {str(adata)!r}",
            expected="an object in memory, in which the network is kept",
            remedy="read the file first, or leave `key_added` out and write the edges by cq.write_network.",
            argument="key_added",
        )
    check_result(adata, key, copy=False)


def keep(adata: AnnData, edges: pd.DataFrame, key: str) -> None:
    """Keep edges in an object: the table in ``uns[key]``, scores in ``varp[key]``, of groups in ``varp[key_group]``.

    The matrices are sparse, genes × genes, with regulators in rows; a score has the sign of its edge.
    """
    place = {name: number for number, name in enumerate(adata.var_names)}
    groups = edges.groupby("group", observed=True) if "group" in edges else [("", edges)]
    matrices = {}
    for name, own in groups:
        # No file can have a key with a slash.
        end = re.sub(r"[/\\\0]", "_", "_" + str(name) if name else "")
        while key + end in matrices:
            end += "_"
        rows, columns = (own[side].map(place).to_numpy() for side in ("regulator", "target"))
        values = (own["score"] * own["sign"].where(own["sign"] != 0, 1)).to_numpy(dtype="float32")
        matrices[key + end] = sparse.csr_matrix((values, (rows, columns)), shape=(adata.n_vars, adata.n_vars))
    with quiet_anndata():
        adata.uns[key] = edges.copy()
        for name, matrix in matrices.items():
            adata.varp[name] = matrix
