"""The ability to read cells of which some counts are changed and all else is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from celloquy.data import CellBatch
    from celloquy.data.changes import CountChange
    from celloquy.models.encoding import Embedder


class ReadingChanges:
    """The method of the ability ``"read changed counts"``, for a family that reads each cell alone.

    A family mixes it in, and overrides it where ``embed_batch`` of the changed cells would move more than the change
    does: the depth by which counts are scaled, the ranks of the other genes, the mean by which cells are centred.
    """

    def embed_changed(
        self, batch: CellBatch, changes: Iterable[CountChange]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the embedding of cells with each of some changes.

        Parameters
        ----------
        batch
            The cells as they are.
        changes
            Changes of their counts, each on its own.

        Yields
        ------
        Number of the change ``(m,)``, cell ``(m,)`` and embedding ``(m, embedding_width)`` of some of the cells that a
        change alters, on the scale on which ``embed_batch(batch)`` has them as they are. A cell that is read as before
        is left out.
        """
        model = cast("Embedder", self)
        for number, change in enumerate(changes):
            cells = torch.nonzero(change.changed)[:, 0]
            yield torch.full_like(cells, number), cells, model.embed_batch(change.applied(batch))[cells]
