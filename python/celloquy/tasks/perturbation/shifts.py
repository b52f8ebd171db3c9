"""How far changes of genes move the embedding of cells: means over the cells of each group, as they stream by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from celloquy.models.changing import ReadingChanges
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.perturbation.changes import Changer, GeneChange
from celloquy.tasks.perturbation.sample import SampledCells


@dataclass(frozen=True, eq=False, slots=True)
class CellShifts:
    """Means over the cells that a change alters: ``c`` changes, ``k`` groups."""

    cosine: Tensor
    """``(c, k)`` float64: 1 - cosine between the embedding before and after; 0 where no cell is altered."""
    euclidean: Tensor
    """``(c, k)`` float64: distance between them."""
    n_cells: Tensor
    """``(c, k)`` int64: cells that are altered."""


def cell_shifts(cells: SampledCells, changes: Sequence[GeneChange], *, progress: bool) -> CellShifts:
    """Return how far each change moves the cells of each group.

    Parameters
    ----------
    cells
        The cells; the model reads them in evaluation mode, see :func:`sampled_cells`.
    changes
        Changes, each on its own.
    progress
        Show a progress bar.
    """
    size = len(changes) * cells.n_groups
    sums = torch.zeros(2, size, dtype=torch.float64)
    times = torch.zeros(size, dtype=torch.int64)
    for change, cell, before, after in shifted(cells, changes, progress):
        into = change * cells.n_groups + cells.group.index_select(0, cell)
        sums[0].index_add_(0, into, distance(before, after).double())
        sums[1].index_add_(0, into, (after - before).norm(dim=1).double())
        times += torch.bincount(into, minlength=size)
    means = (sums / times.clamp(min=1)).unflatten(1, (len(changes), cells.n_groups))
    return CellShifts(means[0], means[1], times.unflatten(0, (len(changes), cells.n_groups)))


def embedded(cells: SampledCells) -> Tensor:
    """Return the embedding of the cells as they are, ``(n, width)``, on the CPU."""
    device = next(cells.model.parameters()).device
    return torch.cat([cells.model.embed_batch(part.to(device)).float().cpu() for _, part in cells.parts()])


def shifted(
    cells: SampledCells, changes: Sequence[GeneChange], progress: bool, n: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield number of the change, number of the cell, and the cell's embedding before and after, on the CPU.

    Parameters
    ----------
    cells, changes, progress
        As of :func:`cell_shifts`.
    n
        Cells that are changed, the first of all; by default all.
    """
    model, changer = cast("ReadingChanges", cells.model), Changer(cells)
    device = next(cells.model.parameters()).device
    total = (len(cells.batch) if n is None else n) * len(changes)
    with ProgressBar(total=total, desc="Changing genes", unit=" cells", unit_scale=True, disable=not progress) as bar:
        for numbers, part in cells.parts(n):
            on_device = part.to(device)
            base = cells.model.embed_batch(on_device).float().cpu()
            seen = 0
            made = (one.to(device) for one in changer.made(changes, numbers))
            for change, cell, after in model.embed_changed(on_device, made):
                if not len(change):
                    continue
                change, cell = change.cpu(), cell.cpu()
                yield change, numbers[0] + cell, base.index_select(0, cell), after.float().cpu()
                reached = int(change.max()) + 1
                bar.update(max(0, reached - seen) * len(part))
                seen = max(seen, reached)
            bar.update((len(changes) - seen) * len(part))


def distance(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 - cosine of vectors, ``(m,)``; 0 where both are zero."""
    same = (before == after).all(1)
    return torch.where(same, 0.0, 1 - functional.cosine_similarity(before, after))
