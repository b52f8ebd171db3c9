"""Embed the cells of an AnnData: every cell read together with its tissue."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from celloquy import keys
from celloquy.checks import check_whole_number
from celloquy.data import CellColumns, CellSource
from celloquy.data.store import add_to_store, copy_store, opened, write_store
from celloquy.errors import ArgumentError
from celloquy.models import Model
from celloquy.models.encoding import EmbeddingOptions
from celloquy.runtime.arrays import reserve
from celloquy.runtime.hardware import Precision, choose_device, choose_precision
from celloquy.runtime.memory import memory_budget
from celloquy.runtime.resume import ROOM, fingerprint_of, resumable_output
from celloquy.tasks.results import deliver, provenance
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData


def embed(
    adata: AnnData | str | PathLike[str],
    *,
    model: Model | str | PathLike[str],
    out: str | PathLike[str] | None = None,
    layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    species: Literal["auto"] | None = None,
    batch_size: int | None = None,
    max_memory: int | str | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    key_added: str = keys.EMBEDDING,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells with a cell language model.

    Every cell is read together with all cells of its tissue. The embedding does not depend on ``batch_size``, nor on
    the order of the cells or of the genes, and draws no random numbers.

    Parameters
    ----------
    adata
        Cells × genes with raw counts in ``layers["counts"]``, ``X`` or ``raw``; genes as Ensembl ids or symbols. In
        memory, backed, or the path of an h5ad file or a zarr directory, which is then read as it is needed.
    model
        Model of any family, or the directory of a saved one.
    out
        File to write, ``.h5ad`` or ``.zarr``: ``obs`` and the embedding, without counts. ``adata`` stays as it is,
        unless ``out`` is the very path of ``adata``, to which the embedding is then added. The file appears when it
        is whole; a call that was interrupted goes on where it was when it is repeated.
    layer, tissue_key, spatial_key, species
        Reading options, see :class:`celloquy.data.CellColumns`.
    batch_size
        Cells computed at a time; by default as many as suit the hardware. A tissue may be larger: it is then streamed.
    max_memory
        Memory to use, the model included: bytes, or text such as ``"4 GB"``. What does not fit lies in temporary files.
        By default half of what the machine has free.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one.
    key_added
        Key of ``obsm`` for the embedding.
    progress
        Show a progress bar.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy. Written are

    ``obsm["X_celloquy"]``
        The embedding, ``(cells, width)`` float32.
    ``uns["celloquy"]["X_celloquy"]``
        How it was made: version, model, genes matched, parameters, cells without a known count.

    With ``out`` they are written to the file instead, and nothing is returned.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, DiskError
        If there are no raw counts, too few known genes, an argument is unfit, the model can't be read, or the disk is
        full. ``adata``, and a file that was there before, are then as they were.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.CellModel.from_pretrained("model/")
    >>> cq.embed(adata, model=model, tissue_key="sample")
    >>> sc.pp.neighbors(adata, use_rep="X_celloquy")

    More cells than fit the memory, from file to file:

    >>> cq.embed("atlas.h5ad", out="embedded.h5ad", model=model, tissue_key="sample")
    """
    began = time.perf_counter()
    if batch_size is not None:
        check_whole_number(
            "batch_size", batch_size, least=1, remedy="leave it out: the embedding does not depend on it."
        )
    columns = CellColumns(layer=layer, tissue_key=tissue_key, spatial_key=spatial_key, species=species)
    hardware = choose_device(device)
    memory = memory_budget(max_memory, hardware)
    source = Path(adata) if isinstance(adata, str | PathLike) else None
    target = None if out is None else Path(out)
    if source is not None and target is None:
        raise ArgumentError(
            "`out` is missing.",
            found=f"`adata` is a path, {str(source)!r}, and `out` is not given",
            expected="the path of a new file",
            remedy=f"pass out={f'{source.stem}_embedded{source.suffix}'!r}, or read the file first.",
            argument="out",
        )
    with ExitStack() as stack:
        output = None if target is None else stack.enter_context(resumable_output(target))
        cells = stack.enter_context(opened(adata))
        if not isinstance(model, Model):
            model = Model.from_pretrained(model)
        exact = choose_precision(precision, hardware, model.config.width)
        # A hash of all weights takes a while, so it is made beside the look at the counts.
        fingerprint = stack.enter_context(ThreadPoolExecutor(1)).submit(attrgetter("fingerprint"), model)
        reader = CellSource(cells, columns).over(model.vocabulary)
        identity: dict[str, str | int] = {
            "version": VERSION,
            "model": fingerprint.result(),
            "counts": reader.source,
            "positions": spatial_key or "",
            "species": species or "",
            "input": fingerprint_of(source or cells.filename),
        }
        added_to = source if source and target and target.exists() and target.samefile(source) else None
        folder = None if output is None else output.folder
        if output is not None:
            # HDF5 does not survive a full disk, so the room is taken before hours are spent, and held until then.
            room = output.folder / ROOM
            reserve(room, _size_of_result(model, cells, added_to))
        elif model.bytes_to_embed(len(reader), exact) > memory // 2:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="celloquy-")))
        options = EmbeddingOptions(
            batch_size=batch_size, memory=memory, precision=exact, device=hardware, folder=folder, identity=identity,
            progress=progress,
        )  # fmt: skip
        was_training = model.training
        try:
            embedding = model.embed(reader, options)
        finally:
            model.train(was_training)
        parameters = {
            "tissue_key": tissue_key or "",
            "spatial_key": spatial_key or "",
            "precision": exact,
            "device": str(hardware),
        }
        record = provenance("embed", str(identity["model"]), reader.source, reader.report, parameters, began)
        record["empty_cells"] = cells.obs_names[embedding.empty.open()[:, 0] > 0].to_numpy(dtype=str)
        if output is None:
            vectors = embedding.vectors.open()
            obsm = {key_added: np.array(vectors) if folder else vectors}
            return deliver(cells, obsm=obsm, record=record, key=key_added, copy=copy)
        rows, uns = {key_added: embedding.vectors}, {keys.PROVENANCE: {key_added: record}}
        room.unlink()
        if added_to is not None:
            copy_store(added_to, output.result)
            add_to_store(output.result, obsm=rows, uns=uns)
        else:
            write_store(output.result, cells.obs, obsm=rows, uns=uns)
    return None


def _size_of_result(model: Model, adata: AnnData, copied: Path | None) -> int:
    """Bytes that a file with the embedding takes, on the safe side."""
    files = [] if copied is None else [copied, *copied.rglob("*")] if copied.is_dir() else [copied]
    annotation = int(adata.obs.memory_usage(deep=True).sum())
    return 4 * adata.n_obs * model.embedding_width + 2 * annotation + sum(f.stat().st_size for f in files) + 2**20
