"""What a gene model knows of genes, as the matrices and columns that R makes its results of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from celloquy.bridge.matrices import check_size
from celloquy.data.tables import text_array

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celloquy.models import Model


def gene_embeddings(
    model: Model | str, adata: AnnData | None, *, genes: Sequence[str] | None, **given: Any
) -> dict[str, Any]:
    """Return the vectors of genes ``values`` (genes × dimensions), their ``names``, and what else is known of them.

    Parameters
    ----------
    model
        The model.
    adata
        Cells whose counts are in ``X``; None describes the genes outside of cells.
    genes, given
        As :func:`celloquy.gene_embeddings` takes them.
    """
    from celloquy.tasks import gene_embeddings as run

    layer = None if adata is None else "X"
    found = run(model, adata, genes=genes, layer=layer, **given)
    check_size(found.X)
    return {
        "values": np.asarray(found.X, dtype=np.float64),
        "names": text_array(found.obs_names),
        "columns": columns_of(found.obs),
    }


def similar_genes(gene: str, vectors: Model | str | Mapping[str, Any], n: int) -> dict[str, Any]:
    """Return ``names`` and ``columns`` of the genes whose vectors are most like that of one.

    Parameters
    ----------
    gene
        The gene.
    vectors
        A model; or ``values``, ``names`` and ``columns``, as :func:`gene_embeddings` returns them.
    n
        Number of genes.
    """
    from anndata import AnnData
    from pandas import DataFrame

    from celloquy.tasks import similar_genes as run

    if isinstance(vectors, Mapping):
        names = text_array(vectors["names"])
        columns = {name: text_array(column) for name, column in vectors["columns"].items()}
        vectors = AnnData(np.asarray(vectors["values"]), obs=DataFrame(columns, index=names))
    found = run(gene, vectors, n=n)
    return {"names": text_array(found.index), "columns": columns_of(found)}


def gene_attention(model: Model | str, adata: AnnData, genes: Sequence[str], **given: Any) -> dict[str, Any]:
    """Return the columns of the table of the attention between genes in cells whose counts are in ``X``."""
    from celloquy.tasks import gene_attention as run

    return columns_of(run(model, adata, genes, layer="X", **given))


def infer_network(adata: AnnData, **given: Any) -> dict[str, Any]:
    """Return the columns of the table of edges of a network of cells whose values are in ``X``."""
    from celloquy.tasks.networks import infer_network as run

    return columns_of(run(adata, layer="X", **given))


def write_network(columns: Mapping[str, Any], path: str) -> None:
    """Write a network to a file, from the columns of its table of edges."""
    from pandas import DataFrame

    from celloquy.tasks.networks import write_network as run

    arrays = {name: np.asarray(column) for name, column in columns.items()}
    run(DataFrame({name: text_array(one) if one.dtype.kind in "OUS" else one for name, one in arrays.items()}), path)


def perturb(model: Model | str, adata: AnnData, genes: Sequence[str], **given: Any) -> dict[str, Any]:
    """Return the columns of the table of changed genes in cells whose counts are in ``X``."""
    from celloquy.tasks.perturbation import perturb as run

    return columns_of(run(adata, genes, model=model, layer="X", **given))


def rank_drivers(model: Model | str, adata: AnnData, genes: Sequence[str] | None, **given: Any) -> dict[str, Any]:
    """Return the columns of the table of drivers, ``genes`` being the candidates; counts are in ``X``."""
    from celloquy.tasks.perturbation import rank_drivers as run

    return columns_of(run(adata, model=model, candidates=genes, layer="X", **given))


def explain(adata: AnnData, labels: str | None, *, annotator: str | None, **given: Any) -> dict[str, Any]:
    """Return the shares of genes in labels, and the groups that they are of, as columns; counts are in ``X``.

    ``annotator`` is the directory of a fitted one, if there is no column of ``labels``.
    """
    from pandas import DataFrame

    from celloquy import keys
    from celloquy.tasks.annotation import Annotator
    from celloquy.tasks.explanation import explain as run

    what: Any = labels if annotator is None else Annotator.load(annotator)
    table = run(adata, labels=what, layer="X", **given)
    groups = DataFrame(table.attrs[keys.PROVENANCE]["groups"]).T.infer_objects().rename_axis("group").reset_index()
    return {"columns": columns_of(table), "groups": columns_of(groups)}


def columns_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of a table: text, whole numbers and numbers in R's types."""
    return {
        str(name): (
            column.to_numpy(dtype=np.int32)
            if column.dtype.kind == "i"
            else column.to_numpy(dtype=np.float64)
            if column.dtype.kind == "f"
            else text_array(column)
        )
        for name, column in table.items()
    }
