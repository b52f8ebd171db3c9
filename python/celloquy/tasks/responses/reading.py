"""Read values of cells on the scale on which changes are measured, a run of cells at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from celloquy.data import CellColumns, CellSource
from celloquy.errors import ArgumentError, some
from celloquy.runtime.arrays import runs

if TYPE_CHECKING:
    from anndata import AnnData

Matrix = NDArray[np.float64]
Values = Literal["counts", "expression", "effects", "ranks"]
VALUES: Final = ("counts", "expression", "effects", "ranks")
CELLS_READ: Final = 2048
MOST_DEPTH: Final = 1e4
"""Counts to which cells are scaled before the logarithm, at most; cells of a small panel to their median depth, since
scaling up would make each of their few counts a large step."""
MOST: Final = 1e12
"""Largest change or expression that is read; sums of squares of larger ones would leave the range of numbers."""
MOST_LEVELS: Final = 2
"""Largest value up to which whole numbers alone may be logarithms; beyond they are counts."""


@dataclass(frozen=True, eq=False)
class Expression:
    """Values of cells.

    Attributes
    ----------
    genes
        Names of the genes.
    depth
        Counts to which cells are scaled before the logarithm; 0 where values are given.
    blocks
        Runs of cells, with their values, cells × genes, sparse or dense.
    """

    genes: list[str]
    depth: float
    blocks: Iterator[tuple[slice, Any]]


def read_expression(
    adata: AnnData, values: Values, columns: CellColumns, *, depth: float | None = None, argument: str = "adata"
) -> Expression:
    """Return the values of cells; counts are scaled to ``depth``, by default their median, at most 10,000, and logged.

    Raises
    ------
    ArgumentError, CountsError
        If values are not of the kind that was said.
    """
    if values != "counts":
        blocks = _as_they_are(adata, values, columns.layer, argument)
        return Expression([str(name) for name in adata.var_names], 0.0, blocks)
    source = CellSource(adata, columns, name=argument)
    kept = np.flatnonzero(source.genes)
    if depth is None:
        own = np.concatenate([_depths(_counts(source, kept, part)) for part in runs(0, len(source), CELLS_READ)])
        depth = float(np.clip(np.median(own[own > 0]), 1, MOST_DEPTH)) if own.any() else 1.0
    return Expression(source.var_names[kept].tolist(), depth, _log_counts(source, kept, depth))


def no_numbers(found: str, argument: str) -> ArgumentError:
    """Return the error of values that are no numbers."""
    return ArgumentError(
        "These values are no numbers.",
        found=found,
        expected="a number for each row and gene",
        remedy="keep the columns of genes alone, and make their values numbers, or pass their `layer`.",
        argument=argument,
    )


def dense(values: Any) -> Matrix:
    """Return a sparse or a dense matrix as a dense one."""
    return np.asarray(values.toarray() if isinstance(values, sparse.csr_matrix) else values, dtype=np.float64)


def squared(values: sparse.csr_matrix | Matrix) -> sparse.csr_matrix | Matrix:
    """Return the squares of a sparse or a dense matrix."""
    return values.power(2) if isinstance(values, sparse.csr_matrix) else np.square(values)


def normal_scores(ranks: Matrix) -> Matrix:
    """Return the normal scores of ranks ``(rows, genes)``, of which 1 is the most up and 0 is not ranked.

    The most up has the highest score, the most down the lowest, what is not ranked 0.
    """
    most = ranks.max(1, keepdims=True, initial=1)
    scores = norm.ppf(1 - (ranks - 0.5).clip(0.5) / most)
    return np.asarray(np.where(ranks > 0, scores, 0.0))


def _counts(source: CellSource, kept: NDArray[np.int64], part: slice) -> sparse.csr_matrix:
    return source.counts.read(part.start, part.stop)[:, kept].astype(np.float64)


def _depths(block: sparse.csr_matrix) -> NDArray[np.float64]:
    return np.asarray(block.sum(1), dtype=np.float64).ravel()


def _log_counts(source: CellSource, kept: NDArray[np.int64], depth: float) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Logarithms of counts that were scaled to a depth, of the features that are genes."""
    for part in runs(0, len(source), CELLS_READ):
        block = _counts(source, kept, part)
        block.data *= np.repeat(depth / _depths(block).clip(1), np.diff(block.indptr))
        yield part, block.log1p()


def _as_they_are(adata: AnnData, values: Values, layer: str | None, argument: str) -> Iterator[tuple[slice, Any]]:
    """Values that are on a scale of their own; ranks become normal scores."""
    if layer not in (None, "X") and layer not in adata.layers:
        raise ArgumentError(
            f"There is no layer {layer!r} in {argument}.layers.",
            found=some(map(str, adata.layers)) or "no layers",
            expected='the name of a layer, or "X"',
            remedy="pass one of these as `layer`, or leave it out.",
            argument="layer",
        )
    matrix = adata.X if layer in (None, "X") else adata.layers[layer]
    if matrix is None or matrix.dtype.kind not in "biuf":
        raise no_numbers("no matrix" if matrix is None else f"a matrix of {matrix.dtype}", argument)
    for part in runs(0, adata.n_obs, CELLS_READ):
        read = matrix[part]
        block = dense(read if isinstance(read, np.ndarray) else sparse.csr_matrix(read))
        usable = np.abs(block) <= MOST
        if not usable.all():
            where = np.argwhere(~usable)[0]
            raise ArgumentError(
                "Values are missing, infinite or too large.",
                found=f"{block[tuple(where)]} of {str(adata.obs_names[part.start + where[0]])!r}, "
                f"{str(adata.var_names[where[1]])!r}",
                expected=f"a number for each row and gene, up to {MOST:g}",
                remedy="fill them in, or leave these genes out.",
                argument=argument,
            )
        if values == "expression" and block.max(initial=0) > MOST_LEVELS and np.array_equal(block, np.rint(block)):
            raise ArgumentError(
                "These values are counts, not expression on a logarithmic scale.",
                found=f"whole numbers up to {block.max():g}",
                expected="logarithms of expression",
                remedy='pass values="counts", or the layer of the logarithms as `layer`.',
                argument="values",
            )
        if values == "ranks" and block.min(initial=0) < 0:
            raise ArgumentError(
                "These values are no ranks.",
                found=f"{block.min():g}",
                expected="ranks from 1, the most up; 0 of genes that are not ranked",
                remedy='rank the genes of each row, or pass values="effects".',
                argument="values",
            )
        yield part, normal_scores(block) if values == "ranks" else block
