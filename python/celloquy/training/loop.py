"""The one training loop: epochs, learning rate, validation, early stopping, and the weights of the best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from celloquy.errors import ArgumentError
from celloquy.runtime.progress import ProgressBar

EpochRecord = dict[str, float]
"""Record of an epoch: ``epoch``, the parts of the loss, ``validation``, ``learning_rate`` and ``seconds``."""


class Batch(Protocol):
    """One argument of an objective for a minibatch, such as its cells, its mask or its labels."""

    def __len__(self) -> int:
        """Number of cells."""
        ...

    def to(self, device: torch.device, /) -> Any:
        """Return the argument on another device."""
        ...


class TrainingData(Protocol):
    """The cells of a training in minibatches; each minibatch is the arguments of an objective."""

    def __len__(self) -> int:
        """Number of training cells."""
        ...

    @property
    def held_out(self) -> int:
        """Number of held-out cells."""
        ...

    def epoch(self, number: int, rank: int, processes: int, /) -> Iterator[tuple[Batch, ...]]:
        """Yield the minibatches of an epoch for one of several processes."""
        ...

    def validation(self, rank: int, processes: int, /) -> Iterator[tuple[Batch, ...]]:
        """Yield the held-out minibatches for one of several processes."""
        ...


class Objective(nn.Module):
    """A module that is trained: it returns ``loss`` and other figures for a minibatch, all means over its cells."""

    progress: float = 1.0
    """Share of the training that is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The settings that the loop follows."""

    epochs: int
    """Passes over the cells."""
    learning_rate: float
    """Highest learning rate."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, on weight matrices only; biases, norms and tables of vectors have none."""
    warmup: float = 0.1
    """Share of the training in which the learning rate rises linearly; then it falls to 0 along a cosine."""
    clip: float = 2.0
    """Largest norm of the gradient, in units of its average norm so far; a larger gradient is clipped."""
    patience: int | None = None
    """Number of epochs without a better validation loss after which training ends; None never ends it early."""
    learning_rate_factors: Mapping[str, float] = field(default_factory=dict)
    """Factors of the learning rate by the start of the name of a parameter; 0 freezes the parameter."""


def train(
    objective: Objective,
    data: TrainingData,
    schedule: Schedule,
    *,
    fabric: Fabric,
    progress: bool,
    on_epoch: Callable[[list[EpochRecord], bool], None],
) -> list[EpochRecord]:
    """Train a module, and leave it with the weights of its best epoch, even if the training is interrupted.

    Parameters
    ----------
    objective
        Module to train, which holds the model.
    data
        Minibatches of the training and held-out cells.
    schedule
        Settings of the training.
    fabric
        Device and processes of the training.
    progress
        Show a progress bar.
    on_epoch
        Function that is called after every epoch, with the records so far and whether this epoch is the best.

    Raises
    ------
    ArgumentError
        If the loss is no longer finite.
    """
    loop = _Loop(objective, data, schedule, fabric)
    records: list[EpochRecord] = []
    best, best_epoch, weights = math.inf, 0, None
    total = schedule.epochs * len(data)
    bar = ProgressBar(total=total, desc="Training", unit=" cells", unit_scale=True, disable=not progress)
    try:
        for epoch in range(schedule.epochs):
            start = time.perf_counter()
            record: EpochRecord = {"epoch": epoch + 1, **loop.learn(epoch, bar)}
            if data.held_out:
                record["validation"] = loop.validate()
            record["seconds"] = round(time.perf_counter() - start, 3)
            records.append(record)
            score = record.get("validation", -math.inf)
            better = score < best or not data.held_out
            if better:
                best, best_epoch = score, epoch
                weights = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
            on_epoch(records, better)
            bar.set_postfix(
                {name: f"{record[name]:.4g}" for name in ("loss", "validation") if name in record}, refresh=False
            )
            if schedule.patience is not None and epoch - best_epoch >= schedule.patience:
                break
    finally:
        bar.close()
        if weights is not None:
            objective.load_state_dict(weights)
    return records


class _Loop:
    """A module and its optimiser, on their device."""

    def __init__(self, objective: Objective, data: TrainingData, schedule: Schedule, fabric: Fabric) -> None:
        self.original, self.data, self.schedule, self.fabric = objective, data, schedule, fabric
        groups = _groups(objective, schedule)
        if not groups:
            raise ArgumentError(
                "There is nothing left to train.",
                found="a model of which every weight is frozen",
                expected="a task that trains weights of its own, or a model that is not frozen",
                remedy="leave `freeze_encoder` out.",
                argument="freeze_encoder",
            )
        optimizer = torch.optim.AdamW(groups, fused=fabric.device.type in ("cpu", "cuda"))
        self.objective: _FabricModule
        self.optimizer: _FabricOptimizer
        self.objective, self.optimizer = fabric.setup(objective, optimizer)
        self.average_norm = 0.0
        """Average norm of the gradient so far."""

    def learn(self, epoch: int, bar: ProgressBar) -> EpochRecord:
        """Train on all cells once; return the means of the figures of the objective, and the learning rate."""
        self.objective.train()
        means = _Means()
        done = 0
        for inputs in self.data.epoch(epoch, self.fabric.global_rank, self.fabric.world_size):
            n_cells = len(inputs[0])
            self.original.progress = (epoch + done / len(self.data)) / self.schedule.epochs
            rate = self._rate(self.original.progress)
            figures = self.objective(*(one.to(self.fabric.device) for one in inputs))
            self.fabric.backward(figures["loss"])
            self._step(rate)
            means.add(figures, n_cells)
            done += n_cells * self.fabric.world_size
            bar.update(n_cells * self.fabric.world_size)
        return means.over_processes(self.fabric) | {"learning_rate": rate}

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss of the held-out cells."""
        self.objective.eval()
        means = _Means()
        for inputs in self.data.validation(self.fabric.global_rank, self.fabric.world_size):
            figures = self.objective(*(one.to(self.fabric.device) for one in inputs))
            means.add(figures, len(inputs[0]))
        return means.over_processes(self.fabric)["loss"]

    def _rate(self, progress: float) -> float:
        """Return the learning rate at a share of the training that is done, from 0 to 1."""
        warmup, highest = self.schedule.warmup, self.schedule.learning_rate
        if progress < warmup:
            return highest * (progress + 0.01) / (warmup + 0.01)
        return highest * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))

    def _step(self, rate: float) -> None:
        """Update the weights by the clipped gradient."""
        limit = self.schedule.clip * self.average_norm or math.inf
        clipped = self.fabric.clip_gradients(self.objective, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        assert clipped is not None
        norm = clipped.item()
        if not math.isfinite(norm):
            raise ArgumentError(
                "Training diverged: the loss is not finite any more.",
                found=f"learning rate {self.schedule.learning_rate:g}",
                expected="a learning rate at which the loss falls",
                remedy="pass a smaller `learning_rate`, or precision='float32'.",
                argument="learning_rate",
            )
        average = self.average_norm
        self.average_norm = 0.95 * average + 0.05 * min(norm, limit) if average else norm
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        self.optimizer.zero_grad()


class _Means:
    """Means of figures over the cells of many minibatches."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.n_cells = 0

    def add(self, figures: dict[str, Tensor], n_cells: int) -> None:
        """Add the means of a minibatch."""
        for name, mean in figures.items():
            self.totals[name] = self.totals.get(name, 0) + mean.detach().double() * n_cells
        self.n_cells += n_cells

    def over_processes(self, fabric: Fabric) -> EpochRecord:
        """Return the means over the minibatches of all processes."""
        n_cells = _sum(torch.tensor(float(self.n_cells)), fabric)
        return {name: _sum(total, fabric) / n_cells for name, total in self.totals.items()}


def _sum(value: Tensor, fabric: Fabric) -> float:
    """Return the sum of a number over the processes."""
    total = fabric.all_reduce(value, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.item()


def _groups(objective: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the parameters in groups of one weight decay and one factor of the learning rate."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for prefix, module in objective.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}"
            factors = schedule.learning_rate_factors.items()
            factor = next((factor for start, factor in factors if full.startswith(start)), 1.0)
            decay = schedule.weight_decay if isinstance(module, nn.Linear) and name == "weight" else 0.0
            # Frozen parameters have no gradient, so that the norm is that of the trained parameters.
            parameter.requires_grad_(factor > 0)
            groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
        if factor
    ]
