"""Networks known from experiments, their expression, and the scores of BEELINE (Pratapa et al. 2020).

A pair of a regulator that has a target in the truth and another gene of the universe is a candidate. A pair that a
method does not name scores below all others, also where a gene was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

KINDS = ("string", "chip_nonspecific", "chip_specific")
LEAST_EDGES = 20


@dataclass(frozen=True)
class Truth:
    """A network known from experiments."""

    name: str
    edges: frozenset[tuple[str, str]]
    """Regulator and target, in capitals."""
    genes: tuple[str, ...]
    """The universe, in capitals."""

    @property
    def regulators(self) -> list[str]:
        """Regulators that have a target."""
        return sorted({regulator for regulator, _ in self.edges})

    @cached_property
    def candidates(self) -> np.ndarray:
        """``(regulators, genes)`` bool: pairs that may be edges."""
        return np.array(self.regulators, dtype=object)[:, None] != np.array(self.genes, dtype=object)

    @cached_property
    def labels(self) -> np.ndarray:
        """``(candidates,)`` bool: those that are edges."""
        return self._matrix(*zip(*self.edges, strict=True), True, False)[self.candidates]

    def shuffled(self, seed: int) -> np.ndarray:
        """Return the labels of the network whose genes change their names."""
        names = dict(zip(self.genes, np.random.default_rng(seed).permutation(self.genes), strict=True))
        pairs = [(a, names[b]) for a, b in self.edges]
        return self._matrix(*zip(*pairs, strict=True), True, False)[self.candidates]

    def values_of(self, edges: pd.DataFrame) -> np.ndarray:
        """Return the score of each candidate, ``(candidates,)``; nan for those that are not named."""
        ends = (edges[end].str.upper() for end in ("regulator", "target"))
        return self._matrix(*ends, edges["score"].to_numpy(dtype=np.float64), np.nan)[self.candidates]

    def _matrix(self, regulators: object, targets: object, values: object, otherwise: object) -> np.ndarray:
        rows = pd.Index(self.regulators).get_indexer(pd.Index(regulators))
        columns = pd.Index(self.genes).get_indexer(pd.Index(targets))
        inside = (rows >= 0) & (columns >= 0)
        found = np.full(self.candidates.shape, otherwise)
        found[rows[inside], columns[inside]] = np.broadcast_to(values, rows.shape)[inside]
        return found


@dataclass(frozen=True)
class DataSet:
    """Expression, candidates and the truths that apply."""

    name: str
    cells: ad.AnnData
    normalised: bool
    regulators: list[str]
    targets: list[str]
    truths: list[Truth]


def data_sets(folder: Path) -> list[DataSet]:
    """Return the data sets; FOLDER has the folder ``grn``."""
    grn = folder / "grn"
    truth, sets = (pd.read_parquet(grn / f"beeline_{part}.parquet") for part in ("truth", "gene_sets"))
    scode = pd.read_parquet(grn / "scode_reference.parquet")
    cells = {name: ad.read_h5ad(grn / f"{name}_expression.h5ad") for name in NAMES}
    found = []
    dendritic = cells["mdc_shalek"]
    truths = [of_beeline(truth, sets, "mDC", kind, size) for size in (500, 1000) for kind in KINDS]
    factors = sorted(set(sets[(sets["cell_type"] == "mDC") & sets["is_tf"]]["gene"]) & set(dendritic.var_names))
    found.append(DataSet("mdc_shalek", dendritic, True, factors, list(dendritic.var_names), truths))
    for name, kind in (("hesc_chu_tf100", "hESC"), ("mef_treutlein_tf100", "")):
        genes = [gene.upper() for gene in cells[name].var_names]
        own = scode[scode["set"] == name]
        truths = [limited(f"{name}, footprints", own, genes)]
        if kind:
            truths += [
                limited(f"{name}, {one}", truth[(truth["cell_type"] == kind) & (truth["kind"] == one)], genes)
                for one in KINDS
            ]
        names = list(cells[name].var_names)
        found.append(DataSet(name, cells[name], True, names, names, usable(truths)))
    marrow = cells["bone_marrow_mca"]
    measured = {gene.upper(): gene for gene in marrow.var_names}
    known = sets[(sets["cell_type"] == "mHSC-E") & (sets["genes"] == 1000)]
    genes = sorted(set(known["gene"].str.upper()) & set(measured))
    truths = [
        limited(f"bone_marrow_mca, {one}", truth[(truth["cell_type"] == "mHSC-E") & (truth["kind"] == one)], genes)
        for one in KINDS
    ]
    factors = [gene for gene in marrow.uns["regulators"] if gene in set(marrow.var_names)]
    factors += [measured[one] for truth in truths for one in truth.regulators]
    targets = [measured[gene] for gene in genes]
    found.append(DataSet("bone_marrow_mca", marrow, False, list(dict.fromkeys(factors)), targets, usable(truths)))
    return found


NAMES = ("mdc_shalek", "hesc_chu_tf100", "mef_treutlein_tf100", "bone_marrow_mca")


def of_beeline(truth: pd.DataFrame, sets: pd.DataFrame, cell_type: str, kind: str, size: int) -> Truth:
    """Return a truth of BEELINE with its own universe."""
    rows = (
        one[(one["cell_type"] == cell_type) & (one["kind"] == kind) & (one["genes"] == size)] for one in (truth, sets)
    )
    edges, genes = rows
    return limited(f"mdc_shalek, {kind}, {size}", edges, genes["gene"].str.upper())


def limited(name: str, edges: pd.DataFrame, genes: pd.Series | list[str]) -> Truth:
    """Return the edges between genes of a universe, without self-loops."""
    inside = set(genes)
    pairs = zip(edges["tf"].str.upper(), edges["target"].str.upper(), strict=True)
    kept = frozenset((a, b) for a, b in pairs if a in inside and b in inside and a != b)
    return Truth(name, kept, tuple(sorted(inside)))


def usable(truths: list[Truth]) -> list[Truth]:
    """Return the truths that have enough edges to score."""
    return [one for one in truths if len(one.edges) >= LEAST_EDGES]


def scored(edges: pd.DataFrame, truth: Truth) -> dict[str, float]:
    """Return the ratio of AUPRC to chance, that of early precision, and the chance.

    Parameters
    ----------
    edges
        ``regulator``, ``target`` and ``score``.
    truth
        The network.
    """
    values = truth.values_of(edges)
    return ratios(truth.labels, np.where(np.isnan(values), np.nanmin(values, initial=0) - 1, values))


def ratios(labels: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Return the scores of candidates whose values are known."""
    chance = labels.mean()
    return {
        "AUPRC ratio": average_precision_score(labels, values) / chance,
        "EPR": early_precision(labels, values) / chance,
        "chance": chance,
        "edges": int(labels.sum()),
    }


def early_precision(labels: np.ndarray, values: np.ndarray) -> float:
    """Return the precision of the first k pairs, k the number of true ones; ties give the mean over their orders."""
    k = int(labels.sum())
    least = np.partition(values, len(values) - k)[len(values) - k]
    above, tied = values > least, values == least
    hits = labels[above].sum() + (k - above.sum()) * labels[tied].mean()
    return float(hits / k)
