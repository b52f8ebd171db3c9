"""Draw cells under a condition from control cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import column
from celloquy.runtime.arrays import runs
from celloquy.tasks.responses.conditions import Naming
from celloquy.tasks.responses.reading import CELLS_READ

if TYPE_CHECKING:
    from anndata import AnnData


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
    names = source.var_names
    genes = names.get_indexer(told.var_names)
    after = np.expm1(np.asarray(told.X, dtype=np.float64).clip(0))
    before = np.expm1((np.asarray(told.X, dtype=np.float64) - np.asarray(told.layers["change"])).clip(0))
    random = np.random.default_rng(seed)
    blocks: list[Any] = []
    for part in runs(0, len(source), CELLS_READ):
        block = source.counts.read(part.start, part.stop)[:, genes]
        counts = np.asarray(block.todense(), dtype=np.int64)
        scale = counts.sum(1, keepdims=True) / depth
        rows = [place[context] for context in contexts[part]]
        kept = np.divide(after, before, out=np.ones_like(after), where=before > 0).clip(0, 1)[rows]
        gained = (after - before).clip(0)[rows] * scale
        blocks.append(sparse.csr_matrix((random.binomial(counts, kept) + random.poisson(gained)).astype(np.float32)))
    cells = AnnData(sparse.vstack(blocks).tocsr(), obs=controls.obs.copy(), var=told.var.copy())
    cells.obs["perturbation"] = str(told.obs["perturbation"].iloc[0])
    cells.uns = told.uns.copy()
    return cells
