"""Name the types of cells without a reference: the coarse types that come with the package."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open

from celloquy import keys
from celloquy.data import CellColumns, CellSource
from celloquy.data.labels import check_top
from celloquy.data.reader import BLOCK
from celloquy.errors import CheckpointError, GenesError
from celloquy.genes import GeneVocabulary
from celloquy.models.boxed import BOX
from celloquy.models.checkpoint import GENES
from celloquy.tasks.annotation.coarse import LEAST_PROBABILITY, CoarseTypes
from celloquy.tasks.annotation.labelling import deliver_labels, label_results
from celloquy.tasks.results import check_result, free_prefix, provenance

if TYPE_CHECKING:
    from anndata import AnnData

FILE = BOX / "cell_types.safetensors"
"""The types in the box; ``scripts/make_models.py`` makes them."""
KNOWN = "known_types"
"""What stands in the place of the column of labels in the record of the result."""
LEAST_GENES = 10
"""Genes that tell the types apart, of which so many must have been measured."""


def known_types() -> pd.DataFrame:
    """Return the cell types that :func:`celloquy.annotate` names without a reference.

    Returns
    -------
    DataFrame with a row for each type: ``name``, and ``cell_ontology``, its ids in the Cell Ontology.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.known_types()["name"].tolist()[:3]
    ['T cell', 'natural killer cell', 'B cell']
    """
    ontology = read_types()[1]
    return pd.DataFrame({"name": list(ontology), "cell_ontology": list(ontology.values())})


def annotate_known(
    adata: AnnData, columns: CellColumns, *, unknown: bool = True, top_k: int | None = None,
    key_added: str | None = None, copy: bool = False,
) -> AnnData | None:  # fmt: skip
    """Label cells with the types in the box; see :func:`celloquy.annotate`.

    Parameters
    ----------
    adata
        Cells × genes with raw counts.
    columns
        How the cells are read.
    unknown
        Call cells unknown whose most probable type has a probability below .4.
    top_k, key_added, copy
        As :meth:`celloquy.Annotator.predict` has them.

    Raises
    ------
    CountsError, GenesError, ArgumentError
        If there are no raw counts, too few known genes, or an argument is unfit.
    """
    began = time.perf_counter()
    types, ontology, vocabulary = read_types()
    check_top(top_k, len(ontology))
    prefix = free_prefix(adata, KNOWN) if key_added is None else key_added
    check_result(adata, prefix, copy=copy)
    cells = CellSource(adata, columns).over(vocabulary)
    measured = int(cells.measured[types.genes].sum())
    if measured < LEAST_GENES:
        raise GenesError(
            "Too few genes that tell cell types apart were measured.",
            found=f"{measured} of {len(types.genes):,}",
            expected=f"{LEAST_GENES} at least",
            remedy="pass a `reference` with the genes of the panel, and its `label_key`.",
        )
    starts = range(0, len(cells), BLOCK)
    logits = [types.logits(cells.read(start, min(start + BLOCK, len(cells)))) for start in starts]
    probability = torch.cat(logits).softmax(1).numpy()
    # From 1, where no type has a probability, through one half, where a cell becomes unknown.
    novelty = np.clip(1 - probability.max(1) / (2 * LEAST_PROBABILITY), 0, 1)
    known = novelty <= 0.5 if unknown else np.ones(len(novelty), dtype=bool)
    obs, obsm = label_results(probability, novelty, known, list(ontology), top_k)
    parameters = {
        "label_key": KNOWN,
        "counts": columns.counts or "",
        "species": columns.species or "",
        "unknown": unknown,
    }
    record = provenance("annotate", types.fingerprint, cells.source, cells.report, parameters, began)
    return deliver_labels(adata, obs, obsm, record, prefix, copy=copy)


@cache
def read_types() -> tuple[CoarseTypes, dict[str, str], GeneVocabulary]:
    """Return the types in the box, their ids in the Cell Ontology by name, and the genes that they read."""
    vocabulary = GeneVocabulary.load(BOX / keys.CELLS_MINI / GENES)
    with safe_open(FILE, "pt") as file:
        described = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if described["vocabulary"] != vocabulary.fingerprint:
        raise CheckpointError(
            "The cell types in the box are not those of its genes.",
            found=f"{FILE.name} for other genes than {keys.CELLS_MINI}",
            remedy="install celloquy anew, or make both with scripts/make_models.py.",
        )
    return CoarseTypes.from_weights(weights), json.loads(described["types"]), vocabulary
