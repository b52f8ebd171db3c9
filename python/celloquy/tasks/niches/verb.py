"""Find the niches of a tissue: what surrounds a cell, as an embedding and as clusters."""

from __future__ import annotations

import time
from os import PathLike
from typing import TYPE_CHECKING, Literal

import numpy as np

from celloquy import keys
from celloquy.checks import check_choice, check_name, check_number, check_whole_number
from celloquy.data import CellColumns, CellSource
from celloquy.data.reader import read_positions
from celloquy.models import Model
from celloquy.runtime.hardware import Precision, choose_device
from celloquy.tasks.niches.grouping import grouped, states_of
from celloquy.tasks.niches.neighbourhoods import averaged, best_size, scaled, tissue_cells
from celloquy.tasks.pretrained import embedded, resolve_model
from celloquy.tasks.results import check_result, deliver, provenance

if TYPE_CHECKING:
    from anndata import AnnData


def niches(
    adata: AnnData,
    *,
    spatial_key: str = "spatial",
    tissue_key: str | None = None,
    model: Model | str | PathLike[str] = keys.CELLS_MINI,
    adapt: bool | None = None,
    n_neighbors: int | None = None,
    n_niches: int | None = None,
    resolution: float = 0.2,
    composition: float = 0.0,
    center_tissues: bool = True,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    species: Literal["auto"] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
    key_added: str = keys.NICHE,
    copy: bool = False,
) -> AnnData | None:
    """Find the niches of a tissue: what surrounds a cell, as an embedding and as clusters.

    A cell model embeds every cell, and every cell gets the mean of its neighbourhood in the tissue, near cells weighing
    more than far ones, and with ``composition`` beside it the composition of the neighbourhood: the shares of 16 states
    of cells, clusters of the embedding. Cells of different tissues are no neighbours. Places count by their distances
    alone: a tissue may be moved, turned, mirrored or scaled.

    Parameters
    ----------
    adata
        Cells × genes with raw counts in ``layers["counts"]``, ``X`` or ``raw``, and positions.
    spatial_key
        Key of ``obsm`` with the positions, ``(cells, 2)`` in any unit, which every cell has.
    tissue_key
        Column of ``obs`` with the tissue, such as a slice; by default all cells are of one.
    model
        Model that embeds the cells: of any family, the directory of a saved one, a name on the hub, or
        ``"cells-mini"``, the model in the box. Positions are not told to it.
    adapt
        Let the model learn from these cells first, which takes seconds; by default it does if it can.
    n_neighbors
        Size of a neighbourhood, in cells; by default, of 4 to 64, the one that predicts cells best from the others in
        it.
    n_niches
        Number of niches, found by k-means; by default Leiden decides by ``resolution``.
    resolution
        Resolution of Leiden: the higher, the more niches. It is not used with ``n_niches``.
    composition
        Weight of the composition beside the mean of the embedding, each in standard deviations, such as 0.5; by default
        0, which leaves it out, because it did not help on tissues that nothing was chosen on.
    center_tissues
        Take the mean of its tissue off every cell's embedding, so that slices measured apart share their niches; False
        where tissues differ in what they are, not in how they were measured, as tumour and normal tissue do.
    layer, counts, species
        Reading options, see :class:`celloquy.CellColumns`.
    precision, device, progress
        As of :func:`celloquy.embed`.
    seed
        Seed of the clusters; the embedding draws no random numbers.
    key_added
        Key of the results: the column of ``obs``, and with ``X_`` before it the embedding in ``obsm``.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy. Written are

    ``obsm["X_niche"]``
        The embedding of the neighbourhoods, ``(cells, width)`` float32; with ``composition`` scaled to a total variance
        of 1, and followed by the composition.
    ``obs["niche"]``
        The niche of every cell, categorical: ``"0"`` is the largest.
    ``uns["celloquy"]["niche"]``
        How they were made: version, model, genes matched, parameters; ``n_neighbors`` is the size that was used.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError
        If there are no raw counts, too few known genes, no positions, a cell without one, a tissue with fewer cells
        than a neighbourhood or with all at one place, or an argument is unfit; ``adata`` is then as it was.

    Notes
    -----
    Means of an embedding over neighbours are what CellCharter (Varrone et al. 2024, Nature Genetics) and BANKSY
    (Singhal et al. 2024, Nature Genetics) build on, too; the size from prediction is ours.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.niches(adata, tissue_key="slice")
    >>> cq.plots.niches(adata, tissue_key="slice")
    """
    began = time.perf_counter()
    if n_neighbors is not None:
        check_whole_number("n_neighbors", n_neighbors, least=2)
    if n_niches is not None:
        check_whole_number("n_niches", n_niches, least=1, most=max(adata.n_obs, 1))
    check_number("resolution", resolution, exclude_least=True)
    check_whole_number("seed", seed, least=0, most=2**32 - 1)
    check_number("composition", composition)
    check_choice("center_tissues", center_tissues, (True, False))
    check_choice("adapt", adapt, (True, False, None))
    choose_device(device)
    check_result(adata, key_added, copy=copy)
    check_name("spatial_key", spatial_key, "the name of one key of obsm")
    positions = read_positions(adata, spatial_key, optional=False)
    # What the model is told: the tissue, if it reads that, but not the places, which would not let a tissue be turned.
    source = CellSource(adata, CellColumns(layer=layer, counts=counts, tissue_key=tissue_key, species=species))
    parts = tissue_cells(positions, source.tissue, source.tissues, n_neighbors)
    model = resolve_model(model)
    reader = source.over(model.vocabulary)
    if "adapt" in model.abilities if adapt is None else adapt:
        model.require(["adapt"], "`adapt=True`")
        model = model.adapted(reader)
    cells = embedded(model, reader, precision=precision, device=device, progress=progress)
    if center_tissues:
        for part in parts:
            cells[part] -= cells[part].mean(axis=0)
    size = n_neighbors or best_size(cells, positions, parts)
    vectors = averaged(cells, positions, parts, size)
    if composition:
        shares = scaled(averaged(states_of(cells), positions, parts, size))
        vectors = np.hstack([scaled(vectors), np.float32(composition) * shares])
    niche = grouped(vectors, n_niches, resolution, seed)
    parameters = {
        "adapt": "" if adapt is None else str(adapt), "counts": counts or "", "spatial_key": spatial_key,
        "tissue_key": tissue_key or "", "n_neighbors": size, "n_niches": len(niche.categories),
        "resolution": float(resolution), "composition": float(composition),
        "center_tissues": bool(center_tissues),
        "seed": int(seed),
    }  # fmt: skip
    record = provenance("niches", model.fingerprint, reader.source, reader.report, parameters, began)
    return deliver(
        adata, obs={key_added: niche}, obsm={f"X_{key_added}": vectors}, record=record, key=key_added, copy=copy
    )
