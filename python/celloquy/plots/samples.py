"""Draw what is told of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celloquy.errors import ArgumentError
from celloquy.plots.missing import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def samples(table: pd.DataFrame) -> Figure:
    """Draw what is told of samples whose truth is known, against the truth.

    Of classes a panel for each: the probability of the class of each sample, by its truth. Of a number what is told
    over what is true, with its standard error.

    Parameters
    ----------
    table
        What :func:`celloquy.predict_samples` returned, or ``held_out_`` of a :class:`celloquy.SamplePredictor`.

    Raises
    ------
    ArgumentError
        If it is no such table, or no truth is known.

    Examples
    --------
    >>> import celloquy as cq
    >>> told = cq.predict_samples(adata, sample_key="patient", target="response")
    >>> cq.plots.samples(told).savefig("samples.png")
    """
    import matplotlib.pyplot as plt

    require(table, "truth", "the table", "table")
    known = table[table["truth"].notna()]
    if not len(known):
        raise ArgumentError(
            "There is no sample with a truth to draw.",
            found=f"{len(table):,} samples without one",
            expected="samples that were learned from, each told without itself",
            remedy="pass what cq.predict_samples() returned.",
            argument="table",
        )
    if "value" in table:
        figure, axis = plt.subplots(figsize=(4.2, 4), layout="constrained")
        truth = known["truth"].to_numpy(dtype=float)
        axis.errorbar(truth, known["value"], known["error"], fmt="o", ms=5, lw=0.8, color="#1f5f8b")
        ends = [truth.min(), truth.max()]
        axis.plot(ends, ends, color="grey", lw=0.8, ls="--")
        axis.set(xlabel="truth", ylabel="told, held out")
        return figure
    classes = [str(name).removeprefix("probability_") for name in table if str(name).startswith("probability_")]
    # Of two classes one says all.
    shown = classes[1:] if len(classes) == 2 else classes
    size = (2.2 + 0.8 * len(classes) * len(shown), 3.4)
    figure, axes = plt.subplots(1, len(shown), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, name in zip(axes.ravel().tolist(), shown, strict=True):
        for place, one in enumerate(classes):
            values = known.loc[known["truth"].astype(str) == one, f"probability_{name}"].sort_values().to_numpy()
            # Side by side, so that equal ones are seen.
            aside = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(len(values))
            axis.scatter(place + aside, values, s=24, color="#1f5f8b" if one == name else "grey")
        axis.axhline(1 / len(classes), color="grey", lw=0.8, ls="--")
        axis.set(title=name, xlabel="truth", ylim=(-0.03, 1.03), xticks=range(len(classes)), xticklabels=classes)
    axes[0, 0].set_ylabel("probability, held out")
    return figure
