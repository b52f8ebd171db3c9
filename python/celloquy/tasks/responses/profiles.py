"""What was measured: the mean expression of each condition, and its change against the control of its context."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celloquy.data import CellColumns
from celloquy.data.matrix import check_anndata
from celloquy.errors import ArgumentError, CountsError, FewCellsWarning, GenesError, some
from celloquy.runtime.progress import ProgressBar
from celloquy.tasks.responses.conditions import Condition, Naming
from celloquy.tasks.responses.reading import Values, dense, read_expression, squared

if TYPE_CHECKING:
    from anndata import AnnData

Matrix = NDArray[np.float64]
Group = tuple[Condition | None, str, str, int]
"""Condition, context, replicate, and half of the controls."""
FEW_CELLS: Final = 10
"""Cells of a condition below which its mean is too uncertain to go without a warning."""
HALF_WEIGHT: Final = 20
"""Cells at which a condition has half the weight of one of many cells, since its mean is noise, too."""


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of expression under conditions.

    Attributes
    ----------
    genes
        Names of the genes.
    conditions
        What was done, each once.
    values
        ``(conditions, genes)``: change of the mean expression against the control.
    weights
        ``(conditions,)``: how far each mean can be trusted, from 0 to 1.
    contexts
        Names of the contexts.
    control
        ``(contexts, genes)``: mean expression of controls; 0 where effects alone are known.
    """

    genes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    values: Matrix
    weights: NDArray[np.float64]
    contexts: tuple[str, ...]
    control: Matrix

    def only(self, kept: NDArray[np.bool_]) -> Changes:
        """Return some of the conditions."""
        conditions = tuple(one for one, keep in zip(self.conditions, kept, strict=True) if keep)
        return replace(self, conditions=conditions, values=self.values[kept], weights=self.weights[kept])

    def place(self, condition: Condition) -> int | None:
        """Return the place of a condition, None if it was not measured."""
        return self._places.get(condition)

    @property
    def _places(self) -> dict[Condition, int]:
        places = self.__dict__.get("_found")
        if places is None:
            places = {condition: place for place, condition in enumerate(self.conditions)}
            object.__setattr__(self, "_found", places)
        return places

    def control_of(self, context: str) -> Matrix:
        """Return the mean expression of the controls of a context, ``(genes,)``."""
        return self.control[self.contexts.index(context)]


@dataclass(frozen=True, eq=False)
class Profiles:
    """Mean expression of conditions and controls, and what halves of the controls say.

    Attributes
    ----------
    genes, conditions, contexts
        As of :class:`Changes`.
    means
        ``(conditions, genes)``.
    errors
        ``(conditions, genes)``: standard errors of the changes; 0 where a condition is one row.
    n_cells
        ``(conditions,)``: rows of each condition.
    baseline
        ``(3, conditions, genes)``: mean of the controls that belong to a condition, of its context and replicates: of
        all, of the even, and of the odd ones.
    control
        ``(3, contexts, genes)``, likewise.
    n_control
        ``(contexts,)``: rows of controls.
    depth
        Counts to which cells were scaled before the logarithm; 0 where values were given.
    """

    genes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    contexts: tuple[str, ...]
    means: Matrix
    errors: Matrix
    n_cells: NDArray[np.int64]
    baseline: Matrix
    control: Matrix
    n_control: NDArray[np.int64]
    depth: float

    def changes(self, half: int = 0) -> Changes:
        """Return the changes against all controls (0), or one half of them (1, 2).

        A change that is measured against the controls that it was learned from shares their noise, which looks like an
        effect that all perturbations have in common. So what is learned against one half is judged against the other.
        """
        weights = np.ones(len(self.n_cells))
        if self.n_cells.max(initial=0) > 1:
            weights = self.n_cells / (self.n_cells + HALF_WEIGHT)
        return Changes(
            self.genes, self.conditions, self.means - self.baseline[half], weights, self.contexts, self.control[half]
        )

    def learned(self, half: int = 0) -> Changes:
        """Return the changes that ways learn from: each drawn to 0 as far as its standard error lets doubt it.

        A change ``d`` with the error ``e`` counts as ``d · d² / (d² + e²)``, so that sums over conditions and genes
        hold less noise.
        """
        raw = self.changes(half)
        squares = raw.values**2
        doubt = squares + self.errors**2
        return replace(raw, values=raw.values * np.divide(squares, doubt, out=np.ones_like(doubt), where=doubt > 0))

    def with_contexts(self, contexts: Iterable[str]) -> Profiles:
        """Return the same with further contexts, whose controls are not known, as of tables of effects."""
        more = sorted(set(contexts) - set(self.contexts))
        shape = (3, len(more), len(self.genes))
        return replace(
            self, contexts=(*self.contexts, *more), control=np.concatenate([self.control, np.zeros(shape)], 1),
            n_control=np.concatenate([self.n_control, np.zeros(len(more), dtype=np.int64)]),
        )  # fmt: skip

    def with_controls(self, more: Profiles) -> Profiles:
        """Return the same with the controls of further contexts; of a context that both have, those of the other.

        Raises
        ------
        ArgumentError
            If genes are missing in the other.
        """
        place = {gene: at for at, gene in enumerate(more.genes)}
        if missing := [gene for gene in self.genes if gene not in place]:
            raise ArgumentError(
                "The controls lack genes that the predictor has learned.",
                found=some(missing),
                expected="all genes of the object that it was fitted to",
                remedy="take the controls from an object with the same genes.",
                argument="controls",
            )
        own = [place[gene] for gene in self.genes]
        kept = [at for at, context in enumerate(self.contexts) if context not in more.contexts]
        contexts = (*(self.contexts[at] for at in kept), *more.contexts)
        control = np.concatenate([self.control[:, kept], more.control[:, :, own]], 1)
        return replace(
            self, contexts=contexts, control=control, n_control=np.concatenate([self.n_control[kept], more.n_control])
        )


def read_profiles(
    adata: AnnData, naming: Naming, values: Values, columns: CellColumns, *, all_control: bool = False,
    depth: float | None = None, progress: bool = True, argument: str = "adata",
) -> Profiles:  # fmt: skip
    """Read the mean of each condition and of its controls, a run of cells at a time.

    Raises
    ------
    ArgumentError, CountsError
        If a column can't be used, there is no control, or values are not of the kind that was said.
    """
    check_anndata(adata, argument)
    if not adata.n_obs:
        raise ArgumentError(
            "There are no cells.",
            found="no rows",
            expected="a row for each cell or condition",
            remedy="look at the step that filtered them.",
            argument=argument,
        )
    rows, contexts = naming.read(adata, all_control=all_control)
    replicates = np.full(len(rows), "", dtype=object) if all_control else naming.replicates(adata)
    if not all_control:
        _check_controls(rows, contexts, naming, without_control=values in ("effects", "ranks"))
    # Controls are told apart in halves, so that what is learned against one can be judged against the other.
    turn: dict[tuple[str, str], int] = {}
    number: dict[Group, int] = {}
    codes = np.zeros(len(rows), dtype=np.int64)
    for place, (row, context, replicate) in enumerate(zip(rows, contexts, replicates, strict=True)):
        half = 0
        if row is None:
            half = turn[context, replicate] = 1 - turn.get((context, replicate), 1)
        codes[place] = number.setdefault((row, context, replicate, half), len(number))
    groups = list(number)
    read = read_expression(adata, values, columns, depth=depth, argument=argument)
    _check_genes(read.genes, argument)
    sums, squares = (np.zeros((len(groups), len(read.genes))) for _ in range(2))
    with ProgressBar(total=adata.n_obs, desc="Reading", unit=" cells", disable=not progress) as bar:
        for part, block in read.blocks:
            own = codes[part]
            taken = sparse.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), shape=(len(groups), len(own)))
            sums += dense(taken @ block)
            squares += dense(taken @ squared(block))
            bar.update(len(own))
    sizes = np.bincount(codes, minlength=len(groups))
    profiles = _profiles(tuple(read.genes), groups, sums, squares, sizes, read.depth)
    if values == "counts":
        _check_levels(profiles, "controls" if all_control else "control")
    return profiles


def _profiles(
    genes: tuple[str, ...], groups: Sequence[Group], sums: Matrix, squares: Matrix, sizes: NDArray[np.int64],
    depth: float,
) -> Profiles:  # fmt: skip
    """Means of conditions and of their controls, from sums over groups."""
    contexts = tuple(sorted({context for _, context, _, _ in groups}))
    conditions = tuple(sorted({row for row, _, _, _ in groups if row is not None}))
    of_condition: dict[Condition, list[int]] = {}
    of_control: dict[tuple[str, str | None], list[int]] = {}
    for place, (row, context, replicate, _) in enumerate(groups):
        if row is not None:
            of_condition.setdefault(row, []).append(place)
        else:
            of_control.setdefault((context, None), []).append(place)
            of_control.setdefault((context, replicate), []).append(place)

    def control_mean(context: str, replicate: str | None) -> Matrix:
        """Mean of the controls: all, even, odd; of the context where the replicate has none; 0 where there is none."""
        every = of_control.get((context, replicate)) or of_control.get((context, None))
        if not every:
            return np.zeros((3, len(genes)))
        halves = [[place for place in every if groups[place][3] == half] or every for half in (0, 1)]
        return np.stack([sums[some_places].sum(0) / sizes[some_places].sum() for some_places in (every, *halves)])

    control = np.stack([control_mean(context, None) for context in contexts], 1)
    n_control = np.array([sizes[of_control.get((context, None), [])].sum() for context in contexts], dtype=np.int64)
    # Squared standard error of the mean of controls.
    uncertain = np.zeros((len(contexts), len(genes)))
    for at, context in enumerate(contexts):
        if n_control[at] > 1:
            mean_square = squares[of_control[context, None]].sum(0) / n_control[at]
            uncertain[at] = (mean_square - control[0, at] ** 2).clip(0) / n_control[at]
    baseline = np.zeros((3, len(conditions), len(genes)))
    means, errors = (np.zeros((len(conditions), len(genes))) for _ in range(2))
    n_cells = np.array([sizes[of_condition[one]].sum() for one in conditions], dtype=np.int64)
    for at, condition in enumerate(conditions):
        own = of_condition[condition]
        means[at] = sums[own].sum(0) / n_cells[at]
        for place in own:
            baseline[:, at] += control_mean(condition.context, groups[place][2]) * sizes[place] / n_cells[at]
        if n_cells[at] > 1:
            variance = (squares[own].sum(0) / n_cells[at] - means[at] ** 2).clip(0)
            errors[at] = np.sqrt(variance / n_cells[at] + uncertain[contexts.index(condition.context)])
    if n_cells.max(initial=0) >= FEW_CELLS:
        _warn_of_few(conditions, n_cells)
    return Profiles(genes, conditions, contexts, means, errors, n_cells, baseline, control, n_control, depth)


def _check_controls(
    rows: Sequence[Condition | None], contexts: NDArray[np.object_], naming: Naming, *, without_control: bool
) -> None:
    if all(row is None for row in rows):
        raise ArgumentError(
            "There is no perturbation.",
            found=f"{len(rows):,} rows, all named {some(map(repr, naming.control))}",
            expected="rows of perturbations",
            remedy="check `perturbation_key` and `control`.",
            argument="perturbation_key",
        )
    if without_control:
        return
    with_control = {context for row, context in zip(rows, contexts, strict=True) if row is None}
    treated = {row.context for row in rows if row is not None}
    if missing := sorted(treated - with_control):
        names = sorted({part for row in rows if row is not None for part in row.parts})
        raise ArgumentError(
            "There are no controls." if not with_control else "Some contexts have no controls.",
            found=f"no row named {some(map(repr, naming.control))}"
            + (f" in {some(map(repr, missing))}" if missing != [""] else "")
            + f"; there are {some(map(repr, names))}",
            expected="controls in every context that is perturbed",
            remedy="pass the name of the controls as `control`, or leave these contexts out.",
            argument="control",
        )


def _check_genes(genes: Sequence[str], argument: str) -> None:
    if not genes:
        raise GenesError(
            "There are no genes.",
            found="no columns",
            expected="a column for each gene",
            remedy="look at the step that filtered them.",
            argument=argument,
        )
    if len(set(genes)) < len(genes):
        twice = sorted(name for name, times in Counter(genes).items() if times > 1)
        raise GenesError(
            "Some genes are there several times.",
            found=some(twice),
            expected="each gene once",
            remedy="keep one of each, or give them names of their own.",
            argument=argument,
        )


def _check_levels(profiles: Profiles, argument: str) -> None:
    """Refuse controls without counts, from which no change can be told."""
    empty = (profiles.n_control > 0) & ~profiles.control[0].any(1)
    if empty.any():
        names = [context for context, none in zip(profiles.contexts, empty, strict=True) if none]
        raise CountsError(
            "Some controls have no counts.",
            found=f"{int(profiles.n_control[empty].sum()):,} controls of 0 counts"
            + (f" in {some(map(repr, names))}" if names != [""] else ""),
            expected="controls with counts in every context",
            remedy="check the step that made the counts, or leave these contexts out.",
            argument=argument,
        )


def _warn_of_few(conditions: Sequence[Condition], n_cells: NDArray[np.int64]) -> None:
    few = [
        f"{' '.join(filter(None, ('+'.join(one.parts), one.context)))} ({n})"
        for one, n in zip(conditions, n_cells.tolist(), strict=True)
        if n < FEW_CELLS
    ]
    if few:
        warnings.warn(
            f"{len(few):,} of {len(conditions):,} conditions have fewer than {FEW_CELLS} cells, and count for less: "
            f"{some(few)}.",
            FewCellsWarning,
            stacklevel=5,
        )
