"""Other ways to infer networks: GENIE3's arithmetic and PIDC's."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor

TREES = 30
MOST = 500
"""Cells that forests see, at most: they are grown to single cells, once for each target."""


def genie3(values: pd.DataFrame, regulators: list[str], targets: list[str], seed: int) -> pd.DataFrame:
    """Return edges by the importance of regulators in random forests (Huynh-Thu et al. 2010).

    With 30 trees and 500 cells at most, where GENIE3 has 1,000 trees and all cells.

    Parameters
    ----------
    values
        Cells × genes.
    regulators, targets
        Genes of either side.
    seed
        Seed of the trees, and of the cells that they see.
    """
    rows = []
    values = values.sample(min(MOST, len(values)), random_state=seed)
    for target in targets:
        others = [gene for gene in regulators if gene != target]
        goal = values[target].to_numpy()
        if goal.std() == 0:
            continue
        forest = RandomForestRegressor(TREES, max_features="sqrt", random_state=seed)
        forest.fit(values[others].to_numpy(), goal / goal.std())
        rows.append(pd.DataFrame({"regulator": others, "target": target, "score": forest.feature_importances_}))
    return pd.concat(rows, ignore_index=True)


def pidc(values: pd.DataFrame, regulators: list[str]) -> pd.DataFrame:
    """Return edges by proportional unique contributions (Chan, Stumpf and Babtie 2017).

    Values are binned in as many bins of equal width as the root of the number of cells, not by Bayesian blocks; a
    contribution is compared with those of either gene by its rank, not by a fitted distribution.
    """
    genes = [gene for gene in values.columns if values[gene].std() > 0]
    n_cells, n_bins = len(values), int(np.sqrt(len(values)))
    scaled = values[genes].to_numpy(dtype=np.float64)
    low, high = scaled.min(0), scaled.max(0)
    bins = np.minimum((scaled - low) / (high - low) * n_bins, n_bins - 1).astype(int)
    one_hot = np.zeros((n_cells, len(genes), n_bins), dtype=np.float32)
    one_hot[np.arange(n_cells)[:, None], np.arange(len(genes)), bins] = 1
    share = one_hot.mean(0)
    flat = one_hot.reshape(n_cells, -1)
    specific = np.zeros((len(genes), len(genes), n_bins), dtype=np.float32)
    for target in range(len(genes)):
        joint = (flat.T @ one_hot[:, target] / n_cells).reshape(len(genes), n_bins, n_bins)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Information of the source about each state of the target.
            gain = joint / share[target] * np.log(joint / (share[:, :, None] * share[target]))
        specific[target] = np.nan_to_num(gain, nan=0.0, posinf=0.0, neginf=0.0).sum(1)
    weighted = specific * share[:, None]
    information = weighted.sum(2)
    unique = np.zeros((len(genes), len(genes)))
    for target in range(len(genes)):
        redundant = np.zeros((len(genes), len(genes)), dtype=np.float32)
        for state in np.flatnonzero(share[target] > 0):
            column = weighted[target, :, state]
            redundant += np.minimum(column[:, None], column)
        left = information[target][:, None] - redundant
        unique[target] = (left.sum(1) - np.diag(left) - left[:, target]) / np.maximum(information[target], 1e-9)
    contribution = unique + unique.T
    np.fill_diagonal(contribution, -np.inf)
    confidence = rankdata(contribution, axis=0) + rankdata(contribution, axis=1)
    places = [genes.index(gene) for gene in regulators if gene in set(genes)]
    first, second = np.meshgrid(places, np.arange(len(genes)), indexing="ij")
    names = np.array(genes, dtype=object)
    table = pd.DataFrame(
        {"regulator": names[first.ravel()], "target": names[second.ravel()], "score": confidence[first, second].ravel()}
    )
    return table[table["regulator"] != table["target"]]
