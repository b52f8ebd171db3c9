"""Which columns of an object are genes: 10x and others measure proteins, guides, hashtags and peaks beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from celloquy.errors import GenesError, some

if TYPE_CHECKING:
    import pandas as pd

FEATURE_TYPES: Final = ("feature_types", "feature_type", "Type")
"""Columns of ``var`` that say what a feature is: of Cell Ranger, scanpy and muon; of CellBender; of DropletUtils."""

_GENES: Final = {"gene expression", "gene", "genes", "gex", "rna", "mrna", "transcript", "transcriptome"}
_NO_GENES: Final = {
    "antibody capture", "antigen capture", "protein", "protein expression", "adt", "antibody", "hto", "hashtag",
    "multiplexing capture", "crispr guide capture", "guide", "guide capture", "sgrna", "custom", "peaks", "peak",
    "atac", "chromatin accessibility", "gene activity", "vdj", "negative control codeword", "negative control probe",
    "unassigned codeword", "deprecated codeword", "genomic control", "blank codeword",
}  # fmt: skip


def types_beside_genes(var: pd.DataFrame) -> NDArray[np.str_]:
    """Return what each feature is, ``(features,)``, and ``""`` for genes, by the first of :data:`FEATURE_TYPES`.

    A type that is not known is no gene where another type says "gene"; where none does, the column is about something
    else, and counts only for types that are known not to be genes. A feature without a type is taken for a gene.
    """
    types = np.full(len(var), "", dtype=object)
    column = next((name for name in FEATURE_TYPES if name in var), None)
    if column is None:
        return types.astype(str)
    given = var.iloc[:, list(var.columns).index(column)]
    said = given.notna().to_numpy()
    types[said] = given[said].astype(str).str.strip()
    known = np.char.lower(types.astype(str))
    others = ~np.isin(known, list(_GENES)) if np.isin(known, list(_GENES)).any() else np.isin(known, list(_NO_GENES))
    return np.where(others, types.astype(str), "")


def genes_among(var: pd.DataFrame, where: str) -> NDArray[np.bool_]:
    """Return which features are genes, ``(features,)``, by :func:`types_beside_genes`.

    Parameters
    ----------
    var
        Annotation of the features.
    where
        Place of the features, for messages.

    Raises
    ------
    GenesError
        If no feature is a gene.
    """
    types = types_beside_genes(var)
    genes: NDArray[np.bool_] = types == ""
    if len(genes) and not genes.any():
        column = next(name for name in FEATURE_TYPES if name in var)
        raise GenesError(
            f"None of the features in {where} are genes.",
            found=f"{len(genes):,} features of type {some(dict.fromkeys(types))}",
            expected="features of type Gene Expression",
            remedy="pass the object, or the modality, with the RNA; if these are genes all the same, drop the column "
            f"{column!r} of adata.var.",
        )
    return genes
