"""The trainer: training options with device, precision and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from celloquy.checks import check_whole_number
from celloquy.runtime.hardware import Precision, choose_device, choose_precision
from celloquy.runtime.processes import start_processes
from celloquy.training.loop import EpochRecord, Objective, Schedule, TrainingData, train
from celloquy.training.options import TrainingOptions
from celloquy.training.snapshots import Snapshots

LARGEST_SEED = 2**32 - 1
"""Largest seed that all generators of random numbers take: torch's, NumPy's, scikit-learn's."""

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains an objective with the options of a call."""

    options: TrainingOptions = field(default_factory=TrainingOptions)
    """Training options."""
    precision: Precision = "auto"
    """Precision of the matrix products: ``"float32"``, ``"bfloat16"``, or ``"auto"``, which takes bfloat16 if the
    hardware has it and the model is wide."""
    device: str = "auto"
    """Device: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``, which takes a GPU if there is one."""
    seed: int = 0
    """Seed of all draws: the same seed gives the same result, bit for bit, on one machine with as many threads."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        check_whole_number("seed", self.seed, least=0, most=LARGEST_SEED)

    def hardware(self, width: int) -> tuple[torch.device, Literal["float32", "bfloat16"]]:
        """Return the device, and the precision for the width of a model."""
        device = choose_device(self.device)
        return device, choose_precision(self.precision, device, width)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Let torch draw from the seed, and restore the state of its own generator afterwards."""
        device = choose_device(self.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield

    def run(
        self,
        objective: Objective,
        data: TrainingData,
        schedule: Schedule,
        on_epoch: Callable[[list[EpochRecord], bool], None] = lambda _records, _better: None,
        snapshots: Snapshots | None = None,
        processes: Fabric | None = None,
    ) -> list[EpochRecord]:
        """Train, and leave the objective on the CPU, in evaluation mode, with the weights of its best epoch."""
        fabric = processes or start_processes(choose_device(self.device), devices=1, num_nodes=1)
        try:
            return train(
                objective, data, schedule, fabric=fabric, progress=self.progress and fabric.is_global_zero,
                on_epoch=on_epoch, snapshots=snapshots,
            )  # fmt: skip
        finally:
            objective.cpu().eval()
