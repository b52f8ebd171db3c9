"""Plots of responses to perturbations: measured, predicted, and how well what was hidden was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from celloquy.errors import ArgumentError, some
from celloquy.plots.missing import require

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.figure import Figure

SIGNIFICANT = 0.05
"""False discovery rate below which a gene is coloured in a volcano."""
UP, DOWN, OTHER = "#b2182b", "#2166ac", "0.75"


def response_changes(held_out: AnnData, *, conditions: str | Sequence[str] | None = None, n: int = 6) -> Figure:
    """Draw the measured change of each gene against the predicted one, of conditions that were hidden.

    Parameters
    ----------
    held_out
        ``held_out_`` of a :class:`celloquy.ResponsePredictor`.
    conditions
        Names of conditions in its ``obs_names``; by default those that change the most.
    n
        Number of conditions by default, at most.

    Returns
    -------
    The figure, a panel for each condition; save it with ``figure.savefig("changes.png")``.

    Raises
    ------
    ArgumentError
        If it is no such object, nothing was hidden, or there is no such condition.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.ResponsePredictor(perturbation_key="gene", control="control").fit(adata)
    >>> cq.plots.response_changes(predictor.held_out_).savefig("changes.png")
    """
    import matplotlib.pyplot as plt

    require(held_out.layers, "predicted", "held_out.layers", "held_out")
    _refuse_empty(held_out)
    observed, predicted = np.asarray(held_out.X), np.asarray(held_out.layers["predicted"])
    if conditions is None:
        rows = np.argsort(-(observed**2).sum(1), kind="stable")[:n].tolist()
    else:
        rows = [_row(held_out, name, "held_out") for name in _listed(conditions)]
    wide = min(3, len(rows))
    high = -(-len(rows) // wide)
    figure, axes = plt.subplots(
        high, wide, figsize=(2.7 * wide + 0.6, 2.7 * high + 0.3), squeeze=False, layout="constrained"
    )
    for axis, row in zip(axes.flat, rows, strict=False):
        ends = [min(predicted[row].min(), observed[row].min()), max(predicted[row].max(), observed[row].max())]
        axis.plot(ends, ends, color="grey", linestyle="--", linewidth=1)
        axis.plot(predicted[row], observed[row], ".", markersize=3)
        about = held_out.obs.iloc[row]
        told = _folded(f"{about['situation']}, r = {about['correlation']:.2f}", 32)
        axis.set_title(f"{held_out.obs_names[row]}\n{told}", fontsize=8)
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    figure.supxlabel("predicted change")
    figure.supylabel("measured change")
    return figure


def response_volcano(response: AnnData, condition: str, *, n: int = 10) -> Figure:
    """Draw how far each gene changes under a condition against how sure that is.

    Parameters
    ----------
    response
        ``measured_`` of a :class:`celloquy.ResponsePredictor`, or what it predicts. What was measured is set against
        −log10 p, of a normal test of the change by its standard error; genes with a false discovery rate below .05 are
        coloured. What was predicted is set against its size in half intervals; above 1 the interval leaves out 0.
    condition
        One of its ``obs_names``.
    n
        Number of coloured genes that are named, at most, the surest first; none over another name.

    Returns
    -------
    The figure.

    Raises
    ------
    ArgumentError
        If it is no such object, there is no such condition, or it has no error or interval.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.ResponsePredictor(perturbation_key="gene", control="control").fit(adata)
    >>> cq.plots.response_volcano(predictor.measured_, "STAT1").savefig("volcano.png")
    """
    import matplotlib.pyplot as plt

    row = _row(response, condition, "response")
    change = _row_of(response, "change", row)
    if "error" in response.layers:
        sure, found = _tested(change, _row_of(response, "error", row))
        label = "−log10 p"
    else:
        require(response.layers, "upper", "response.layers", "response")
        width = np.nan_to_num(_row_of(response, "upper", row) - change)
        sure = np.divide(np.abs(change), width, out=np.zeros_like(change), where=width > 0)
        found, label = sure > 1, "size of the change, in half intervals"
    if not (sure > 0).any():
        raise ArgumentError(
            f"Nothing is known of how sure the changes under {condition!r} are.",
            found="no standard error and no interval above 0",
            expected="a condition of several cells, or of a situation in which some were hidden",
            remedy="choose another condition.",
            argument="condition",
        )
    figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
    for chosen, colour in ((~found, OTHER), (found & (change > 0), UP), (found & (change < 0), DOWN)):
        axis.plot(change[chosen], sure[chosen], ".", color=colour, markersize=4)
    if label != "−log10 p":
        axis.axhline(1, color="0.7", linestyle="--", linewidth=1)
    axis.margins(x=0.2)
    for at in _apart(change, np.where(found, sure, 0.0))[:n]:
        side = 3 if change[at] > 0 else -3
        axis.annotate(
            str(response.var_names[at]), (change[at], sure[at]), (side, 2), textcoords="offset points", fontsize=7,
            horizontalalignment="left" if side > 0 else "right",
        )  # fmt: skip
    axis.set(xlabel="change", ylabel=label, title=condition)
    return figure


def dose_curve(
    response: AnnData,
    genes: str | Sequence[str],
    perturbation: str,
    *,
    context: str | None = None,
    measured: AnnData | None = None,
) -> Figure:
    """Draw the change of genes along the dose of a perturbation.

    Parameters
    ----------
    response
        What a :class:`celloquy.ResponsePredictor` predicts at several doses; bars are its intervals.
    genes
        Names of genes, a colour each.
    perturbation
        Name of the perturbation.
    context
        Name of the context; by default the first.
    measured
        ``measured_`` of the predictor, which is drawn as points with one standard error to either side.

    Returns
    -------
    The figure.

    Raises
    ------
    ArgumentError
        If it is no such object, or the gene, the perturbation or the context is not there.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.ResponsePredictor(perturbation_key="drug", control="control", dose_key="dose").fit(adata)
    >>> response = predictor.predict("JQ1", doses=[0.1, 0.3, 1.0])
    >>> cq.plots.dose_curve(response, "CST3", "JQ1").savefig("doses.png")
    """
    import matplotlib.pyplot as plt

    for layer in ("change", "lower", "upper"):
        require(response.layers, layer, "response.layers", "response")
    listed = _listed(genes)
    if missing := [gene for gene in listed if gene not in response.var_names]:
        raise ArgumentError(
            "Some genes are not there.",
            found=some(missing),
            expected="names in response.var_names, such as " + some(response.var_names[:3]),
            remedy="correct the names.",
            argument="genes",
        )
    own = response.obs["perturbation"].astype(str) == perturbation
    if context is None and own.any():
        context = str(response.obs.loc[own, "context"].iloc[0])
    predicted = _series(response, perturbation, context)
    if not len(predicted):
        raise ArgumentError(
            "This was not predicted.",
            found=repr(perturbation) + (f" in {context!r}" if context else ""),
            expected="one of " + some(map(repr, dict.fromkeys(response.obs["perturbation"].astype(str)))),
            remedy="correct `perturbation` or `context`, or predict it.",
            argument="perturbation",
        )
    seen = None if measured is None else _series(measured, perturbation, context)
    figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axis.axhline(0, color="0.8", linewidth=1)
    for number, gene in enumerate(listed):
        colour, at = f"C{number % 10}", response.var_names.get_loc(gene)
        dose = predicted["dose"].to_numpy(dtype=np.float64)
        change, lower, upper = (
            np.asarray(response.layers[layer])[predicted.index, at] for layer in ("change", "lower", "upper")
        )
        axis.plot(dose, change, "-", color=colour, label=gene)
        # Bars, as doses that were measured have no interval, which would tear a band.
        axis.vlines(dose, lower, upper, color=colour, alpha=0.25, linewidth=4)
        if measured is not None and seen is not None:
            there = measured.var_names.get_loc(gene)
            heights, errors = (np.asarray(measured.layers[one])[seen.index, there] for one in ("change", "error"))
            axis.errorbar(seen["dose"], heights, errors, fmt="o", color=colour, markersize=4, linewidth=1)
    axis.set(xscale="log", xlabel="dose", ylabel="change", title=" in ".join(filter(None, (perturbation, context))))
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def response_reliability(held_out: AnnData) -> Figure:
    """Draw how well conditions that were hidden are told.

    Parameters
    ----------
    held_out
        ``held_out_`` of a :class:`celloquy.ResponsePredictor`.

    Returns
    -------
    The figure. On the left the correlation of the predicted with the measured change by situation, with its mean; on
    the right against the size of the predicted change (root mean square over genes), by which a prediction's
    ``reliability`` is told.

    Raises
    ------
    ArgumentError
        If it is no such object, or nothing was hidden.

    Examples
    --------
    >>> import celloquy as cq
    >>> predictor = cq.ResponsePredictor(perturbation_key="gene", control="control").fit(adata)
    >>> cq.plots.response_reliability(predictor.held_out_).savefig("reliability.png")
    """
    import matplotlib.pyplot as plt

    require(held_out.layers, "predicted", "held_out.layers", "held_out")
    _refuse_empty(held_out)
    situation = held_out.obs["situation"].astype(str).to_numpy()
    correlation = held_out.obs["correlation"].to_numpy(dtype=np.float64)
    size = np.sqrt((np.asarray(held_out.layers["predicted"], dtype=np.float64) ** 2).mean(1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
    names = list(dict.fromkeys(situation))
    # Points of one situation lie beside one another, always the same way.
    random = np.random.default_rng(0)
    for number, name in enumerate(names):
        own = situation == name
        left.plot(number + random.uniform(-0.2, 0.2, own.sum()), correlation[own], ".", color=f"C{number}")
        left.plot([number - 0.3, number + 0.3], [correlation[own].mean()] * 2, color="black")
        right.plot(size[own], correlation[own], ".", color=f"C{number}", label=f"{name} ({own.sum()})")
    left.set_xticks(range(len(names)), [_folded(name, 10) for name in names], fontsize=7)
    left.set(ylabel="correlation with the measured change", xlim=(-0.5, len(names) - 0.5))
    right.set(xlabel="size of the predicted change")
    for axis in (left, right):
        axis.axhline(0, color="0.8", linewidth=1, zorder=0)
    right.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _tested(change: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """−log10 p of each change, and which are found by Benjamini and Hochberg's rule."""
    from scipy.stats import false_discovery_control, norm

    z = np.divide(np.abs(change), error, out=np.zeros_like(change), where=error > 0)
    # By logarithms, as p itself is below what a float holds.
    sure = -(norm.logsf(z) + np.log(2)).clip(max=0) / np.log(10)
    return sure, false_discovery_control(10**-sure) < SIGNIFICANT


def _apart(across: np.ndarray, up: np.ndarray) -> list[int]:
    """Places of the points above 0, the highest first, whose names have room beside those before."""
    kept: list[int] = []
    wide, high = 0.15 * np.ptp(across), 0.04 * up.max()
    for at in np.argsort(-up, kind="stable")[: int((up > 0).sum())].tolist():
        beside = np.abs(across[kept] - across[at]) < wide
        if not (beside & (np.abs(up[kept] - up[at]) < high)).any():
            kept.append(at)
    return kept


def _series(response: AnnData, perturbation: str, context: str | None) -> pd.DataFrame:
    """Rows of a perturbation in a context, along the dose; their index is the place of each."""
    obs = response.obs.reset_index(drop=True)
    own = (obs["perturbation"].astype(str) == perturbation) & (obs["context"].astype(str) == (context or ""))
    return obs[own].sort_values("dose")


def _row(response: AnnData, condition: str, argument: str) -> int:
    if condition not in response.obs_names:
        raise ArgumentError(
            f"There is no condition {condition!r}.",
            found=repr(condition),
            expected=f"a name in {argument}.obs_names, such as {some(map(repr, response.obs_names[:5]))}",
            remedy="correct the name.",
            argument="condition" if argument == "response" else "conditions",
        )
    return int(np.flatnonzero(response.obs_names == condition)[0])


def _row_of(response: AnnData, layer: str, row: int) -> np.ndarray:
    require(response.layers, layer, "response.layers", "response")
    return np.asarray(response.layers[layer][row], dtype=np.float64)


def _refuse_empty(held_out: AnnData) -> None:
    if not held_out.n_obs:
        raise ArgumentError(
            "No condition was hidden.",
            found="a predictor that learned from too few conditions to hide some",
            expected="conditions that can be told from others",
            remedy="fit it to more perturbations, contexts or doses.",
            argument="held_out",
        )


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _folded(text: str, width: int) -> str:
    from textwrap import fill

    return fill(text, width, break_long_words=False)
