"""Rank the genes whose change moves cells of one state toward another, beside what needs no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from os import PathLike
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from celloquy import keys
from celloquy.checks import check_choice, check_name, check_whole_number
from celloquy.data import CellColumns
from celloquy.data.columns import column
from celloquy.data.store import opened
from celloquy.errors import ArgumentError, GenesError, some
from celloquy.models import Model
from celloquy.runtime.hardware import Precision
from celloquy.tasks.gene_reading import labels_of
from celloquy.tasks.perturbation.baselines import simple_scores
from celloquy.tasks.perturbation.changes import GeneChange, How, check_how, direction_of
from celloquy.tasks.perturbation.matched import (
    LEAST_MATCHED,
    MatchedGenes,
    false_discovery,
    random_changes,
    standing_out,
)
from celloquy.tasks.perturbation.named import named_genes
from celloquy.tasks.perturbation.sample import ReadingOptions, SampledCells, sampled_cells
from celloquy.tasks.perturbation.shifts import embedded
from celloquy.tasks.perturbation.states import blocks_of, states_differ, way_between
from celloquy.tasks.perturbation.toward import Moves, moves_toward
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.results import with_provenance

if TYPE_CHECKING:
    from anndata import AnnData

EXPRESSED = 0.05
"""Share of the cells of a state that express a gene, from which on it is a candidate where none are named."""
PAIRED = 10
"""Best genes of which pairs are tried."""
T_WEIGHT = 20
"""Weight of the rank of t, of the simple way, against that of the cosine.

Chosen with perturbations of MCF-10A and factors of sorted blood cells, on which nothing is reported: of the weights
that rank known genes within a standard error of the best, the one nearest to t alone, which is not among them.
"""
ALIKE = 0.05
"""p of the states from which on they can't be told apart."""


def rank_drivers(
    adata: AnnData | str | PathLike[str],
    *,
    source: str,
    target: str,
    by: str,
    candidates: Iterable[str] | None = None,
    how: How | None = None,
    pairs: bool = False,
    model: Model | str | PathLike[str] = keys.CELLS_MINI,
    n_cells: int = 500,
    n_random: int = 50,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Rank the genes whose change moves cells of one state toward another.

    Each gene is deleted and overexpressed in the source cells, all else held, see :func:`celloquy.perturb`; the mean
    shift of their embedding is compared with the way from the mean source cell to the mean target cell. Simple scores
    stand beside: differential expression, the correlation of each gene with the way, its expression. The rank is mostly
    that of differential expression, which on known drivers does better than the model, which decides between genes that
    differ alike.

    Parameters
    ----------
    adata
        Cells, as :func:`celloquy.embed` takes them; they stay as they are.
    source, target
        Values of the column ``by``.
    by
        Column of ``obs`` with the states.
    candidates
        Genes to rank, by symbol or Ensembl id, such as transcription factors; by default all that 5 % of the source
        cells or of the target cells express. Those that the cells do not measure have no row.
    how
        As of :func:`celloquy.perturb`; by default both deletion and overexpression are tried.
    pairs
        Try pairs of the ten best genes, too, each changed in its own direction.
    model
        As of :func:`celloquy.perturb`; by default the factors of ``"cells-mini"``, which take seconds where
        ``"genes-mini"`` takes minutes.
    n_cells
        Cells of each state that are read, at most, drawn by ``seed``; so many are in memory.
    n_random
        Random genes to which a gene is compared, drawn from twice as many whose mean expression in both states is most
        alike.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, progress
        As of :func:`celloquy.embed`.
    seed
        Seed of the draws.

    Returns
    -------
    A table with a row for each gene, the best first; with ``pairs`` those of pairs follow, ranked by their cosine:

    ``rank``, ``gene``, ``direction``
        ``"up"`` if more of the gene leads to the target, else ``"down"``. The rank is that of the mean of two ranks, of
        ``cosine`` and, with twenty times its weight, of ``t``, each in the direction that has the better mean.
    ``cosine``, ``step``
        Cosine of the mean shift with the way, and the share of the way that the mean source cell is moved. NaN and 0
        if no cell is altered.
    ``z``, ``p``, ``q``
        How far the cosine stands out from that of random genes changed in the same direction; p is doubled where both
        directions were tried; q is the false discovery rate. They ask how unusual a gene's effect is among genes, not
        whether it is above zero. Genes are taken as independent, which those that are expressed together are not: many
        may then stand out together, or none, so that q is a guide and no guarantee.
    ``confidence``
        Probability that the move is toward the target, by the jackknife over ten blocks of cells.
    ``log_fold_change``, ``t``, ``correlation``, ``expression``
        The simple scores: target less source of the mean log1p of counts per 10,000, Welch's t, Pearson's r with the
        place of the cells on the way, mean counts per 10,000 over both states. NaN for pairs.
    ``n_cells``
        Source cells that are altered.
    ``states_p``
        p of a permutation test of whether the states differ at all, the same in every row. Above .05 there is no way
        to speak of: every ``q`` is then 1 and every ``confidence`` 0, and the order of the genes means nothing.

    ``attrs["celloquy"]`` says how the table was made.

    Raises
    ------
    ModelError, ArgumentError, GenesError, CountsError
        If the model can't read changed counts, a state is none of the column, both are the same or one has a single
        cell, a candidate is not known, none is measured or expressed (with the nearest names), or the cells can't be
        read.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.rank_drivers(adata, source="monocyte", target="dendritic", by="cell_type", candidates=["CST3", "LYZ"])
    """
    ways: tuple[How, ...] = ("overexpress", "delete") if how is None else (check_how(how),)
    check_choice("pairs", pairs, (True, False))
    check_whole_number("n_random", n_random, least=LEAST_MATCHED)
    columns = CellColumns(layer=layer, counts=counts, species=species)
    options = ReadingOptions(columns=columns, n_cells=n_cells, precision=precision, device=device, seed=seed)
    model = resolve_model(model)
    model.require(["read changed counts"], "`rank_drivers`")
    with opened(adata) as read:
        _check_states(column(read, by, "by", optional=False).astype(str), source, target, by)
        with sampled_cells(model, read, by, options, [source, target]) as cells:
            places = (
                _candidates(cells)
                if candidates is None
                else named_genes(cells, candidates, "candidates", least_one=True)
            )
            table = _Ranking(cells, places, ways, n_random, seed, progress).table(pairs=pairs)
    return with_provenance(
        table, "rank_drivers", model, source=source, target=target, by=by, how=how, pairs=pairs, n_cells=n_cells,
        n_random=n_random, seed=seed,
    )  # fmt: skip


class _Ranking:
    """The drivers among some genes: ``c`` genes, ``d`` directions."""

    def __init__(
        self,
        cells: SampledCells,
        places: NDArray[np.int64],
        ways: Sequence[How],
        n_random: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.cells, self.places, self.ways, self.seed, self.progress = cells, places, ways, seed, progress
        self.matched = MatchedGenes(cells.means, np.empty(0, dtype=np.int64), n_random, seed)
        self.is_target = cells.group == 1
        self.vectors = embedded(cells)
        self.states_p = states_differ(self.vectors, self.is_target, seed)
        self.block = np.empty(len(cells.group), dtype=np.int64)
        for state in (self.is_target, ~self.is_target):
            self.block[state.numpy()] = blocks_of(int(state.sum()), seed)

    def table(self, *, pairs: bool) -> pd.DataFrame:
        """Return the table of :func:`rank_drivers`."""
        changes = [GeneChange((int(place),), (way,)) for way in self.ways for place in self.places]
        moves, z, p = self._moves(changes)
        shape = (len(self.ways), len(self.places))
        simple = self._simple()
        sign = np.array([1.0 if direction_of(way) == "up" else -1.0 for way in self.ways])
        # Of each gene and direction the mean of the ranks of two scores; what no cell shows has the cosine 0.
        scores = np.nan_to_num(moves.cosine), np.outer(sign, dict(simple)["t"])
        ranks = [rankdata(one).reshape(shape) for one in scores]
        mean = np.average(ranks, axis=0, weights=(1, T_WEIGHT))
        best = mean.argmax(0)
        at = best * len(self.places) + np.arange(len(self.places))
        table = self._table([changes[one] for one in at], moves, z, p, at)
        for name, values in simple:
            table[name] = values
        order = np.lexsort((self.places, -mean.max(0)))
        table, best_genes = table.iloc[order].reset_index(drop=True), order[:PAIRED]
        if pairs and len(best_genes) > 1:
            chosen = [changes[at[one]] for one in sorted(best_genes)]
            table = pd.concat([table, self._pairs(chosen)], ignore_index=True)
        return self._ordered(table)

    def _pairs(self, genes: Sequence[GeneChange]) -> pd.DataFrame:
        """Rows of the pairs of some changes, the highest cosine first."""
        both = [GeneChange(a.places + b.places, a.how + b.how) for a, b in combinations(genes, 2)]
        moves, z, p = self._moves(both)
        every = np.arange(len(both))
        table = self._table(both, moves, z, p, every)
        return table.sort_values("cosine", ascending=False, kind="stable")

    def _moves(self, changes: Sequence[GeneChange]) -> tuple[Moves, NDArray[np.float64], NDArray[np.float64]]:
        """How changes move the source cells, and z and p of their cosines."""
        random = [random_changes(self.matched, change) for change in changes]
        every = list(dict.fromkeys([*changes, *(one for some in random for one in some)]))
        number = {change: place for place, change in enumerate(every)}
        moves = moves_toward(
            self.cells, every, self.vectors, self.is_target, self.block, progress=self.progress
        )  # fmt: skip
        found = [
            standing_out(float(moves.cosine[number[change]]), moves.cosine[[number[one] for one in others]])
            for change, others in zip(changes, random, strict=True)
        ]
        z, p = (np.array(one) for one in zip(*found, strict=True))
        own = np.array([number[change] for change in changes])
        parts = (one[own] for one in (moves.cosine, moves.step, moves.confidence, moves.n_cells))
        return Moves(*parts), z, np.minimum(1.0, p * len(self.ways))

    def _table(
        self,
        changes: Sequence[GeneChange],
        moves: Moves,
        z: NDArray[np.float64],
        p: NDArray[np.float64],
        at: NDArray[np.int64],
    ) -> pd.DataFrame:
        label = labels_of(self.cells.genes).to_numpy()
        differ = self.states_p <= ALIKE
        return pd.DataFrame({
            "rank": 0,
            "gene": ["+".join(label[list(change.places)]) for change in changes],
            "direction": ["+".join(map(direction_of, change.how)) for change in changes],
            "cosine": moves.cosine[at],
            "step": moves.step[at],
            "z": z[at],
            "p": p[at],
            "q": false_discovery(p[at]) if differ else np.ones(len(at)),
            "confidence": moves.confidence[at] if differ else np.zeros(len(at)),
            "n_cells": moves.n_cells[at],
        })  # fmt: skip

    def _simple(self) -> list[tuple[str, NDArray[np.float64]]]:
        """Names and values of the simple scores."""
        along = (self.vectors.double() @ way_between(self.vectors, self.is_target)).numpy()
        scores = simple_scores(self.cells.logged, self.is_target.numpy(), along)
        of_all = np.asarray(self.cells.scaled.mean(0)).ravel()
        values = (scores.log_fold_change, scores.t, scores.correlation, of_all)
        names = ("log_fold_change", "t", "correlation", "expression")
        return [(name, value[self.places]) for name, value in zip(names, values, strict=True)]

    def _ordered(self, table: pd.DataFrame) -> pd.DataFrame:
        single = ~table["gene"].str.contains("+", regex=False)
        table["rank"] = np.where(single, single.cumsum(), (~single).cumsum())
        table["states_p"] = self.states_p
        last = ["n_cells", "states_p"]
        return table[[*(name for name in table.columns if name not in last), *last]]


def _candidates(cells: SampledCells) -> NDArray[np.int64]:
    """Places of the genes that enough cells of a state express."""
    places = np.flatnonzero((cells.shares >= EXPRESSED).any(0)).astype(np.int64)
    if not len(places):
        raise GenesError(
            "No gene can be a driver.",
            found=f"none that {EXPRESSED:.0%} of the cells of a state express",
            expected="some that the model knows and the cells express",
            remedy="name `candidates`, or pass cells with more counts.",
            argument="candidates",
        )
    return places


def _check_states(names: pd.Series, source: object, target: object, by: str) -> None:
    for argument, state in (("source", source), ("target", target)):
        check_name(argument, state, f"a value of the column {by!r}")
        if state not in set(names):
            _refuse_state(argument, state, f"one of {some(sorted(names.unique()), 20)}")
    if source == target:
        _refuse_state("target", target, "another state than `source`")


def _refuse_state(argument: str, state: object, expected: str) -> NoReturn:
    raise ArgumentError(
        f"`{argument}` is no state to compare.",
        found=repr(state),
        expected=expected,
        remedy=f"change `{argument}`.",
        argument=argument,
    )
