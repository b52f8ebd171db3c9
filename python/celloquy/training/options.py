"""Training options: what a user may choose of a training, and its defaults by the number of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from celloquy.checks import check_number, check_whole_number, refuse
from celloquy.training.loop import Schedule

STEPS = 480
"""Optimisation steps of a training, by default; fewer than 10 epochs are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a user may choose of a training; every verb that trains takes it as ``training``.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.pretrain(adata, training=cq.TrainingOptions(learning_rate=1e-3, patience=None))
    """

    epochs: int | None = None
    """Passes over the cells; by default by their number, more for few."""
    batch_size: int | None = None
    """Cells of an optimisation step; by default a quarter of them, between 64 and 2,000. A larger tissue is cut into
    sentences anew in every epoch."""
    learning_rate: float | None = None
    """Highest learning rate; by default 5e-4 for a width of 128 and less for wider models (1.8e-4 for ``"base"``)."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, on weight matrices only."""
    validation: float = 0.1
    """Share of the cells, of every batch alike, that is held out and tells which epoch is the best; 0 takes the last
    epoch."""
    patience: int | None = 30
    """Epochs without a better validation after which training ends; None never ends it early."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name), least=1)
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate, most=1, exclude_least=True)
        check_number("weight_decay", self.weight_decay, most=1)
        check_number("validation", self.validation, most=0.9)

    def cells_a_step(self, n_cells: int) -> int:
        """Return the batch size for a number of cells."""
        return self.batch_size or min(2000, max(64, math.ceil(n_cells / 4)))

    def schedule(
        self, n_cells: int, width: int, learning_rate_factors: Mapping[str, float] | None = None, *, steps: int = STEPS
    ) -> Schedule:
        """Return the schedule of the loop for a number of cells and the width of a model.

        Parameters
        ----------
        n_cells, width
            Number of cells, and width of the model.
        learning_rate_factors
            Start of a parameter's name → factor of its learning rate; 0 freezes the parameter.
        steps
            Optimisation steps, roughly, where no epochs are asked for.
        """
        steps_an_epoch = math.ceil(n_cells / self.cells_a_step(n_cells))
        return Schedule(
            epochs=self.epochs or min(240, max(10, round(steps / steps_an_epoch))),
            learning_rate=self.learning_rate or 5e-4 * math.sqrt(128 / width),
            weight_decay=self.weight_decay,
            patience=self.patience,
            learning_rate_factors=learning_rate_factors or {},
        )


ALL_CELLS = TrainingOptions(validation=0.0, patience=None)
"""No cell is held out: each is to be predicted, and masks keep the model from learning cells by heart."""


def choose_options(
    training: TrainingOptions | None, epochs: int | None, usual: TrainingOptions | None = None
) -> TrainingOptions:
    """Return the options of a call: those given, else the usual ones, with the call's own ``epochs`` if there are any.

    Raises
    ------
    ArgumentError
        If ``training`` is no :class:`TrainingOptions`, or an option is out of bounds.
    """
    if training is not None and not isinstance(training, TrainingOptions):
        refuse("training", training, "a celloquy.TrainingOptions")
    options = training or usual or TrainingOptions()
    return options if epochs is None else replace(options, epochs=epochs)
