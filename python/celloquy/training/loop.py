"""The one training loop: epochs, learning rate, validation, early stopping, and the weights of the best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from celloquy.errors import ArgumentError
from celloquy.runtime.progress import ProgressBar
from celloquy.training.measures import Means, Waiting
from celloquy.training.snapshots import Snapshot, Snapshots

EpochRecord = dict[str, float]
"""Record of an epoch: ``epoch``, the parts of the loss, ``validation``, ``learning_rate``, ``seconds``, and ``waited``,
the share of that time in which the model waited for its cells."""


class Batch(Protocol):
    """One argument of an objective for a minibatch, such as its cells, its mask or its labels."""

    def __len__(self) -> int:
        """Number of cells."""
        ...

    def to(self, device: torch.device, /) -> Any:
        """Return the argument on another device."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the optimiser: a minibatch, or those of its parts that one of several processes computes."""

    n_cells: int
    """Number of cells of all parts."""
    parts: Sequence[tuple[Batch, ...]]
    """Arguments of the objective for each part."""
    noise: Sequence[int] = ()
    """Seed of torch's generator for each part, if its noise is to be the same in any process."""


class TrainingData(Protocol):
    """The cells of a training in minibatches."""

    def __len__(self) -> int:
        """Number of training cells."""
        ...

    @property
    def held_out(self) -> int:
        """Number of held-out cells."""
        ...

    def epoch(self, number: int, rank: int, processes: int, first: int, /) -> Iterator[Step]:
        """Yield the steps of an epoch, from number ``first`` on, each with its parts for one of several processes."""
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
    snapshots: Snapshots | None = None,
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
    snapshots
        Snapshots of the training; it goes on from the last one, if there is one.

    Raises
    ------
    ArgumentError
        If the loss is no longer finite.
    """
    loop = _Loop(objective, data, schedule, fabric, snapshots)
    total = schedule.epochs * len(data)
    bar = ProgressBar(total=total, desc="Training", unit=" cells", unit_scale=True, disable=not progress)
    try:
        if snapshots is not None and (snapshot := snapshots.load()) is not None:
            loop.restore(snapshot)
            bar.update(loop.epoch * len(data) + loop.n_cells)
            if loop.records:
                on_epoch(loop.records, False)
        while loop.epoch < schedule.epochs and not loop.has_lost_patience():
            better = loop.run_epoch(bar)
            on_epoch(loop.records, better)
            bar.set_postfix(loop.shown(), refresh=False)
            loop.keep_snapshot()
    finally:
        bar.close()
        if loop.best_weights:
            objective.load_state_dict(loop.best_weights)
    return loop.records


class _Loop:
    """A module and its optimiser, on their device, and how far the training is."""

    def __init__(
        self,
        objective: Objective,
        data: TrainingData,
        schedule: Schedule,
        fabric: Fabric,
        snapshots: Snapshots | None,
    ) -> None:
        self.data, self.schedule, self.fabric = data, schedule, fabric
        self.snapshots = snapshots
        groups = _groups(objective, schedule)
        if not groups:
            raise ArgumentError(
                "There is nothing left to train.",
                found="a model of which every weight is frozen",
                expected="a task that trains weights of its own, or a model that is not frozen",
                remedy="leave `freeze_encoder` out.",
                argument="freeze_encoder",
            )
        self.objective = objective.to(fabric.device)
        self.optimizer = torch.optim.AdamW(groups, fused=fabric.device.type in ("cpu", "cuda"))
        self.average_norm = 0.0
        """Average norm of the gradient so far."""
        self.epoch, self.step, self.n_cells = 0, 0, 0
        """Number of whole epochs that are done, and of steps and cells of the epoch in which the training is."""
        self.means = Means()
        """Figures of these cells, or of those of them that this process has computed."""
        self.records: list[EpochRecord] = []
        self.rate = 0.0
        """Learning rate of the last step."""
        self.best, self.best_epoch = math.inf, 0
        self.best_weights: dict[str, Tensor] = {}

    def run_epoch(self, bar: ProgressBar) -> bool:
        """Train to the end of the epoch, and return whether it is the best so far."""
        start = time.perf_counter()
        record: EpochRecord = {"epoch": self.epoch + 1, **self._learn(bar)}
        if self.data.held_out:
            record["validation"] = self._validate()
        record["seconds"] = round(time.perf_counter() - start, 3)
        self.records.append(record)
        score = record.get("validation", -math.inf)
        better = score < self.best or not self.data.held_out
        if better:
            self.best, self.best_epoch = score, self.epoch
            self.best_weights = {name: tensor.clone() for name, tensor in self.objective.state_dict().items()}
        self.epoch, self.step, self.n_cells, self.means = self.epoch + 1, 0, 0, Means()
        return better

    def has_lost_patience(self) -> bool:
        """Return whether too many epochs have brought nothing better."""
        patience = self.schedule.patience
        return patience is not None and self.epoch - 1 - self.best_epoch >= patience

    def shown(self) -> dict[str, object]:
        """Return what the progress bar shows of the last epoch."""
        record = self.records[-1]
        shown: dict[str, object] = {name: f"{record[name]:.4g}" for name in ("loss", "validation") if name in record}
        return shown | {"waited": f"{record['waited']:.0%}"}

    def keep_snapshot(self) -> None:
        """Keep a snapshot, if the last one is old enough."""
        if self.snapshots is None:
            return
        # The first process decides, because the clocks of several differ.
        if self.fabric.broadcast(self.snapshots.due()):
            snapshot = self._snapshot()
            if self.fabric.is_global_zero:
                self.snapshots.save(snapshot)

    def _snapshot(self) -> Snapshot:
        names = ("average_norm", "epoch", "step", "n_cells", "rate", "records", "best", "best_epoch")
        means = self.means.of_all(self.fabric)
        values = {name: getattr(self, name) for name in names} | {"means": means.totals, "computed": means.n_cells}
        parts: dict[str, Mapping[Any, Tensor]] = {
            "weights": self.objective.state_dict(),
            "best": self.best_weights,
            "random": {"cpu": torch.get_rng_state()},
            **{f"optimizer.{number}": state for number, state in self.optimizer.state_dict()["state"].items()},
        }
        if self.fabric.device.type == "cuda":
            parts["random"] = {**parts["random"], "cuda": torch.cuda.get_rng_state(self.fabric.device)}
        # A weight and its best value so far may share memory, which safetensors does not allow.
        tensors = {f"{part}.{key}": value.clone() for part, found in parts.items() for key, value in found.items()}
        return Snapshot(values, tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        values, device = dict(snapshot.values), self.fabric.device
        totals, computed, _ = values.pop("means"), values.pop("computed"), values.pop("parts")
        if self.fabric.is_global_zero:
            self.means = Means(totals, computed)
        for name, value in values.items():
            setattr(self, name, value)
        self.objective.load_state_dict(snapshot.part("weights"))
        self.best_weights = snapshot.part("best")
        known: dict[str, Any] = dict(self.optimizer.state_dict())
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in snapshot.part("optimizer").items():
            number, key = name.split(".")
            states.setdefault(int(number), {})[key] = tensor
        known["state"] = states
        self.optimizer.load_state_dict(known)
        torch.set_rng_state(snapshot.tensors["random.cpu"])
        if "random.cuda" in snapshot.tensors:
            torch.cuda.set_rng_state(snapshot.tensors["random.cuda"], device)

    def _learn(self, bar: ProgressBar) -> EpochRecord:
        """Train on what is left of the epoch; return the means of its figures, and the learning rate."""
        self.objective.train()
        fabric = self.fabric
        waiting = Waiting(self.data.epoch(self.epoch, fabric.global_rank, fabric.world_size, self.step))
        for step in waiting:
            done = self.epoch + self.n_cells / len(self.data)
            # Where inputs are weighted, the epochs differ a little in their number of cells.
            self.objective.progress = min(1.0, done / self.schedule.epochs)
            self.rate = self._rate(self.objective.progress)
            self._compute_gradient(step)
            self._update()
            self.step, self.n_cells = self.step + 1, self.n_cells + step.n_cells
            bar.update(step.n_cells)
            bar.set_postfix_str(f"waited={waiting.share:.0%}", refresh=False)
            self.keep_snapshot()
        means = self.means.of_all(fabric).means()
        return means | {"learning_rate": self.rate, "waited": round(waiting.share, 4)}

    def _compute_gradient(self, step: Step) -> None:
        """Sum the gradients of the parts of a step over all processes, as that of the mean over the step's cells."""
        for number, inputs in enumerate(step.parts):
            if step.noise:
                torch.manual_seed(step.noise[number])
            figures = self.objective(*(one.to(self.fabric.device) for one in inputs))
            n_cells = len(inputs[0])
            (figures["loss"] * (n_cells / step.n_cells)).backward()
            self.means.add(figures, n_cells)
        if self.fabric.world_size > 1:
            trained = [one for one in self.objective.parameters() if one.requires_grad]
            # A process without a part, or a weight that no part reads, has no gradient.
            flat = torch.cat([(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in trained])
            torch.distributed.all_reduce(flat)
            for one, gradient in zip(trained, flat.split([one.numel() for one in trained]), strict=True):
                one.grad = gradient.view_as(one)

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the mean loss of the held-out cells."""
        self.objective.eval()
        means = Means()
        for inputs in self.data.validation(self.fabric.global_rank, self.fabric.world_size):
            figures = self.objective(*(one.to(self.fabric.device) for one in inputs))
            means.add(figures, len(inputs[0]))
        return means.of_all(self.fabric).means()["loss"]

    def _rate(self, progress: float) -> float:
        """Return the learning rate at a share of the training that is done, from 0 to 1."""
        warmup, highest = self.schedule.warmup, self.schedule.learning_rate
        if progress < warmup:
            return highest * (progress + 0.01) / (warmup + 0.01)
        return highest * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))

    def _update(self) -> None:
        """Update the weights by the clipped gradient."""
        limit = self.schedule.clip * self.average_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.objective.parameters(), limit).item()
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
            group["lr"] = self.rate * group["factor"]
        self.optimizer.step()
        self.optimizer.zero_grad()


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
