"""``infer_network``: which genes regulate which, ranked edges for each group of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pandas as pd

from celloquy.checks import check_whole_number, refuse
from celloquy.data import CellColumns
from celloquy.data.store import opened
from celloquy.errors import ArgumentError
from celloquy.keys import GENES_MINI
from celloquy.models import Model
from celloquy.runtime.hardware import Precision, choose_device
from celloquy.tasks.networks.cells import Expression, read_expression
from celloquy.tasks.networks.contextual import ModelReader
from celloquy.tasks.networks.edges import edges_of, varied
from celloquy.tasks.networks.kept import check_key, keep
from celloquy.tasks.networks.moments import Array, moments
from celloquy.tasks.networks.scores import OF_MODEL, SIGNED, Scorer, combined, weights_of
from celloquy.tasks.networks.sides import find_genes, find_regulators
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.results import with_provenance

if TYPE_CHECKING:
    from anndata import AnnData


def infer_network(
    adata: AnnData | str | PathLike[str],
    *,
    model: Model | str | PathLike[str] | None = None,
    regulators: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
    by: str | None = None,
    method: str | Iterable[str] | Mapping[str, float] = "auto",
    n_edges: int | None = 100_000,
    max_cells: int = 5000,
    normalised: bool = False,
    n_jobs: int = 1,
    key_added: str | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Infer which genes regulate which: edges from regulators to targets, the surest first.

    What is found are associations that look like regulation; on networks known from experiments most methods are
    little better than chance, see the page on networks for the figures.

    Parameters
    ----------
    adata
        Cells, as :func:`celloquy.embed` takes them.
    model
        Gene model for the methods that ask one; the directory or name of a saved one; by default ``"genes-mini"``. With
        ``method="auto"`` its cosine takes part if it is given. A :class:`celloquy.FactorModel` is the model of
        ``"coexpression"``, in the place of ``"cells-mini"``.
    regulators
        Genes that may regulate, by symbol or Ensembl id; by default :func:`celloquy.genes.transcription_factors`.
    targets
        Genes that may be regulated; by default all genes, regulators too. No gene regulates itself.
    by
        Column of ``obs``, such as a cell type: one network for each of its groups.
    method
        ``"auto"``, a method, several of equal weight, or weights by method. Several are combined as Fisher's method
        combines tests: each adds minus the logarithm of the share of pairs that it ranks higher, times its weight; one
        that knows nothing of a pair counts it as in the middle.

        ``"pearson"``, ``"spearman"``
            correlation of log expression, or of its ranks.
        ``"partial"``
            correlation given all other regulators, with shrinkage.
        ``"ridge"``
            coefficients of a ridge regression of the target on all regulators.
        ``"boosting"``
            importance in boosted trees, as GRNBoost2; slow, some tenths of a second for each target.
        ``"cosine"``
            likeness of the vectors that a gene model gives both in these cells.
        ``"attention"``
            how much the target reads of the regulator in the model's last layer.
        ``"deletion"``
            how far the target's vector moves where the regulator is deleted; slow, some tenths of a second for each
            regulator.
        ``"prior"``
            families, functions, domains and responses to signals that both share, see :func:`celloquy.genes.prior`.
        ``"coexpression"``
            correlation in the studies of ``cells-mini``.
        ``"auto"``
            ``"prior"`` with weight 2, ``"pearson"`` and ``"coexpression"`` with 1, and with ``model`` its ``"cosine"``
            with 1.
    n_edges
        Edges to return of each group, at most; None returns all.
    max_cells
        Cells of each group that are read, at most, drawn by their names and the seed; this bounds memory and time.
        ``"cosine"`` reads all.
    normalised
        True takes the values of ``layer``, by default ``X``, as they are, such as log-normalised expression. Methods of
        a model need counts, and are refused.
    n_jobs
        Processes that share the targets of ``"boosting"``; -1 takes all cores.
    key_added
        Keep the edges in ``adata``, too: the table in ``uns[key_added]``, and in ``varp[key_added]`` a sparse matrix of
        genes × genes, regulators in rows, of scores with the signs of the edges; of groups one each, in
        ``varp[f"{key_added}_{group}"]``. By default nothing is written to the object.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, seed, progress
        As of :func:`celloquy.embed`; the seed draws cells and those of the trees.

    Returns
    -------
    A table of edges: ``regulator`` and ``target`` (names as in the object), ``score`` (the higher, the surer; of which
    unit depends on the method), ``sign`` (1 activates, -1 represses, 0 unknown: that of the method's own coefficient,
    or of the correlation), ``group`` if ``by`` is given, and ``rank`` within the group, from 1. Genes that do not vary
    in a group have no edges there. It does not depend on the order of cells or genes. ``attrs["celloquy"]`` says how it
    was made.

    Raises
    ------
    CountsError, GenesError, ArgumentError, ModelError
        If there are no raw counts, no regulator is found, genes are of both species, a group has fewer than ten cells,
        or the model can't describe genes.

    Warns
    -----
    AbsentGenesWarning
        If some named genes are not in the object.

    Examples
    --------
    >>> import celloquy as cq
    >>> edges = cq.infer_network(adata, by="cell_type")
    >>> edges[edges["regulator"] == "SPI1"].head()
    >>> cq.plots.regulator_targets(edges, "SPI1")
    >>> cq.write_network(edges, "network.graphml")
    """
    if n_edges is not None:
        check_whole_number("n_edges", n_edges, least=1)
    check_whole_number("max_cells", max_cells, least=10)
    check_whole_number("seed", seed, least=0)
    check_whole_number("n_jobs", n_jobs, least=-1)
    if n_jobs == 0:
        refuse("n_jobs", n_jobs, "a number of processes, or -1 for all cores")
    if key_added is not None:
        check_key(adata, key_added)
    given = None if model is None else resolve_model(model)
    correlator = given if given is not None and "correlate genes" in given.abilities else None
    weights = weights_of(method, model=given is not None and correlator is None)
    columns, hardware = CellColumns(layer=layer, counts=counts, species=species), choose_device(device)
    asked = [name for name in weights if name in OF_MODEL]
    served = [*asked, *(["coexpression"] if correlator is not None and "coexpression" in weights else [])]
    _check_use(asked, served, given, normalised=normalised)
    describer = (given or resolve_model(GENES_MINI)) if asked else None
    if describer is not None:
        describer.require(["describe genes"], f"`infer_network` by {asked[0]}")
    with opened(adata) as read:
        cells = read_expression(read, by, columns, normalised=normalised, most=max_cells, seed=seed)
        first = find_regulators(cells, regulators)
        second = np.arange(len(cells.names)) if targets is None else find_genes(cells, targets, "targets")
        reader = None
        if describer is not None:
            reader = ModelReader(describer, read, by, columns, precision, hardware, progress, cells, first, second)
        scorer = Scorer(cells, first, second, reader, correlator, seed, n_jobs, progress)
        tables = [_network(scorer, group, weights, n_edges) for group in range(len(cells.groups))]
    edges = with_provenance(
        pd.concat(tables, ignore_index=True), "infer_network", describer or correlator, method=weights, by=by,
        n_edges=n_edges, max_cells=max_cells, normalised=normalised, seed=seed,
    )  # fmt: skip
    if key_added is not None:
        keep(cast("AnnData", adata), edges, key_added)
    return edges


def _network(scorer: Scorer, group: int, weights: Mapping[str, float], most: int | None) -> pd.DataFrame:
    """Return the edges of one group."""
    cells, regulators, targets = scorer.expression, scorer.regulators, scorer.targets
    usable = _usable(cells, group, regulators, targets)
    sign: Array | None = None
    if len(weights) == 1:
        (name,) = weights
        scores = scorer.score(name, group)
        sign = scores if name in SIGNED else None
        scores = np.abs(scores)
    else:
        scores = combined(((weight, np.abs(scorer.score(name, group))) for name, weight in weights.items()), usable)
    if sign is None:
        sign = moments(cells.groups[group].values, regulators, targets).across
    return edges_of(cells, group, regulators, targets, np.where(usable, scores, np.nan), sign, most)


def _usable(cells: Expression, group: int, regulators: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the pairs that may be edges, ``(regulators, targets)``: of two genes that differ between cells."""
    values = cells.groups[group].values
    usable: np.ndarray = varied(values, regulators)[:, None] & varied(values, targets)
    return usable & (regulators[:, None] != targets)


def _check_use(asked: list[str], served: list[str], model: Model | None, *, normalised: bool) -> None:
    """Refuse a model that no method asks, and a method that needs counts where there are none."""
    if normalised and asked:
        raise ArgumentError(
            "A gene model reads counts.",
            found=f"normalised=True with the method {asked[0]!r}",
            expected="raw counts",
            remedy="leave `normalised` out and pass `layer` of the counts, or choose another `method`.",
            argument="normalised",
        )
    if model is not None and not served:
        raise ArgumentError(
            "`model` has no use with this method.",
            found="a method that reads expression alone, or knows genes from elsewhere",
            expected=f"a method that asks it: {', '.join(OF_MODEL)} (a gene model), coexpression (a model of factors), "
            "or 'auto'",
            remedy="leave `model` out, or choose another `method`.",
            argument="model",
        )
