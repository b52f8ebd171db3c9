"""How to train: what a user may choose, its defaults by the number of cells, and the run itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, NoReturn

import torch
from lightning_fabric import Fabric

from celloquy.errors import ArgumentError
from celloquy.models.compute import Precision, choose_device, choose_precision
from celloquy.training.loop import Examples, Objective, Record, Training, train

STEPS = 480
"""Optimisation steps of a training, by default; fewer than 10 epochs are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a user may choose of a training, checked."""

    epochs: int | None = None
    """Passes over the cells; by default by their number, more for few."""
    batch_size: int | None = None
    """Cells of an optimisation step; by default a quarter of them, between 64 and 2,000."""
    learning_rate: float | None = None
    """The highest learning rate; by default 5e-4 for a width of 128 and less for wider models."""
    weight_decay: float = 0.01
    """Of AdamW, on weight matrices."""
    validation: float = 0.1
    """Share of the cells, of every batch alike, that tell which epoch is the best; 0 takes the last."""
    patience: int | None = 30
    """Epochs without a better validation after which training ends; None never ends it."""
    precision: Precision = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide."""
    device: str = "auto"
    """``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one."""
    seed: int = 0
    """Of everything that is drawn at random: the same seed gives the same result, bit for bit, on one machine."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("seed", 0)):
            number = getattr(self, name)
            if number is None and name != "seed":
                continue
            if not isinstance(number, Integral) or int(number) < least:
                _refuse(name, number, f"a whole number of at least {least}")
        for name, most in (("learning_rate", 1.0), ("weight_decay", 1.0), ("validation", 0.9)):
            share, above = getattr(self, name), name == "learning_rate"
            if share is None and above:
                continue
            if not isinstance(share, Real) or not 0 <= float(share) <= most or (above and not share):
                _refuse(name, share, f"a number {'above' if above else 'from'} 0 and up to {most:g}")

    def hardware(self, width: int) -> tuple[torch.device, Literal["float32", "bfloat16"]]:
        """Return where and in which precision a model of a width is computed."""
        device = choose_device(self.device)
        return device, choose_precision(self.precision, device, width)

    def cells_a_step(self, cells: int) -> int:
        """Return the batch size for a number of cells."""
        return self.batch_size or min(2000, max(64, math.ceil(cells / 4)))

    def training(
        self, cells: int, width: int, slower: Mapping[str, float] | None = None, *, steps: int = STEPS
    ) -> Training:
        """Return what the loop is told for a number of cells and a width of the model; see :class:`Training`."""
        steps_an_epoch = math.ceil(cells / self.cells_a_step(cells))
        return Training(
            epochs=self.epochs or min(240, max(10, round(steps / steps_an_epoch))),
            learning_rate=self.learning_rate or 5e-4 * math.sqrt(128 / width),
            weight_decay=self.weight_decay,
            patience=self.patience,
            slower=slower or {},
        )

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let torch draw from the seed, and leave its own generator as it is."""
        device = choose_device(self.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            yield

    def run(
        self,
        objective: Objective,
        examples: Examples,
        training: Training,
        on_epoch: Callable[[list[Record], bool], None] = lambda _records, _better: None,
    ) -> list[Record]:
        """Train, and leave the objective on the CPU, in evaluation mode, with the weights of its best epoch."""
        device = choose_device(self.device)
        fabric = Fabric(accelerator=device.type, devices=[device.index or 0] if device.type == "cuda" else 1)
        try:
            return train(objective, examples, training, fabric=fabric, progress=self.progress, on_epoch=on_epoch)
        finally:
            objective.cpu().eval()


USUAL = Fitting()
"""Cells that are held out tell which epoch is the best."""


def _refuse(name: str, found: object, expected: str) -> NoReturn:
    raise ArgumentError(
        f"`{name}` can't be used.",
        found=repr(found),
        expected=expected,
        remedy=f"change `{name}`, or leave it out.",
    )
