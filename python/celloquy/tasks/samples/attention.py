"""Gated attention over the cells of a sample.

Ilse et al. 2018, Attention-based Deep Multiple Instance Learning, eq. 9.
A sample is the mean of its cells, weighed by how much each of them matters, and a linear layer reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from celloquy.tasks.samples.cells import SampleCells

Matrix = NDArray[np.float64]
HIDDEN: Final = 8
"""Width of the gate."""
STEPS: Final = 100
RATE: Final = 0.02
DECAY: Final = 0.1
"""Weight decay; with a few tens of samples the training loss reaches 0 without it."""
CELLS: Final = 200
"""Cells of a sample that are learned from, at most; all are read afterwards."""


@dataclass(frozen=True, eq=False)
class Attention:
    """A reading by attention; every field is an array, which is what is saved.

    Attributes
    ----------
    centre, scale
        ``(width,)`` and ``(1,)``: the embedding of a cell is centred and scaled.
    signal, gate
        ``(width, hidden)``: how much a cell matters is ``tanh(x · signal) * sigmoid(x · gate) · head``.
    head
        ``(hidden,)``.
    weights, offset
        ``(width, k)`` and ``(k,)``, of the linear layer.
    usual
        ``(k,)``: mean score of the samples that were learned from.
    """

    name: ClassVar[str] = "attention"
    centre: Matrix
    scale: Matrix
    signal: Matrix
    gate: Matrix
    head: Matrix
    weights: Matrix
    offset: Matrix
    usual: Matrix

    @classmethod
    def learned(
        cls, cells: SampleCells, rows: NDArray[np.int64], labels: NDArray[np.generic], classes: int, seed: int
    ) -> Self:
        """Return what some samples teach.

        Parameters
        ----------
        cells, rows
            The cells, and the samples to learn from.
        labels
            ``(rows,)``: classes from 0, or numbers of mean 0 and variance 1.
        classes
            Number of classes; 0 for numbers.
        seed
            Seed of the first weights.
        """
        drawn = cells.some_of(rows, CELLS)
        values = cells.vectors[np.concatenate(drawn)].astype(np.float64)
        bag = torch.from_numpy(np.repeat(np.arange(len(rows)), [len(one) for one in drawn]))
        centre = values.mean(0)
        scale = np.array([float(np.sqrt(((values - centre) ** 2).sum(1).mean())) or 1.0])
        read = torch.from_numpy((values - centre) / scale).float()
        told = torch.from_numpy(labels.astype(np.int64 if classes else np.float32))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pooling = _Pooling(values.shape[1], max(1, classes))
        optimiser = torch.optim.AdamW(pooling.parameters(), lr=RATE, weight_decay=DECAY)
        for _ in range(STEPS):
            scores = pooling(read, bag, len(rows))
            loss = cross_entropy(scores, told) if classes else mse_loss(scores[:, 0], told)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            usual = pooling(read, bag, len(rows)).mean(0)
        parts = [pooling.signal, pooling.gate, pooling.head, pooling.weights, pooling.offset, usual]
        return cls(centre, scale, *(one.detach().double().numpy() for one in parts))

    def scores(self, cells: SampleCells) -> Matrix:
        """Return the scores of samples, ``(samples, k)``."""
        share, own = self._cells(cells)
        total = np.zeros((len(cells.names), own.shape[1]))
        kept = cells.sample >= 0
        np.add.at(total, cells.sample[kept], share[kept, None] * own[kept])
        return total

    def evidence(self, cells: SampleCells) -> Matrix:
        """Return what each cell adds to the score of its sample, less that of the usual one, ``(cells, k)``."""
        share, own = self._cells(cells)
        return np.asarray(share[:, None] * (own - self.usual))

    def _cells(self, cells: SampleCells) -> tuple[Matrix, Matrix]:
        """Weight of each cell in its sample, ``(cells,)``, and its score, ``(cells, k)``."""
        values = (cells.vectors - self.centre) / self.scale
        matters = (np.tanh(values @ self.signal) / (1 + np.exp(-values @ self.gate))) @ self.head
        kept = cells.sample >= 0
        highest = np.full(len(cells.names), -np.inf)
        np.maximum.at(highest, cells.sample[kept], matters[kept])
        share = np.where(kept, np.exp(matters - highest[cells.sample]), 0.0)
        share /= np.bincount(cells.sample[kept], share[kept], len(cells.names))[cells.sample]
        return share, values @ self.weights + self.offset


class _Pooling(nn.Module):
    """The network while it is trained."""

    def __init__(self, width: int, k: int) -> None:
        super().__init__()
        self.signal = nn.Parameter(torch.randn(width, HIDDEN))
        self.gate = nn.Parameter(torch.randn(width, HIDDEN))
        self.head = nn.Parameter(torch.randn(HIDDEN) / HIDDEN**0.5)
        self.weights = nn.Parameter(torch.zeros(width, k))
        self.offset = nn.Parameter(torch.zeros(k))

    def forward(self, cells: Tensor, bag: Tensor, bags: int) -> Tensor:
        """Return the scores of bags, ``(bags, k)``."""
        matters = (torch.tanh(cells @ self.signal) * torch.sigmoid(cells @ self.gate)) @ self.head
        highest = torch.full((bags,), -torch.inf).scatter_reduce(0, bag, matters.detach(), "amax")
        share = (matters - highest[bag]).exp()
        total = torch.zeros(bags).index_add(0, bag, share)
        weighted = (share / total[bag])[:, None] * cells
        return torch.zeros(bags, cells.shape[1]).index_add(0, bag, weighted) @ self.weights + self.offset
