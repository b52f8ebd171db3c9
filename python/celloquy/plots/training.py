"""Plots of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def loss(history: pd.DataFrame) -> Figure:
    """Draw the loss of training and held-out cells by epoch, and the epoch that was kept.

    Parameters
    ----------
    history
        History of a training: ``history_`` of a task, or ``history`` of a pretrained model.

    Raises
    ------
    ArgumentError
        If the history has no loss.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.pretrain(adata)
    >>> cq.plots.loss(model.history).savefig("loss.png")
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    require(history, "loss", "the history", "history")
    figure, axis = plt.subplots(figsize=(6, 3.5))
    axis.plot(history["epoch"], history["loss"], label="training")
    if "validation" in history:
        axis.plot(history["epoch"], history["validation"], label="held-out cells")
        axis.axvline(
            history["epoch"].iloc[int(history["validation"].argmin())], color="grey", linestyle=":", label="kept"
        )
    axis.set(xlabel="epoch", ylabel="loss, nats a cell")
    # There are no halves of an epoch.
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
