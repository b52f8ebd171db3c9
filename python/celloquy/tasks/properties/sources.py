"""Where the blocks come from: what ships, what a model knows of genes, and how the user's cells express them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from celloquy import keys
from celloquy.checks import refuse
from celloquy.data import CellColumns, CellSource
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.genes import GeneVocabulary, Prior
from celloquy.genes.expression import SUMMARIES, expression_table
from celloquy.genes.priors import PRIORS, shipped_prior
from celloquy.models import Model
from celloquy.runtime.arrays import runs
from celloquy.runtime.hardware import choose_device
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.gene_reading import DescribesGenes, reading
from celloquy.tasks.gene_vectors import gene_embeddings
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.properties.annotations import ANNOTATIONS, annotation_counts
from celloquy.tasks.properties.features import Block

if TYPE_CHECKING:
    from anndata import AnnData

EXPRESSION: Final = "expression"
PROFILES: Final = "profiles"
VECTORS: Final = "vectors"
CELLS: Final = "cells"
SHIPPED: Final = (*PRIORS, ANNOTATIONS, EXPRESSION, PROFILES)
"""Kinds of features that need no model and no cells."""
KINDS: Final = (*SHIPPED, VECTORS, CELLS)
"""Kinds of features by name."""
MOST_CELLS: Final = 5000
"""Cells that are looked at, evenly spread over all."""
CELLS_READ: Final = 512
COMPONENTS: Final = 50
"""Principal components of the user's cells whose loadings describe genes."""
DEPTH: Final = 1e4


def check_evidence(evidence: object, adata: object) -> list[str | pd.DataFrame | Prior]:
    """Return the kinds of features that are asked for; ``"auto"`` is all that can be had.

    Raises
    ------
    ArgumentError
        If there is no such kind, or ``"cells"`` are asked for without any.
    """
    asked = [evidence] if isinstance(evidence, str | pd.DataFrame | Prior) else evidence
    if not isinstance(asked, Iterable) or isinstance(asked, bytes | dict):
        refuse("evidence", evidence, _EXPECTED)
    listed: list[str | pd.DataFrame | Prior] = list(asked)
    if any(isinstance(one, str) and one == "auto" for one in listed):
        own = [one for one in listed if not isinstance(one, str)]
        listed = [*(kind for kind in KINDS if kind != CELLS or adata is not None), *own]
    for one in listed:
        if not isinstance(one, pd.DataFrame | Prior) and one not in KINDS:
            refuse("evidence", one, _EXPECTED)
    named = [one for one in listed if isinstance(one, str)]
    if not listed or len(set(named)) < len(named):
        refuse("evidence", named, "each kind of feature once, and at least one")
    if CELLS in named and adata is None:
        raise ArgumentError(
            "There are no cells to describe genes by.",
            found='"cells" as `evidence`, and no `adata`',
            expected="the cells in which genes are read",
            remedy='pass `adata`, or leave "cells" out.',
            argument="evidence",
        )
    return listed


_EXPECTED: Final = '"auto", or some of ' + ", ".join(map(repr, KINDS)) + ", or tables of genes × features"


def blocks_of(
    features: Sequence[str | pd.DataFrame | Prior],
    model: Model | str | PathLike[str] | None,
    adata: AnnData | str | PathLike[str] | None,
    columns: CellColumns,
    device: str,
    progress: bool,
) -> list[Block]:
    """Return the blocks of some kinds of features.

    Raises
    ------
    ModelError, ArgumentError, CheckpointError, CountsError, GenesError
        If a model has no vectors of genes, or can't be read, or the cells can't.
    """
    found: list[Block] = []
    own = 0
    models = {} if not {VECTORS, CELLS} & {one for one in features if isinstance(one, str)} else _models(model)
    for kind in features:
        if not isinstance(kind, str):
            own += 1
            prior = kind if isinstance(kind, Prior) else Prior.from_frame(kind)
            found.append(Block(f"own {own}", prior))
        elif kind == VECTORS:
            found += [Block(name, static_vectors(name, one, device)) for name, one in models.items()]
        elif kind == CELLS:
            assert adata is not None
            found += _blocks_in_cells(adata, models, columns, device, progress)
        else:
            found.append(shipped_block(kind))
    return found


def shipped_block(kind: str) -> Block:
    """Return a block that needs no model and no cells, by its name."""
    if kind == ANNOTATIONS:
        return Block(kind, annotation_counts())
    if kind in (EXPRESSION, PROFILES):
        table = expression_table()
        chosen = [place for place, name in enumerate(table.features) if (name in SUMMARIES) == (kind == EXPRESSION)]
        features = tuple(table.features[place] for place in chosen)
        return Block(kind, replace(table, matrix=sparse.csr_matrix(table.matrix[:, chosen]), features=features))
    return Block(kind, shipped_prior(kind))


def static_vectors(name: str, model: Model, device: str = "auto") -> Prior:
    """Return the vectors that a model gives to genes outside of cells; genes without one are left out."""
    model.require(["embed genes"], "`GeneClassifier`")
    with reading(model, choose_device(device)):
        vectors = cast("DescribesGenes", model).gene_vectors().float().cpu().numpy()
    return _prior(name, [gene for _, gene, _, _ in model.vocabulary.genes()], vectors)


def _models(model: Model | str | PathLike[str] | None) -> dict[str, Model]:
    """The models whose vectors are read, by the names of their blocks; by default those in the box."""
    if model is None:
        return {name: Model.from_pretrained(name) for name in (keys.CELLS_MINI, keys.GENES_MINI)}
    name = model if isinstance(model, str) and model in (keys.CELLS_MINI, keys.GENES_MINI) else VECTORS
    resolved = resolve_model(model)
    resolved.require(["embed genes"], "`GeneClassifier`")
    return {name: resolved}


def _prior(name: str, ids: Sequence[str], values: NDArray[np.floating]) -> Prior:
    """Genes by dense features; the numbers are those that a saved classifier keeps."""
    known = np.flatnonzero(np.abs(values).sum(1) > 0).tolist()
    matrix = sparse.csr_matrix(values[known].astype(np.float32))
    return Prior(name, tuple(ids[place] for place in known), matrix, tuple(map(str, range(values.shape[1]))))


def _blocks_in_cells(
    adata: AnnData | str | PathLike[str],
    models: dict[str, Model],
    columns: CellColumns,
    device: str,
    progress: bool,
) -> list[Block]:
    """What the cells say of genes: statistics, loadings of principal components, vectors of a model in them."""
    with opened(adata) as read:
        source = CellSource(read, columns)
        vocabulary = GeneVocabulary.both(source.expressed_names())
        logged = _logged(source, vocabulary, progress)
        step = max(1, -(-len(source) // MOST_CELLS))
        some = read[::step].to_memory() if step > 1 else read
        ids = list(vocabulary.ids)
        blocks = [Block("cells: expression", _prior("cells: expression", ids, _statistics(logged)))]
        if min(logged.shape) > 2:
            blocks.append(Block("cells: loadings", _prior("cells: loadings", ids, _loadings(logged))))
        for name, model in models.items():
            if "describe genes" in model.abilities:
                # A column that names tissues or batches has no say here.
                vectors = gene_embeddings(
                    model, some, layer=columns.layer, counts=columns.counts, species=columns.species, device=device,
                    progress=progress,
                )  # fmt: skip
                of_cells = f"cells: {name}"
                prior = _prior(of_cells, list(vectors.obs["gene"]), np.asarray(vectors.X))
                blocks.append(Block(of_cells, prior))
    return blocks


def _logged(source: CellSource, vocabulary: GeneVocabulary, progress: bool) -> sparse.csr_matrix:
    """Log-normalised counts, cells × genes, of cells that have any; at most 5,000 cells, evenly spread over all."""
    cells = source.over(vocabulary)
    step = max(1, -(-len(source) // MOST_CELLS))
    blocks = []
    with ProgressBar(total=len(source), desc="Reading cells", unit=" cells", disable=not progress) as bar:
        for part in runs(0, len(source), CELLS_READ):
            first = -part.start % step
            if first < part.stop - part.start:
                batch = cells.read(part.start, part.stop)
                blocks.append(batch.select(torch.arange(first, len(batch), step)).to_csr())
            bar.update(part.stop - part.start)
    matrix = sparse.csr_matrix(sparse.vstack(blocks), dtype=np.float64)
    depth = np.asarray(matrix.sum(1)).ravel()
    matrix = matrix[depth > 0]
    matrix.data *= np.repeat(DEPTH / depth[depth > 0], np.diff(matrix.indptr))
    return matrix.log1p()


def _statistics(logged: sparse.csr_matrix) -> NDArray[np.float64]:
    """Mean, share of cells that express it, and deviation of each gene, ``(genes, 3)``."""
    mean = np.asarray(logged.mean(0)).ravel()
    squares = np.asarray(logged.multiply(logged).mean(0)).ravel()
    share = np.asarray((logged > 0).mean(0)).ravel()
    return np.stack([mean, share, np.sqrt((squares - mean**2).clip(0))], 1)


def _loadings(logged: sparse.csr_matrix) -> NDArray[np.float64]:
    """Correlation of each gene with the principal components of the cells, ``(genes, components)``."""
    deviation = _statistics(logged)[:, 2]
    number = min(COMPONENTS + 1, min(logged.shape) - 1)
    # Not centred, so that cells stay sparse: the first component is then nearly the mean.
    cells, _, _ = randomized_svd(logged, number, random_state=0)
    cells = cells - cells.mean(0)
    cells /= cells.std(0).clip(1e-9)
    along = np.asarray(logged.T @ cells) / len(cells)
    return np.asarray(along / deviation.clip(1e-6)[:, None] * (deviation > 1e-6)[:, None])
