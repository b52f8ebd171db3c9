"""What asked cells were read with: attention's weights, summed as they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from celloquy.data import CellBatch, CellReader
from celloquy.data.device import DeviceSender
from celloquy.nn.weights import LayerReading, shares
from celloquy.runtime.arrays import runs
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.context.distances import Intervals

CELLS_READ = 1024
"""Cells whose counts are in memory at a time."""
CELLS_SUMMED = 4096
"""Asked cells whose sums by label are computed at a time."""


class WeighsCells(Protocol):
    """A model of the ability ``"weigh cells"``."""

    reading_layers: int
    """Layers in which cells read one another."""

    def cell_vectors(self, batch: CellBatch) -> Tensor:
        """Return the cells before they read each other, ``(n, width)``."""

    def weigh_cells(self, vectors: Tensor) -> list[LayerReading]:
        """Return what the cells of one tissue read of one another in each such layer."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked: which cells, and how those that they were read with are told."""

    group: NDArray[np.int64]
    """``(cells,)``: group of each asked cell, -1 for the others."""
    n_groups: int
    """Number of groups."""
    label: NDArray[np.int64] | None
    """``(cells,)``: label of each cell, if it is told by these."""
    n_labels: int
    """Number of labels."""
    intervals: Intervals | None
    """Intervals of distances, if it is told by these."""
    n_top: int
    """Cells that are named for each asked cell, which is then a group of its own."""
    layers: Sequence[int]
    """Layers of the model over which weights are averaged, from 0."""


@dataclass(eq=False)
class Sums:
    """Sums over the cells of each of ``g`` groups, of shares that sum to one for a cell."""

    weight: NDArray[np.float64]
    """``(g, k)``: share of what a cell reads, by kind of the cells that it reads."""
    cells: NDArray[np.float64]
    """``(g, k)``: share of its tissue's cells."""

    @staticmethod
    def empty(groups: int, kinds: int) -> Sums:
        """Return sums over nothing."""
        return Sums(np.zeros((groups, kinds)), np.zeros((groups, kinds)))

    def add(self, group: NDArray[np.int64], weight: Tensor, cells: Tensor) -> None:
        """Add asked cells, ``(a, k)`` or, for all of them, ``(k,)``."""
        np.add.at(self.weight, group, weight.double().cpu().numpy())
        np.add.at(self.cells, group, np.broadcast_to(cells.double().cpu().numpy(), weight.shape))


@dataclass(eq=False)
class Found:
    """What was found, for ``g`` groups."""

    n_cells: NDArray[np.int64]
    """``(g,)``: asked cells."""
    strength: NDArray[np.float64]
    """``(g,)``: sum over cells of how long what they read is beside their own vector."""
    labels: Sums
    """By label."""
    distances: Sums
    """By interval of distances."""
    top: dict[int, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int]] = field(
        default_factory=dict
    )
    """Of groups of one cell the cells that it read most, their weights and distances, and the size of its tissue."""


def read_context(
    model: WeighsCells, cells: CellReader, question: Question, device: torch.device, *, progress: bool
) -> Found:
    """Return what the asked cells were read with; a tissue is in memory at a time, its weights only in part."""
    tissues = asked_tissues(cells.tissue, question.group)
    needed = np.zeros(len(cells), dtype=bool)
    for tissue in tissues:
        needed[tissue] = True
    asked = int((question.group >= 0).sum())
    with ProgressBar(total=int(needed.sum()) + asked, desc="Weighing", unit=" cells", disable=not progress) as bar:
        vectors = _vectors(model, cells, needed, device, bar)
        kinds = 0 if question.intervals is None else len(question.intervals.names)
        found = Found(
            np.bincount(question.group[question.group >= 0], minlength=question.n_groups),
            np.zeros(question.n_groups),
            Sums.empty(question.n_groups, question.n_labels),
            Sums.empty(question.n_groups, kinds),
        )
        place = needed.cumsum() - 1
        for tissue in tissues:
            _add_tissue(model, vectors[torch.from_numpy(place[tissue]).to(device)], tissue, question, found, bar)
    return found


def asked_tissues(tissue: NDArray[np.int64], group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the cells of each tissue that has an asked cell."""
    return [np.flatnonzero(tissue == one) for one in np.unique(tissue[group >= 0])]


def _vectors(
    model: WeighsCells, cells: CellReader, needed: NDArray[np.bool_], device: torch.device, bar: ProgressBar
) -> Tensor:
    """The vectors of the needed cells before they read each other, in their order."""
    send, found = DeviceSender(device), []
    for part in runs(0, len(cells), CELLS_READ):
        chosen = torch.from_numpy(np.flatnonzero(needed[part]))
        if len(chosen):
            found.append(model.cell_vectors(send(cells.read(part.start, part.stop).select(chosen))))
        bar.update(len(chosen))
    return torch.cat(found)


def _add_tissue(
    model: WeighsCells, vectors: Tensor, tissue: NDArray[np.int64], question: Question, found: Found, bar: ProgressBar
) -> None:
    """Add the asked cells of one tissue."""
    every = model.weigh_cells(vectors)
    layers = [every[one] for one in question.layers]
    group = question.group[tissue]
    asked = np.flatnonzero(group >= 0)
    strength = torch.stack([layer.strength for layer in layers]).double().mean(0).cpu().numpy()
    np.add.at(found.strength, group[asked], strength[asked])
    pairs = question.intervals is not None or question.n_top > 0
    places = torch.from_numpy(asked).to(vectors.device)
    if question.label is not None:
        kinds = functional.one_hot(torch.from_numpy(question.label[tissue]), question.n_labels).float()
        kinds = kinds.to(vectors.device)
        for run in places.split(CELLS_SUMMED):
            weight = torch.stack([shares(layer.weights.by_kind(run, kinds)) for layer in layers]).mean(0)
            found.labels.add(group[run.cpu().numpy()], weight, kinds.mean(0))
            bar.update(0 if pairs else len(run))
    if pairs:
        for run in layers[0].weights.runs(places):
            weight = torch.stack([shares(layer.weights.of(run)) for layer in layers]).mean(0)
            _add_pairs(weight, run.cpu().numpy(), tissue, question, found)
            bar.update(len(run))


def _add_pairs(
    weight: Tensor, asked: NDArray[np.int64], tissue: NDArray[np.int64], question: Question, found: Found
) -> None:
    """Add the weights of a tissue's cells in some of them, ``(a, n)``."""
    group, distance = question.group[tissue[asked]], None
    if question.intervals is not None:
        interval, distance = question.intervals.between(tissue[asked], tissue, weight.device)
        kinds = found.distances.weight.shape[1]
        sums = weight.new_zeros(len(asked), kinds).scatter_add_(1, interval, weight)
        number = weight.new_zeros(len(asked), kinds).scatter_add_(1, interval, torch.ones_like(weight))
        found.distances.add(group, sums, number / len(tissue))
    if question.n_top:
        most, which = weight.topk(min(question.n_top, len(tissue)), dim=1)
        far = torch.full_like(most, torch.nan) if distance is None else distance.gather(1, which)
        for one, cells, shared, away in zip(
            group, which.cpu().numpy(), most.cpu().numpy(), far.cpu().numpy(), strict=True
        ):
            found.top[int(one)] = (tissue[cells], shared.astype(np.float64), away.astype(np.float64), len(tissue))
