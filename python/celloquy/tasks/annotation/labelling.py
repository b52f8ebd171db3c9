"""The labels of cells as results: the most probable one or unknown, its probability, and those of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from celloquy import keys
from celloquy.data.tables import Table
from celloquy.tasks.results import deliver

if TYPE_CHECKING:
    from anndata import AnnData


def label_results(
    probability: np.ndarray, novelty: np.ndarray, known: np.ndarray, labels: Sequence[str], top_k: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return columns of ``obs`` and tables of ``obsm``, by their usual keys.

    Parameters
    ----------
    probability
        ``(cells, labels)``.
    novelty
        ``(cells,)``, from 0 to 1.
    known
        ``(cells,)`` bool; the others are unknown.
    labels
        Names of the labels.
    top_k
        Number of the most probable labels to give, too.
    """
    names = [*labels, keys.UNKNOWN]
    label = pd.Categorical.from_codes(
        np.where(known, probability.argmax(1), len(labels)), categories=pd.Index(names)
    )  # fmt: skip
    obs = {
        keys.LABEL: label.remove_unused_categories(),
        keys.CONFIDENCE: probability.max(1),
        keys.NOVELTY: novelty,
    }
    obsm = {keys.PROBABILITY: Table(probability, list(labels))}
    if top_k is not None:
        order = np.argsort(-probability, axis=1, kind="stable")[:, :top_k]
        obsm[keys.TOP] = Table(order.astype(np.int32), [str(k + 1) for k in range(top_k)], list(labels))
    return obs, obsm


def deliver_labels(
    adata: AnnData, obs: Mapping[str, Any], obsm: Mapping[str, Any], record: dict[str, Any], prefix: str, *, copy: bool
) -> AnnData | None:
    """Write such results under a prefix, see :func:`celloquy.tasks.results.deliver`."""
    obs, obsm = ({keys.prefixed(key, prefix): value for key, value in results.items()} for results in (obs, obsm))
    return deliver(adata, obs=obs, obsm=obsm, record=record, key=keys.prefixed(keys.LABEL, prefix), copy=copy)
