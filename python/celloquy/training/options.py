"""Training options: the choices of a user, and their defaults by the number of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from celloquy.checks import check_number, check_whole_number, refuse
from celloquy.training.loop import Schedule


@dataclass(frozen=True, slots=True)
class Pace:
    """How a training goes where a user leaves that open."""

    steps: int
    """Number of optimisation steps; a training has at least 10 epochs."""
    steps_an_epoch: int
    """Number of minibatches of an epoch, as far as their bounds of 64 and 2,000 cells allow."""
    learning_rate: float
    """Highest learning rate for a width of 128; it falls with the square root of the width."""


TASKS = Pace(steps=480, steps_an_epoch=4, learning_rate=5e-4)
"""For models that a task trains on the user's cells."""

PRETRAINING = Pace(steps=400, steps_an_epoch=8, learning_rate=1e-3)
"""For :func:`celloquy.pretrain` and :func:`celloquy.denoise`, which trains the same way: two fifths of the passes, in
smaller minibatches, reach the same loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The choices of a user for a training; every verb that trains takes them as ``training``.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.pretrain(adata, training=cq.TrainingOptions(learning_rate=1e-3, patience=None))
    """

    epochs: int | None = None
    """Number of passes over the cells; the default depends on the number of cells, with more passes for fewer cells."""
    batch_size: int | None = None
    """Number of cells of a minibatch; by default a quarter of the cells, in pretraining and denoising an eighth, but
    64 to 2,000."""
    cells_per_sentence: int | None = None
    """Largest number of cells of a tissue that are read together; by default that of a minibatch. A larger tissue is
    cut into sentences anew in every epoch."""
    parts: int | None = None
    """Number of parts that a minibatch is computed in, one after the other or by several processes; by default that of
    the processes. The result depends on the number of parts, because no tissue is read across them, but not on who
    computes them; more parts take less memory."""
    learning_rate: float | None = None
    """Highest learning rate; by default 5e-4 for a width of 128, in pretraining and denoising 1e-3, and less for wider
    models. A pretrained model is fine-tuned by 5e-4."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, on weight matrices only."""
    validation: float = 0.1
    """Share of the cells, the same of every experimental batch, that is held out to find the best epoch; 0 takes the
    last epoch."""
    patience: int | None = 30
    """Number of epochs without a better validation loss after which training ends; None never ends it early."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "cells_per_sentence", "parts", "patience"):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name), least=1)
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate, most=1, exclude_least=True)
        check_number("weight_decay", self.weight_decay, most=1)
        check_number("validation", self.validation, most=0.9)
        # Numbers of numpy become those of Python, which JSON can hold.
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.generic):
                object.__setattr__(self, name, value.item())

    def cells_a_step(self, n_cells: int, pace: Pace = TASKS) -> int:
        """Return the number of cells of a minibatch, for a number of cells in all."""
        return self.batch_size or min(2000, max(64, math.ceil(n_cells / pace.steps_an_epoch)))

    def schedule(
        self, n_cells: int, width: int, learning_rate_factors: Mapping[str, float] | None = None, *, pace: Pace = TASKS
    ) -> Schedule:
        """Return the schedule of the loop for a number of cells and the width of a model.

        Parameters
        ----------
        n_cells, width
            Number of cells, and width of the model.
        learning_rate_factors
            Factors of the learning rate by the start of the name of a parameter; 0 freezes the parameter.
        pace
            What holds where an option is None.
        """
        steps_an_epoch = math.ceil(n_cells / self.cells_a_step(n_cells, pace))
        return Schedule(
            epochs=self.epochs or min(240, max(10, round(pace.steps / steps_an_epoch))),
            learning_rate=self.learning_rate or pace.learning_rate * math.sqrt(128 / width),
            weight_decay=self.weight_decay,
            patience=self.patience,
            learning_rate_factors=learning_rate_factors or {},
        )


ALL_CELLS = TrainingOptions(validation=0.0, patience=None)
"""Options that hold no cell out: each cell will be predicted, and masks keep the model from memorising cells."""


def choose_options(
    training: TrainingOptions | None, epochs: int | None, default: TrainingOptions | None = None
) -> TrainingOptions:
    """Return the options of a call: the given or else the default ones, with ``epochs`` of the call if it is not None.

    Raises
    ------
    ArgumentError
        If ``training`` is not a :class:`TrainingOptions`, or an option is out of bounds.
    """
    if training is not None and not isinstance(training, TrainingOptions):
        refuse("training", training, "a celloquy.TrainingOptions")
    options = training or default or TrainingOptions()
    return options if epochs is None else replace(options, epochs=epochs)
