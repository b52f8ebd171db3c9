"""Embed the cells of an AnnData: every cell read together with its tissue."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

import celloquy
from celloquy import keys
from celloquy.data import Cells
from celloquy.errors import ArgumentError
from celloquy.genes import AlignmentReport
from celloquy.models import CellModel
from celloquy.models.compute import Precision, autocast, choose_device, choose_precision
from celloquy.nn.streaming import stream_encoder
from celloquy.training.progress import ProgressBar

if TYPE_CHECKING:
    from anndata import AnnData

CHUNK_BYTES = 256 * 2**20
"""Memory for the cells that are computed at a time, where the user does not say how many."""


def embed(
    adata: AnnData,
    *,
    model: CellModel | str | PathLike[str],
    layer: str | None = None,
    tissue_key: str | None = None,
    spatial_key: str | None = None,
    batch_size: int | None = None,
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
        Cells × genes with raw counts in ``layers["counts"]``, ``X`` or ``raw``; genes as Ensembl ids or symbols.
    model
        A model, or the directory of a saved one.
    layer
        Where the raw counts are (a layer, ``"X"`` or ``"raw"``), if not in the first of the above that holds counts.
    tissue_key
        Column of ``obs`` that tells which cells are read together (a sample, a slice); by default all of them.
    spatial_key
        Key of ``obsm`` with positions, ``(cells, 2)`` in any unit; by default the model is not told where a cell lies.
    batch_size
        Cells computed at a time; by default as many as fit 256 MB. A tissue may be larger: it is then streamed.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the hardware has it and the model is wide.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU where there is one.
    key_added
        Key of ``obsm`` and ``uns`` for the result.
    progress
        Show a progress bar.
    copy
        Return a copy with the result, and leave ``adata`` as it is.

    Returns
    -------
    None, or the copy. Written are

    ``obsm["X_celloquy"]``
        The embedding, ``(cells, latent)`` float32.
    ``uns["celloquy"]``
        How it was made: version, model, genes matched, parameters, cells without a known count.

    Raises
    ------
    CountsError, GenesError, ArgumentError, CheckpointError
        If there are no raw counts, too few known genes, an argument is unfit, or the model can't be read.
        ``adata`` is then as it was.

    Examples
    --------
    >>> import celloquy as cq
    >>> model = cq.CellModel.from_pretrained("model/")
    >>> cq.embed(adata, model=model, tissue_key="sample")
    >>> sc.pp.neighbors(adata, use_rep="X_celloquy")
    """
    began = time.perf_counter()
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(
            "`batch_size` can't be used.",
            found=repr(batch_size),
            expected="a whole number of at least 1, or None",
            remedy="leave it out: the embedding does not depend on it.",
        )
    if not isinstance(model, CellModel):
        model = CellModel.from_pretrained(model)
    target = choose_device(device)
    exact = choose_precision(precision, target, model.config.width)
    cells = Cells(adata, model.vocabulary, layer=layer, tissue_key=tissue_key, spatial_key=spatial_key)
    embedding, empty = embed_cells(
        model, cells, batch_size=batch_size, precision=exact, device=target, progress=progress
    )
    provenance = {
        "version": celloquy.__version__,
        "task": "embed",
        "model": model.fingerprint,
        "counts": cells.source,
        "genes": _genes(cells.report),
        "empty_cells": adata.obs_names[empty].to_numpy(dtype=str),
        "parameters": {
            "tissue_key": tissue_key or "",
            "spatial_key": spatial_key or "",
            "precision": exact,
            "device": str(target),
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began, 3),
    }
    result = adata.copy() if copy else adata
    result.obsm[key_added] = embedding
    result.uns[keys.PROVENANCE if key_added == keys.EMBEDDING else key_added] = provenance
    return result if copy else None


@torch.inference_mode()
def embed_cells(
    model: CellModel,
    cells: Cells,
    *,
    batch_size: int | None,
    precision: Literal["float32", "bfloat16"],
    device: torch.device,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the embedding ``(cells, latent)`` float32, and the numbers of the cells without a known count.

    Three steps: every cell's own vector into one buffer, the encoder over that buffer tissue by tissue, the latent.
    """
    was_training = model.training
    model = model.to(device).eval()
    chunk = batch_size or _cells_in(CHUNK_BYTES, model.config.width, model.config.feedforward)
    runs = [(start, min(start + chunk, len(cells))) for start in range(0, len(cells), chunk)]
    steps = 2 + (model.config.layers if model.config.attention == "flow" else 1)
    bar = ProgressBar(total=steps * len(cells), desc="Embedding", unit=" cell-steps", disable=not progress)
    buffer = torch.empty(len(cells), model.config.width)
    empty = np.zeros(len(cells), dtype=bool)
    latent = np.empty((len(cells), model.config.latent_width), dtype=np.float32)
    try:
        with bar:
            with autocast(precision, device):
                for start, stop in runs:
                    batch = cells.read(start, stop)
                    empty[start:stop] = batch.indptr.diff().eq(0).numpy()
                    buffer[start:stop] = model.embed_expression(batch.to(device)).float().cpu()
                    bar.update(stop - start)
                _encode(model, buffer, torch.from_numpy(cells.tissue), chunk, device, bar)
            # In float32: near the border of two components of the mixture a rounding would decide.
            for start, stop in runs:
                encoded = model.norm(buffer[start:stop].to(device))
                latent[start:stop] = model.latent(encoded).mean.cpu().numpy()
                bar.update(stop - start)
    finally:
        model.train(was_training)
    return latent, np.flatnonzero(empty)


def _genes(report: AlignmentReport) -> dict[str, Any]:
    """Return an alignment report in the types that an h5ad file holds."""
    return {
        "names": report.names,
        "matched": report.matched,
        "share": report.share,
        "weighed_by": report.weighed_by,
        "species": report.species,
        "rules": dict(report.rules),
        "summed": np.array([" + ".join(duplicate.names) for duplicate in report.duplicates], dtype=str),
        "yielded": np.array(report.yielded, dtype=str),
        "ambiguous": np.array(list(report.ambiguous), dtype=str),
        "unknown": np.array(report.unknown, dtype=str),
        "elsewhere": np.array(report.elsewhere, dtype=str),
    }


def _encode(
    model: CellModel, buffer: Tensor, tissue: Tensor, chunk: int, device: torch.device, bar: ProgressBar
) -> None:
    """Encode the buffer in place: small tissues several at a time, one larger than a chunk streamed."""
    order = tissue.argsort(stable=True)
    sizes = tissue[order].unique_consecutive(return_counts=True)[1].tolist()
    whole = model.config.attention == "softmax"
    start = 0
    pending: list[Tensor] = []

    def flush() -> None:
        if pending:
            rows = torch.cat(pending)
            encoded = model.encoder(buffer[rows].to(device), tissue[rows].to(device))
            buffer[rows] = encoded.float().cpu()
            bar.update(len(rows) * (model.config.layers if model.config.attention == "flow" else 1))
            pending.clear()

    for size in sizes:
        rows = order[start : start + size]
        start += size
        if size > chunk and not whole:
            stream_encoder(model.encoder, buffer, rows, chunk, bar.update)
            continue
        if sum(map(len, pending)) + size > chunk:
            flush()
        pending.append(rows)
    flush()


def _cells_in(memory: int, width: int, feedforward: int) -> int:
    """Cells whose vectors, queries, keys, values and hidden layers fit a number of bytes in float32."""
    return max(64, memory // (4 * (6 * width + 2 * feedforward)))
