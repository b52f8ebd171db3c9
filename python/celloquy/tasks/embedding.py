"""Embed the cells of an AnnData: every cell read together with its tissue."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from celloquy import keys
from celloquy.checks import check_path, check_whole_number
from celloquy.data import CellColumns, CellReader, CellSource
from celloquy.data.store import add_to_store, copy_store, opened, quiet_anndata, write_whole
from celloquy.data.tables import text_array
from celloquy.errors import ArgumentError
from celloquy.models import Model
from celloquy.models.encoding import EmbeddingOptions
from celloquy.runtime.arrays import reserve
from celloquy.runtime.hardware import Precision, choose_device, choose_precision
from celloquy.runtime.memory import memory_budget
from celloquy.runtime.processes import check_alike, least_of, start_processes
from celloquy.runtime.resume import ROOM, fingerprint_of, resumable_output, working_folder
from celloquy.tasks.pretrained import refuse_unread, resolve_model
from celloquy.tasks.results import check_result, deliver, genes_cut, provenance
from celloquy.training import TrainingOptions, pretrain
from celloquy.version import VERSION

if TYPE_CHECKING:
    from anndata import AnnData


def embed(
    adata: AnnData | str | PathLike[str],
    *,
    model: Model | str | PathLike[str] = keys.CELLS_MINI,
    adapt: bool | None = None,
    out: str | PathLike[str] | None = None,
    layer: str | None = None,
    counts: Literal["round"] | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    species: Literal["auto"] | None = None,
    batch_size: int | None = None,
    max_memory: int | str | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    devices: int | None = None,
    num_nodes: int | None = None,
    key_added: str = keys.EMBEDDING,
    progress: bool = True,
    copy: bool = False,
) -> AnnData | None:
    """Embed cells with a cell language model.

    A :class:`celloquy.CellModel` reads every cell together with all cells of its tissue. The embedding does not depend
    on ``batch_size``, nor on the number of processes, nor on the order of the cells or of the genes, and draws no
    random numbers.

    Parameters
    ----------
    adata
        Cells × genes with raw counts in ``layers["counts"]``, ``X`` or ``raw``; genes as Ensembl ids or symbols. In
        memory, backed, or a path: of an h5ad or h5mu file or a zarr directory, which is then read as it is needed, or
        of a matrix of Cell Ranger, an h5 file or a folder, which is read whole.
    model
        Model of any family, the directory of a saved one, the name ``"org/name"`` of one on the Hugging Face hub, or
        ``"cells-mini"``, the model in the box: factors of human and mouse cells of some twenty studies;
        ``"genes-mini"`` is the gene model in the box. ``"scratch"`` trains a small model on these cells first, which
        takes minutes; :func:`celloquy.pretrain` has more options.
    adapt
        Let the model learn from these cells first, which takes seconds; by default it does if it can. False embeds them
        as the model knows cells, so that calls with other cells can be compared.
    out
        File to write, ``.h5ad`` or ``.zarr``: ``obs`` and the embedding, without counts. ``adata`` stays as it is,
        unless ``out`` is the very path of ``adata``, to which the embedding is then added. The file appears when it
        is whole; a call that was interrupted goes on where it was when it is repeated.
    layer, counts, tissue_key, spatial_key, species
        Reading options, see :class:`celloquy.CellColumns`. ``tissue_key`` and ``spatial_key`` are an error for a
        model that does not read what they name, such as the one in the box.
    batch_size
        Cells computed at a time; by default as many as suit the hardware. A tissue may be larger: it is then streamed.
    max_memory
        Memory to use, the model included: bytes, or text such as ``"4 GB"``. What does not fit lies in temporary files.
        By default half of what the machine has free.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one.
    devices, num_nodes
        Number of processes on each machine, each with a device of its own, and number of machines; by default as many
        as torchrun or SLURM has started, or one. They share the cells, and all make this call. In memory each gets the
        whole embedding; with ``out`` the first one writes the file, and a call that was interrupted goes on if it is
        repeated with as many processes, and begins anew with another number.
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
    ``obs["celloquy_cut"]``
        For a model that reads a limited number of genes of a cell, such as a :class:`celloquy.GeneModel`: how many of
        the genes that a cell expresses it left out. With ``key_added="X_name"`` it is ``obs["name_cut"]``.

    With ``out`` they are written to the file instead, and nothing is returned.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError, DiskError
        If there are no raw counts, too few known genes, an argument is unfit, the model can't be read, or the disk is
        full. ``adata``, and a file that was there before, are then as they were.

    Examples
    --------
    >>> import celloquy as cq
    >>> cq.embed(adata)
    >>> sc.pp.neighbors(adata, use_rep="X_celloquy")

    A model of your own, which reads every cell with its tissue:

    >>> model = cq.pretrain(adata, out="model/")
    >>> cq.embed(adata, model="model/", tissue_key="sample")

    More cells than fit the memory, from file to file:

    >>> cq.embed("cells.h5ad", out="embedded.h5ad", model=model, tissue_key="sample")
    """
    from anndata import AnnData

    began = time.perf_counter()
    if batch_size is not None:
        check_whole_number(
            "batch_size", batch_size, least=1, remedy="leave it out: the embedding does not depend on it."
        )
    columns = CellColumns(layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, species=species)
    hardware = choose_device(device)
    source = Path(adata) if isinstance(adata, str | PathLike) else None
    target = None if out is None else check_path("out", out, "the path of a new file")
    if source is not None and target is None:
        raise ArgumentError(
            "`out` is missing.",
            found=f"`adata` is a path, {str(source)!r}, and `out` is not given",
            expected="the path of a new file",
            remedy=f"pass out={f'{source.stem}_embedded{source.suffix}'!r}, or read the file first.",
            argument="out",
        )
    processes = start_processes(hardware, devices, num_nodes)
    first, several = processes.is_global_zero, processes.world_size > 1
    if several:
        hardware = processes.device
    # How the cells are cut depends on it, so it is the same in all processes.
    memory = least_of(processes, memory_budget(max_memory, hardware))
    with ExitStack() as stack:
        output = stack.enter_context(resumable_output(target)) if target is not None and first else None
        cells = stack.enter_context(opened(adata))
        check_result(cells, key_added, copy=copy)
        if isinstance(model, str) and model == keys.SCRATCH:
            model = pretrain(
                adata, layer=layer, counts=counts, tissue_key=tissue_key, spatial_key=spatial_key, species=species,
                max_memory=max_memory, precision=precision, device=device, devices=devices, num_nodes=num_nodes,
                progress=progress, training=TrainingOptions(parts=1),
            )  # fmt: skip
        model = resolve_model(model)
        refuse_unread(model, spatial_key=spatial_key, tissue_key=tissue_key)
        adapts = "adapt" in model.abilities if adapt is None else adapt
        if adapts:
            model.require(["adapt"], "`adapt=True`")
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
            "adapt": str(adapts),
            "input": fingerprint_of(source or cells.filename),
        }
        if several:
            facts = {"batch_size": batch_size, "precision": exact, "key_added": key_added, "out": str(target)}
            facts["cells"] = _digest(cells, reader)
            # Cells in memory have no state that processes share.
            check_alike(processes, identity | facts | ({} if source else {"input": ""}))
        if adapts:
            # The same weights to the last bit, whatever the processors.
            model = cast("Model", processes.broadcast(model.adapted(reader) if first else None))
        added_to = source if source and target and target.exists() and target.samefile(source) else None
        folder = None
        if output is not None:
            # HDF5 does not survive a full disk, so the room is taken before hours are spent, and held until then.
            room = output.folder / ROOM
            reserve(room, _size_of_result(model, cells, added_to))
            # So is what the file can't hold.
            if added_to is None:
                with quiet_anndata():
                    bare = AnnData(obs=cells.obs)
                write_whole(bare, output.result)
        elif target is None and model.bytes_to_embed(len(reader), exact) > memory // 2:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="celloquy-")))
        if target is not None:
            # The others make files when the first one has found all well.
            processes.barrier()
            folder = working_folder(target)
            if several:
                folder /= f"part-{processes.global_rank}-of-{processes.world_size}"
                folder.mkdir(parents=True, exist_ok=True)
        options = EmbeddingOptions(
            batch_size=batch_size, memory=memory, precision=exact, device=hardware, folder=folder, identity=identity,
            progress=progress and first, processes=processes, collect=target is None or first,
        )  # fmt: skip
        was_training = model.training
        try:
            embedding = model.embed(reader, options)
        finally:
            model.train(was_training)
        if target is None or first:
            parameters = {
                "adapt": str(adapts),
                "counts": counts or "",
                "tissue_key": tissue_key or "",
                "spatial_key": spatial_key or "",
                "precision": exact,
                "device": str(hardware),
            }
            record = provenance("embed", str(identity["model"]), reader.source, reader.report, parameters, began)
            expressed = embedding.expressed.open()[:, 0]
            record["empty_cells"] = text_array(cells.obs_names[expressed == 0])
            obs = genes_cut(model, expressed, key_added.removeprefix("X_"))
        if target is None:
            vectors = embedding.vectors.open()
            obsm = {key_added: np.array(vectors) if folder else vectors}
            return deliver(cells, obs=obs, obsm=obsm, record=record, key=key_added, copy=copy)
        if output is not None:
            rows, uns = {key_added: embedding.vectors}, {keys.PROVENANCE: {key_added: record}}
            room.unlink()
            if added_to is not None:
                copy_store(added_to, output.result)
            add_to_store(output.result, obs=obs, obsm=rows, uns=uns)
    # None returns before the file is whole.
    processes.barrier()
    return None


def _digest(adata: AnnData, cells: CellReader) -> str:
    """Return a hash of cells and genes, by which processes know that theirs are the same."""
    digest = hashlib.sha256("\n".join(adata.obs_names).encode())
    for one in (cells.tissue, cells.column_totals):
        digest.update(one.tobytes())
    return digest.hexdigest()


def _size_of_result(model: Model, adata: AnnData, copied: Path | None) -> int:
    """Bytes that a file with the embedding takes, on the safe side."""
    files = [] if copied is None else [copied, *copied.rglob("*")] if copied.is_dir() else [copied]
    annotation = int(adata.obs.memory_usage(deep=True).sum())
    return 4 * adata.n_obs * model.embedding_width + 2 * annotation + sum(f.stat().st_size for f in files) + 2**20
