"""Evidence for a label: the reference cells that lie nearest in the embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from torch import Tensor

from celloquy.data.neighbours import nearest_of
from celloquy.data.tables import Table, text_array
from celloquy.training.split import hold_out

NEAREST = 5
"""Reference cells that are given as evidence for a cell."""

KEPT_REFERENCE = 50_000
"""Reference cells that are kept as evidence, at most; the same share of every label."""


@dataclass(frozen=True, eq=False)
class ReferenceCells:
    """Cells of a reference that are kept to be shown as evidence.

    Shapes: ``r`` cells.
    """

    names: list[str]
    codes: Tensor
    """``(r,)`` int64, their labels."""
    embedding: Tensor
    """``(r, width)``."""

    @classmethod
    def choose(cls, names: pd.Index, embedding: Tensor, codes: Tensor, *, seed: int) -> Self:
        """Keep all cells of a reference, or of a large one the same share of every label."""
        kept = np.arange(len(names))
        if len(kept) > KEPT_REFERENCE:
            share = KEPT_REFERENCE / len(kept)
            kept = np.sort(hold_out(codes.numpy(), share, np.random.default_rng(seed))[1])
        return cls(text_array(names)[kept].tolist(), codes[kept], embedding[kept])

    def nearest(self, embedding: Tensor, labels: Sequence[str]) -> Table:
        """Return the nearest reference cells and their labels, a row for every cell.

        Parameters
        ----------
        embedding
            ``(cells, width)``.
        labels
            Names of the labels, in the order of their codes.
        """
        near = nearest_of(self.embedding.numpy(), embedding.numpy(), min(NEAREST, len(self.codes)))
        cells, of_cells = text_array(self.names), text_array(labels)[self.codes.numpy()]
        columns: dict[str, np.ndarray] = {}
        for rank in range(near.shape[1]):
            columns |= {f"cell_{rank + 1}": cells[near[:, rank]], f"label_{rank + 1}": of_cells[near[:, rank]]}
        return Table.of_texts(columns)
