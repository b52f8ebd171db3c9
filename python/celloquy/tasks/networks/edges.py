"""A table of edges, of scores of regulators and targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy.tasks.networks.cells import Expression
from celloquy.tasks.networks.moments import Array


def varied(values: object, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which genes differ between the cells."""
    columns = values[:, places]  # type: ignore[index]
    return np.asarray(columns.max(0).toarray() - columns.min(0).toarray()).ravel() > 0


def edges_of(
    cells: Expression,
    group: int,
    regulators: NDArray[np.int64],
    targets: NDArray[np.int64],
    scores: Array,
    sign: Array,
    most: int | None,
) -> pd.DataFrame:
    """Return the edges of a group with the highest scores.

    Parameters
    ----------
    cells
        The cells and genes.
    group
        Number of the group.
    regulators, targets
        Places of the genes of either side.
    scores
        ``(regulators, targets)``: the higher, the surer; nan for pairs that are no edges.
    sign
        ``(regulators, targets)``: numbers of the sign that an edge has.
    most
        Edges to keep; None keeps all.
    """
    flat = scores.ravel()
    place = np.flatnonzero(np.isfinite(flat))
    if most is not None and most < len(place):
        # Those of equal score as the last are sorted with the others, so that it does not matter which come first.
        least = np.partition(flat[place], len(place) - most)[len(place) - most]
        place = place[flat[place] >= least]
    place = place[np.argsort(-flat[place], kind="stable")][:most]
    names = np.array(cells.names, dtype=object)
    first, second = np.unravel_index(place, scores.shape)
    table = pd.DataFrame(
        {
            "regulator": names[regulators[first]],
            "target": names[targets[second]],
            "score": flat[place].astype(np.float32),
            "sign": np.sign(sign.ravel()[place]).astype(np.int8),
        }
    )
    if cells.groups[group].name:
        table["group"] = pd.Categorical([cells.groups[group].name] * len(table), [one.name for one in cells.groups])
    table["rank"] = np.arange(1, len(table) + 1)
    return table
