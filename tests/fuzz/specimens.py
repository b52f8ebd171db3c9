"""Random cells: known counts, dressed with the oddities of real objects. A seed alone makes a specimen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import celloquy as cq
from judge import NoObject

SYMBOLS = (
    "CD3D CD3E CD3G CD4 CD8A CD8B MS4A1 CD79A CD79B CD19 NKG7 GNLY PRF1 GZMB GZMK LYZ S100A8 S100A9 CD14 FCGR3A MS4A7 "
    "FCER1A CST3 PPBP PF4 IL7R CCR7 SELL LEF1 TCF7 FOXP3 IL2RA CTLA4 TIGIT PDCD1 LAG3 HLA-DRA HLA-DRB1 CD74 JUN FOS "
    "ACTB GAPDH B2M MALAT1 RPL3 RPS6 EEF1A1"
).split()


class End(IntEnum):
    """What a call on a specimen may end with; of several oddities the greatest holds."""

    RESULT = 0
    """The result of the plain cells."""
    EITHER = 1
    """A result of the right form, or one of celloquy's errors."""
    REFUSAL = 2
    """One of celloquy's errors."""


@dataclass
class Specimen:
    """Cells whose counts are known, and how they are to be read."""

    random: np.random.Generator
    counts: sparse.csr_matrix
    """``(cells, columns)``, whole numbers in float64."""
    columns: list[str]
    """Ensembl id of each column; empty where it is no gene."""
    var: pd.DataFrame
    obs: pd.DataFrame
    obsm: dict[str, Any] = field(default_factory=dict)
    uns: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Any] = field(default_factory=dict)
    obsp: dict[str, Any] = field(default_factory=dict)
    varm: dict[str, Any] = field(default_factory=dict)
    raw: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    """Reading options."""
    ends: dict[str, End] = field(default_factory=dict)
    """The oddities, by name, and what each lets a call end with."""
    place: str = "X"
    form: Callable[[Any], Any] = sparse.csr_matrix
    finish: Callable[[Specimen, ad.AnnData], ad.AnnData] | None = None
    tissue: list[int] | None = None
    position: np.ndarray | None = None
    true_counts: sparse.csr_matrix | None = None
    """The counts, where the stored values are others that stand for them."""
    comparable: bool = True
    """Whether a result, if there is one, is that of the plain cells."""

    @property
    def end(self) -> End:
        """What a call may end with."""
        empty = End.REFUSAL if not self.shape[1] else End.EITHER if not self.counts.nnz else End.RESULT
        return max([*self.ends.values(), empty])

    @property
    def shape(self) -> tuple[int, int]:
        return self.counts.shape

    def take(self, cells: Any) -> None:
        """Keep some cells."""
        self.counts, self.obs = self.counts[cells], self.obs.iloc[cells].copy()
        if self.tissue is not None:
            self.tissue = np.asarray(self.tissue)[cells].tolist()
        self.obsm = {key: value[cells] for key, value in self.obsm.items()}

    def take_columns(self, columns: Any) -> None:
        """Keep some columns, some of them twice perhaps."""
        self.counts, self.var = self.counts[:, columns], self.var.iloc[columns].copy()
        self.columns = np.asarray(self.columns, dtype=object)[columns].tolist()

    def add_columns(self, counts: np.ndarray, ids: list[str], names: list[str]) -> None:
        """Append columns."""
        self.counts = sparse.csr_matrix(sparse.hstack([self.counts, sparse.csr_matrix(counts)]), dtype=np.float64)
        self.columns += ids
        added = pd.DataFrame({name: [None] * len(ids) for name in self.var}, index=pd.Index(names))
        self.var = pd.concat([self.var, added])

    def name_columns(self, names: list[str]) -> None:
        self.var.index = pd.Index(names, dtype=object)

    def plain(self) -> ad.AnnData:
        """The same cells as a plain object: known genes alone, sparse float32, Ensembl ids as names."""
        ids = list(dict.fromkeys(one for one in self.columns if one))
        place = {one: number for number, one in enumerate(ids)}
        known = [number for number, one in enumerate(self.columns) if one]
        counts = self.counts if self.true_counts is None else self.true_counts
        onto = sparse.csr_matrix(
            (np.ones(len(known)), (range(len(known)), [place[self.columns[one]] for one in known])),
            shape=(len(known), len(ids)),
        )
        cells = pd.DataFrame(index=pd.Index([f"cell{number}" for number in range(self.shape[0])]))
        adata = ad.AnnData(sparse.csr_matrix(counts[:, known] @ onto, dtype=np.float32), obs=cells)
        adata.var_names = ids
        if self.tissue is not None:
            adata.obs["tissue"] = pd.Categorical([f"t{one}" for one in self.tissue])
        if self.position is not None:
            adata.obsm["position"] = self.position
        return adata

    def plain_options(self) -> dict[str, Any]:
        """Reading options of the plain object."""
        tissue = {"tissue_key": "tissue"} if self.tissue is not None else {}
        return tissue | ({"spatial_key": "position"} if self.position is not None else {})

    def build(self) -> ad.AnnData:
        """The object, with all its oddities.

        Raises
        ------
        NoObject
            If anndata can't make it.
        """
        try:
            return self._build()
        except Exception as error:
            raise NoObject(f"{list(self.ends)}: {error}") from error

    def _build(self) -> ad.AnnData:
        matrix = self.form(self.counts)
        decoy = self.counts.log1p() * 0.37
        x, layers, raw = matrix, dict(self.layers), self.raw
        if self.place != "X":
            x = [decoy, decoy.toarray(), None][self.random.integers(3)]
            if self.place == "raw":
                raw, x = (matrix, self.var.copy()), decoy
            else:
                layers[self.place] = matrix
        adata = ad.AnnData(
            X=x, obs=self.obs, var=self.var, obsm=self.obsm, uns=self.uns, layers=layers, obsp=self.obsp,
            varm=self.varm,
        )  # fmt: skip
        if raw is not None:
            adata.raw = ad.AnnData(X=raw[0], var=raw[1], obs=self.obs[[]])
        return adata if self.finish is None else self.finish(self, adata)


@cache
def ids_of_symbols() -> tuple[str, ...]:
    """Ensembl ids of the genes."""
    return cq.identify_genes(SYMBOLS).ids


def bare(seed: int, cells: int | None = None) -> Specimen:
    """Make cells without an oddity: several batches, labels, tissues, positions."""
    random = np.random.default_rng(seed)
    n, genes = int(random.integers(2, 40)) if cells is None else cells, len(SYMBOLS)
    kind = random.integers(0, 3, n)
    means = np.random.default_rng(7).gamma(0.5, 3, size=(3, genes))
    counts = random.poisson(means[kind] * random.uniform(0.3, 2, size=(n, 1)))
    # Each cell has a count, so that a plain specimen is embedded by what it holds.
    counts[np.arange(n), random.integers(0, genes, n)] += 1
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{number % 2}" for number in range(n)], categories=["b0", "b1"]),
            "label": pd.Categorical.from_codes(kind, categories=["B cell", "T cell", "monocyte"]),
            "donor": random.integers(0, 3, n),
        },
        index=pd.Index([f"cell{number}" for number in range(n)]),
    )
    ids = list(ids_of_symbols())
    var = pd.DataFrame(index=pd.Index(ids))
    return Specimen(random, sparse.csr_matrix(counts, dtype=np.float64), ids, var, obs)


def dressed(seed: int, cells: int | None = None) -> Specimen:
    """Make cells with a few oddities, drawn by the seed."""
    import containers
    import oddities

    specimen = bare(seed, cells)
    random = specimen.random
    # Most specimens have few oddities, because one that is refused hides the others.
    share = random.choice([0.15, 0.3, 0.6])
    for stage in [*oddities.STAGES, *containers.STAGES]:
        if random.random() < share:
            oddity = stage[random.integers(len(stage))]
            end = oddity(specimen)
            specimen.ends[oddity.__name__] = End.RESULT if end is None else end
    return specimen
