"""``context``: which cells of its tissue a cell was read with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celloquy import keys
from celloquy.checks import check_names, check_whole_number, listed, refuse
from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import codes, places_of
from celloquy.data.reader import read_positions
from celloquy.data.store import opened
from celloquy.errors import ArgumentError, ModelError
from celloquy.models import Model
from celloquy.runtime.hardware import choose_device
from celloquy.tasks.context.distances import intervals_of
from celloquy.tasks.context.reading import Found, Question, Sums, WeighsCells, asked_tissues, read_context
from celloquy.tasks.gene_reading import reading
from celloquy.tasks.pretrained import resolve_model
from celloquy.tasks.results import with_provenance
from celloquy.training import TrainingOptions, pretrain

if TYPE_CHECKING:
    from anndata import AnnData

MOST_CELLS = 1000
"""Cells that can be shown one by one: each has rows of its own."""
ALL = "all cells"
"""Name of the group where there is one."""


def context(
    adata: AnnData | str | PathLike[str],
    *,
    cells: Iterable[str] | Iterable[bool] | None = None,
    labels: str | None = None,
    by: str | None = None,
    model: Model | str | PathLike[str] = keys.SCRATCH,
    distances: Iterable[float] | None = None,
    n_top: int = 0,
    encoder_layer: int | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    species: Literal["auto"] | None = None,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Return which cells of its tissue a cell was read with, by type and by distance.

    A :class:`celloquy.CellModel` embeds a cell by what attention takes from all cells of its tissue. The weight that
    another cell has in it, a share of one over the tissue, is the mean over the heads of a layer and over the layers.
    A cell reads itself, too. Beside the weight stands the share of the tissue's cells, and the ratio of both: 1 where
    attention reads evenly, above 1 for what it prefers. It says what the model looks at, not which cells act on which.

    The weights are those of :func:`celloquy.embed` with the same model and keys, of the asked cells alone. By label
    they take a time linear in the number of cells; by distance each asked cell is compared with all cells of its
    tissue. No cells × cells are kept.

    Parameters
    ----------
    adata
        Cells × genes with raw counts, or the path of a file, as of :func:`celloquy.embed`; they stay as they are.
    cells
        Cells to ask for; by default all. Names, at most 1,000: each has rows of its own unless ``by`` is given. Or True
        or False for each cell, such as ``adata.obs["cell_type"] == "B cell"``, for the means of groups.
    labels
        Column of ``obs`` with the types of the cells that are read, such as ``"cell_type"``.
    by
        Column of ``obs`` with the groups of asked cells over which weights are averaged; by default ``labels``.
    model
        Model whose cells read their tissue, such as a :class:`celloquy.CellModel`, the directory of a saved one, or the
        name ``"org/name"`` of one on the hub. By default ``"scratch"``: a small one is trained on these cells first,
        which takes minutes; :func:`celloquy.pretrain` trains one to keep.
    distances
        Where intervals of distance end, in the unit of the positions, such as ``[50, 100, 200]``. By default they
        double from twice the median distance of a cell to its nearest. Needs ``spatial_key``.
    n_top
        Cells that each cell read most to name; only where cells are asked for one by one.
    encoder_layer
        Layer of the model's encoder, counted from 1; by default the mean over all. In a later layer the cells that are
        read have read their tissue themselves.
    layer, counts, tissue_key, spatial_key, species
        Reading options, see :class:`celloquy.CellColumns`. With ``spatial_key`` weights are told by distance, too; a
        model that reads positions is told them, as by :func:`celloquy.embed`.
    device, progress
        As of :func:`celloquy.embed`.

    Returns
    -------
    A table with a row for each group and kind of cells that it could read:

    ``group``
        The label or value of ``by``, or the name of the cell.
    ``kind``
        ``"label"``, ``"distance"`` or, of ``n_top``, ``"cell"``: how the cells that are read are told.
    ``read``
        The label, the interval of distances (``"no position"`` where it is unknown), or the name of the cell.
    ``distance``
        Where the interval ends, or the distance of the cell.
    ``weight``
        Share of what a cell reads; a mean over the group. For labels and for distances it sums to one.
    ``cells``
        Share of the cells of its tissue.
    ``ratio``
        ``weight / cells``.
    ``n_cells``
        Cells of the group.
    ``strength``
        Length of what attention adds to a cell's vector over the length of that vector: near 0 context hardly matters.

    ``attrs["celloquy"]`` says how it was made.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, ModelError
        If there are no raw counts, a cell is none of the object, an argument is unfit, or the model reads each cell
        alone, as the models in the box do.

    Notes
    -----
    Flow attention: Wu et al. 2022, Flowformer. Its weights in a head are divided by their sum, which is not one. Layers
    are averaged, not multiplied through (rollout), because that needs to be told how much of a vector stays the cell's
    own, which the weights do not say; ``strength`` does.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.pretrain(adata, tissue_key="slice", spatial_key="spatial")
    >>> table = cq.context(adata, labels="cell_type", model=model, tissue_key="slice", spatial_key="spatial")
    >>> cq.plots.context(table)
    """
    check_whole_number("n_top", n_top, least=0)
    if distances is not None and spatial_key is None:
        refuse("distances", "a list, and no `spatial_key`", "the key of obsm with the positions", "pass `spatial_key`.")
    if labels is None and spatial_key is None and not n_top:
        raise ArgumentError(
            "There is nothing to tell the cells by that are read.",
            found="no `labels`, no `spatial_key` and no `n_top`",
            expected="one of them",
            remedy="pass the column of the cell types as `labels`.",
            argument="labels",
        )
    columns = CellColumns(layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, species=species)
    hardware = choose_device(device)
    # A model that can't answer is told before cells are read.
    known = None if isinstance(model, str) and model == keys.SCRATCH else _checked(resolve_model(model), encoder_layer)
    with opened(adata) as read:
        label, label_names = codes(read, labels, "labels")
        group, names, single = _groups(read, cells, labels, by)
        if n_top and not single:
            refuse(
                "n_top",
                n_top,
                "0 where cells are averaged over groups",
                "pass the names of cells as `cells`, without `by`.",
            )
        source = CellSource(read, columns)
        intervals = None
        if spatial_key is not None:
            intervals = intervals_of(
                read_positions(read, spatial_key),
                asked_tissues(source.tissue, np.zeros(len(source), dtype=np.int64)),
                distances,
            )
        if known is None:
            trained = pretrain(
                adata, layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, species=species,
                device=device, progress=progress, training=TrainingOptions(parts=1),
            )  # fmt: skip
            known = _checked(trained, encoder_layer)
        layers = range(cast("WeighsCells", known).reading_layers) if encoder_layer is None else [encoder_layer - 1]
        question = Question(
            group, len(names), None if labels is None else label, len(label_names), intervals, n_top, layers
        )
        with reading(known, hardware):
            found = read_context(
                cast("WeighsCells", known), source.over(known.vocabulary), question, hardware, progress=progress
            )
        table = _table(found, names, label_names, question, read.obs_names)
    return with_provenance(
        table, "context", known, labels=labels, by=by, n_top=n_top, encoder_layer=encoder_layer, tissue_key=tissue_key,
        spatial_key=spatial_key, distances=None if intervals is None else [float(edge) for edge in intervals.edges],
    )  # fmt: skip


def _checked(model: Model, encoder_layer: int | None) -> Model:
    """Return a model whose cells read one another, in the layer that is asked for, if one is."""
    layers = cast("WeighsCells", model).reading_layers if "weigh cells" in model.abilities else 0
    if not layers:
        raise ModelError(
            f"This {type(model).__name__} reads each cell alone, so that no cell has a context.",
            found=f"a model of the family {model.config.family!r} without attention between cells",
            expected="a model whose cells read their tissue, such as a CellModel with its usual attention",
            remedy="pass model='scratch', which trains one on these cells, or the directory of a trained CellModel.",
            argument="model",
        )
    if encoder_layer is not None:
        check_whole_number("encoder_layer", encoder_layer, least=1, most=layers)
    return model


def _groups(
    adata: AnnData, cells: Iterable[str] | Iterable[bool] | None, labels: str | None, by: str | None
) -> tuple[NDArray[np.int64], list[str], bool]:
    """The group of each asked cell, -1 for the others; the groups' names; whether each cell is one."""
    group, given = np.full(adata.n_obs, -1), None if cells is None else listed(cells)
    asked = np.arange(adata.n_obs)
    if given and all(isinstance(one, bool | np.bool_) for one in given):
        if len(given) != adata.n_obs:
            refuse("cells", f"{len(given):,} truth values", f"one for each of the {adata.n_obs:,} cells")
        asked = np.flatnonzero(given)
    elif given:
        names = check_names("cells", given, "names of cells, or True or False for each cell")
        asked = places_of(adata, names)
        if by is None:
            if len(names) > MOST_CELLS:
                refuse(
                    "cells",
                    f"{len(names):,} names",
                    f"up to {MOST_CELLS:,}",
                    "pass fewer, or `by` for means of groups.",
                )
            group[asked] = np.arange(len(asked))
            return group, names, True
    elif given is not None:
        asked = asked[:0]
    if not len(asked):
        raise ArgumentError(
            "No cell is asked for.",
            found=f"none of {adata.n_obs:,} cells",
            expected="at least one",
            remedy="leave `cells` out to ask for all.",
            argument="cells",
        )
    code, names = codes(adata, labels if by is None else by, "labels" if by is None else "by")
    chosen, group[asked] = np.unique(code[asked], return_inverse=True)
    return group, [names[one] for one in chosen] if names else [ALL], False


def _table(
    found: Found, names: Sequence[str], labels: Sequence[str], question: Question, cells: pd.Index[str]
) -> pd.DataFrame:
    """The rows of each group: by label, by distance, and the cells that it read most."""
    parts = []
    for group, name in enumerate(names):
        number = int(found.n_cells[group])
        own = []
        if question.label is not None:
            own.append(_rows("label", labels, np.full(len(labels), np.nan), found.labels, group, number))
        if question.intervals is not None:
            own.append(
                _rows("distance", question.intervals.names, question.intervals.ends, found.distances, group, number)
            )
        if group in found.top:
            which, weight, distance, size = found.top[group]
            own.append(
                pd.DataFrame(
                    {
                        "kind": "cell", "read": cells[which].astype(str), "distance": distance, "weight": weight,
                        "cells": 1 / size,
                    }
                )
            )  # fmt: skip
        rows = pd.concat(own, ignore_index=True)
        rows.insert(0, "group", name)
        rows["ratio"] = rows["weight"] / rows["cells"]
        rows["n_cells"], rows["strength"] = number, found.strength[group] / number
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _rows(
    kind: str, names: Sequence[str], distance: NDArray[np.float64], sums: Sums, group: int, number: int
) -> pd.DataFrame:
    """The rows of one kind, of what the tissues of the group have."""
    rows = pd.DataFrame(
        {
            "kind": kind, "read": list(names), "distance": distance, "weight": sums.weight[group] / number,
            "cells": sums.cells[group] / number,
        }
    )  # fmt: skip
    return rows[rows["cells"] > 0]
