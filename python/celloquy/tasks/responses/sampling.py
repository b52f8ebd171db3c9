"""Draw cells under a condition from control cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import column
from celloquy.data.store import quiet_anndata
from celloquy.errors import CountsError
from celloquy.runtime.arrays import runs
from celloquy.tasks.responses.conditions import Naming
from celloquy.tasks.responses.reading import CELLS_READ

if TYPE_CHECKING:
    from anndata import AnnData

MOST: Final = 1e12
"""Counts of a gene that can be drawn from: their sums stay whole numbers."""


def sampled_cells(
    controls: AnnData, told: AnnData, naming: Naming, columns: CellColumns, depth: float, seed: int
) -> AnnData:
    """Return control cells with counts drawn as predicted, see :meth:`celloquy.ResponsePredictor.sample_cells`.

    Parameters
    ----------
    controls
        The cells.
    told
        What is predicted, a row for each context.
    naming
        Column of the context.
    columns
        Place of the counts.
    depth
        Counts to which cells were scaled for the prediction.
    seed
        Seed of the draws.
    """
    from anndata import AnnData

    source = CellSource(controls, columns, name="controls")
    contexts = (
        np.full(len(source), "", dtype=object)
        if naming.covariate_key is None
        else column(controls, naming.covariate_key, "covariate_key", name="controls").astype(str).to_numpy(dtype=object)
    )
    place = {context: at for at, context in enumerate(told.obs["context"].astype(str))}
    # Other features, such as proteins, may have the name of a gene.
    places = np.flatnonzero(source.genes)
    genes = places[source.var_names[places].get_indexer(told.var_names)]
    expected = np.asarray(told.X, dtype=np.float64)
    # A gene can't have more counts than the cell.
    after, before = (
        np.expm1(level.clip(0, np.log1p(depth))) for level in (expected, expected - np.asarray(told.layers["change"]))
    )
    random = np.random.default_rng(seed)
    blocks: list[Any] = []
    for part in runs(0, len(source), CELLS_READ):
        block = source.counts.read(part.start, part.stop)[:, genes]
        levels = np.asarray(block.todense(), dtype=np.float64)
        _check_size(levels)
        counts = levels.astype(np.int64)
        scale = levels.sum(1, keepdims=True) / depth
        rows = [place[context] for context in contexts[part]]
        kept = np.divide(after, before, out=np.ones_like(after), where=before > 0).clip(0, 1)[rows]
        gained = (after - before).clip(0)[rows] * scale
        blocks.append(sparse.csr_matrix((random.binomial(counts, kept) + random.poisson(gained)).astype(np.float32)))
    with quiet_anndata():
        cells = AnnData(sparse.vstack(blocks).tocsr(), obs=controls.obs.copy(), var=told.var.copy())
    cells.obs["perturbation"] = str(told.obs["perturbation"].iloc[0])
    cells.uns = told.uns.copy()
    return cells


def _check_size(levels: NDArray[np.float64]) -> None:
    if levels.max(initial=0) > MOST:
        raise CountsError(
            "These counts are too large to draw from.",
            found=f"{levels.max():g}",
            expected=f"counts up to {MOST:g}",
            remedy="check the step that made them.",
            argument="controls",
        )
