"""One measurement in one process, for ``peer.py``: prints a line of JSON.

Usage: python peer_worker.py TASK '{"folder": ..., "prefix": ..., ...}'

Tasks of the released CellPLM run in its own environment, the others in celloquy's, so nothing of either is imported
before it is known which task it is. The released package is used as it is installed, without a shim.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

Task = dict[str, Any]

GEMM = (2048, 1024, 1024)
WARM_UP_CELLS = 64
# The released loops clip at this length; the released configuration names the other two.
CLIP, LEARNING_RATE, WEIGHT_DECAY = 2.0, 2e-4, 1e-8


# ---- Both sides


def main() -> None:
    """Run a task and print what it found."""
    warnings.filterwarnings("ignore")
    name, task = sys.argv[1], json.loads(sys.argv[2])
    import torch

    torch.set_num_threads(task["threads"])
    torch.manual_seed(task.get("seed", 0))
    found = TASKS[name](task)
    print("\n" + json.dumps(found | {"peak_memory": peak_memory()}))


def peak_memory() -> int:
    """Most bytes that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss would start at what the parent held when it forked.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read_cells(task: Task, first: int | None = None) -> Any:
    """The cells of the benchmark, or the first of them."""
    import anndata as ad

    adata = ad.read_h5ad(task["cells_file"])
    return adata if first is None else adata[:first].copy()


# ---- The released CellPLM


def make_checkpoint(task: Task) -> Task:
    """Write a checkpoint of the published configuration with random weights."""
    import torch
    from CellPLM.model import OmicsFormer

    prefix = Path(task["prefix"])
    config = task["config"] | {"gene_list": Path(task["genes_file"]).read_text().split()}
    model = OmicsFormer(**config)
    with torch.no_grad():
        # The released code draws Gumbel noise in evaluation too. With logits far apart the draw decides nothing, so
        # the embeddings can be compared; what is computed, and how long it takes, is the same.
        model.latent.layers[1].inference.inference_qyx[0].logits.weight.mul_(200)
    prefix.with_name(prefix.name + ".config.json").write_text(json.dumps(config))
    torch.save({"model_state_dict": model.state_dict()}, prefix.with_name(prefix.name + ".best.ckpt"))
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


def peer_pipeline(task: Task) -> Any:
    """The released pipeline with the checkpoint."""
    from CellPLM.pipeline.cell_embedding import CellEmbeddingPipeline

    prefix = Path(task["prefix"])
    return CellEmbeddingPipeline(pretrain_prefix=prefix.name, pretrain_directory=str(prefix.parent))


def peer_embed(task: Task) -> Task:
    """Embed all cells as the released tutorial does."""
    pipeline, adata = peer_pipeline(task), read_cells(task)
    pipeline.predict(adata[:WARM_UP_CELLS].copy(), device="cpu")
    began = time.perf_counter()
    pipeline.predict(adata, device="cpu")
    return {"seconds": time.perf_counter() - began}


def peer_reference(task: Task) -> Task:
    """Write what the released code computes: the encoded cells, the logits of the mixture, the embedding."""
    import numpy as np

    pipeline, adata = peer_pipeline(task), read_cells(task)
    seen: dict[str, Any] = {}
    model = pipeline.model
    model.pre_latent_norm.register_forward_hook(lambda *call: seen.update(encoded=call[2].numpy()))
    logits = model.latent.layers[1].inference.inference_qyx[0].logits
    logits.register_forward_hook(lambda *call: seen.update(logits=call[2].numpy()))
    seen["latent"] = pipeline.predict(adata, device="cpu").numpy()
    np.savez(task["reference_file"], **seen)
    return {}


def peer_step(task: Task) -> Task:
    """One step of pretraining, forward, backward and AdamW, with the released model and loss."""
    import numpy as np
    import torch
    from CellPLM.pipeline import load_pretrain
    from CellPLM.utils.data import XDict, sparse_scipy_to_tensor

    np.random.seed(task["seed"])  # noqa: NPY002 - from which the released masks are drawn
    prefix = Path(task["prefix"])
    # By default the released step leaves out 30 % of the cells; here both sides learn from all of them.
    model = load_pretrain(prefix.name, {"drop_node_rate": 0.0}, str(prefix.parent)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    adata = read_cells(task, task["step_cells"])
    counts = sparse_scipy_to_tensor(adata.X)
    sample = torch.from_numpy(adata.obs["sample"].cat.codes.to_numpy().astype("int64"))

    def step() -> float:
        batch = {"x_seq": counts, "batch": sample, "dataset": torch.zeros_like(sample)}
        # Asked for, and not used.
        batch["coord"] = torch.full((len(sample), 2), -1.0)
        batch["gene_mask"] = torch.ones(counts.shape[1], dtype=torch.bool)
        _, loss = model(XDict(batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return timed_step(step)


def peer_annotate(task: Task) -> Task:
    """One epoch of fine-tuning on labels: the released pipeline as in its tutorial, on all genes."""
    from CellPLM.pipeline.cell_type_annotation import (
        CellTypeAnnotationDefaultModelConfig,
        CellTypeAnnotationPipeline,
    )

    prefix, adata = Path(task["prefix"]), read_cells(task, task["label_cells"])
    # Every tenth cell is validated on. As in the step above, no cell is left out of those that are learned from.
    adata.obs["split"] = ["valid" if number % 10 == 0 else "train" for number in range(adata.n_obs)]
    config = CellTypeAnnotationDefaultModelConfig | {"out_dim": adata.obs["kind"].nunique(), "drop_node_rate": 0.0}

    def fit(epochs: int) -> None:
        pipeline = CellTypeAnnotationPipeline(prefix.name, dict(config), str(prefix.parent))
        pipeline.fit(
            adata, {"epochs": epochs, "hvg": 0}, "split", "train", "valid", label_fields=["kind"], device="cpu"
        )

    return timed_epochs(fit)


# ---- celloquy


def make_cells(task: Task) -> Task:
    """Write the cells of the benchmark, and the names of their genes."""
    from random_cells import random_cells

    adata = random_cells(task["cells"], task["config"]["out_dim"], task["genes_a_cell"], task["seed"])
    Path(task["genes_file"]).write_text("\n".join(adata.var_names))
    adata.write_h5ad(task["cells_file"])
    return {"genes_a_cell": adata.X.nnz / adata.n_obs, "counts_a_cell": float(adata.X.sum()) / adata.n_obs}


def embed(task: Task) -> Task:
    """Embed all cells, and measure how fast this processor multiplies matrices meanwhile."""
    import celloquy as cq

    model, adata = cq.read_cellplm(task["prefix"]), read_cells(task)
    how = {"model": model, "precision": task["precision"], "device": "cpu", "progress": False}
    cq.embed(adata[:WARM_UP_CELLS].copy(), **how)
    began = time.perf_counter()
    cq.embed(adata, **how)
    seconds = time.perf_counter() - began
    found = {"seconds": seconds, "flop_a_cell": flop_a_cell(model, adata.X.nnz / adata.n_obs)}
    # The memory first: the products below need some of their own.
    return found | {"embedding_memory": peak_memory(), "gemm": gemm_rate(task["precision"])}


def flop_a_cell(model: Any, genes_a_cell: float) -> dict[str, float]:
    """Floating-point operations that the embedding of a cell needs, an addition and a product being two."""
    import torch

    config = model.config
    # Of the mixture, the embedding needs the component and the mean.
    parts = [model.embedder, model.encoder, model.latent.component, model.latent.hidden, model.latent.mean]
    linears = [linear for part in parts for linear in part.modules() if isinstance(linear, torch.nn.Linear)]
    return {
        "genes": 2 * genes_a_cell * config.width,
        "linear": sum(2 * linear.weight.numel() for linear in linears),
        # Keys times values, and queries times that.
        "attention": config.layers * 4 * config.width * config.width / config.heads,
    }


def gemm_rate(precision: str) -> float:
    """Floating-point operations a second of a plain matrix product."""
    import torch

    rows, inner, columns = GEMM
    left = torch.randn(rows, inner).to(getattr(torch, precision))
    right = torch.randn(inner, columns).to(getattr(torch, precision))
    times = []
    for _ in range(30):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    return 2 * rows * inner * columns / statistics.median(times[5:])


def step(task: Task) -> Task:
    """One step of pretraining, forward, backward and AdamW, with the objective that ``cq.pretrain`` uses."""
    import torch

    import celloquy as cq
    from celloquy.data import CellColumns, CellSource
    from celloquy.nn.masking import BiLevelMask, Masking
    from celloquy.training.masked_counts import MaskedCounts

    model = cq.read_cellplm(task["prefix"])
    objective = MaskedCounts(model, task["precision"]).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    adata = read_cells(task, task["step_cells"])
    cells = CellSource(adata, CellColumns(batch_key="sample")).over(model.vocabulary)
    batch = cells.read(0, adata.n_obs)
    masking = Masking(share=task["config"]["mask_node_rate"], beta=(5.0, 4 / task["config"]["mask_feature_rate"] - 3))

    def one() -> float:
        mask = BiLevelMask.draw(len(batch), masking, seed=task["seed"])
        loss = objective(batch, mask)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), CLIP)
        optimizer.step()
        # Here, as in the loop of training: no gradient lies about while the next loss is computed.
        optimizer.zero_grad()
        return loss.item()

    return timed_step(one)


def annotate(task: Task) -> Task:
    """One epoch of fine-tuning on labels, as :class:`celloquy.Annotator` does it."""
    import celloquy as cq

    model, adata = cq.read_cellplm(task["prefix"]), read_cells(task, task["label_cells"])

    def fit(epochs: int) -> None:
        how = {"precision": task["precision"], "device": "cpu", "progress": False}
        cq.Annotator(label_key="kind", model=model, epochs=epochs, **how).fit(adata)

    return timed_epochs(fit)


def timed_epochs(fit: Any, more: int = 3) -> Task:
    """Time an epoch: what some epochs more take, so that reading, selecting and what follows the training cancel."""
    times = []
    for epochs in (1, 1 + more):
        began = time.perf_counter()
        fit(epochs)
        times.append(time.perf_counter() - began)
    return {"seconds": (times[1] - times[0]) / more, "fits": times}


def timed_step(step: Any) -> Task:
    """Time the last of three steps: the first also makes the state of the optimiser, and both find their memory."""
    losses, seconds = [], 0.0
    for _ in range(3):
        began = time.perf_counter()
        losses.append(step())
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "losses": losses}


def compare(task: Task) -> Task:
    """Compare the embeddings with those of the released code, and the precisions with each other."""
    import numpy as np
    import torch

    import celloquy as cq
    from celloquy.data import CellSource

    reference = np.load(task["reference_file"])
    model, adata = cq.read_cellplm(task["prefix"]), read_cells(task)
    batch = CellSource(adata).over(model.vocabulary).read(0, adata.n_obs)
    with torch.inference_mode():
        encoded = model.eval().encode(batch).numpy()
    latent, component = {}, {}
    chosen: list[Any] = []
    model.latent.component.register_forward_hook(lambda *call: chosen.append(call[2].argmax(1).numpy()))
    for precision in ("float32", "bfloat16"):
        chosen.clear()
        cq.embed(adata, model=model, precision=precision, device="cpu", progress=False)
        latent[precision] = adata.obsm["X_celloquy"].astype(np.float64)
        component[precision] = np.concatenate(chosen)
    second, first = np.sort(reference["logits"], axis=1)[:, -2:].T
    # Two Gumbel draws differ by 25 once in 10^11.
    sure = first - second > 25
    released = reference["latent"].astype(np.float64)
    alike = cosine(latent["bfloat16"], latent["float32"])
    agreed = component["bfloat16"] == component["float32"]
    return {
        "cells": adata.n_obs,
        "encoded_difference": float(np.abs(encoded - reference["encoded"]).max()),
        "sure": int(sure.sum()),
        "components": len(np.unique(reference["logits"].argmax(1))),
        "difference": float(np.abs(latent["float32"] - released)[sure].max(initial=0)),
        "cosine": float(cosine(latent["float32"], released)[sure].min(initial=1)),
        "size": float(np.abs(released).max()),
        # How far apart the cells are: a cosine says little where all cells are alike.
        "cosine_of_cells": float(np.median(cosine(released, released[::-1]))),
        "bfloat16_cosine": float(alike.min()),
        "bfloat16_below": int((alike < 0.9999).sum()),
        # A cell between two components of the mixture moves by a step when a rounding decides for the other.
        "bfloat16_moved": int((~agreed).sum()),
        "bfloat16_cosine_unmoved": float(alike[agreed].min()),
        "bfloat16_difference": float(np.abs(latent["bfloat16"] - latent["float32"]).max()),
    }


def cosine(left: Any, right: Any) -> Any:
    """Cosine of every row with its counterpart."""
    import numpy as np

    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def chunks(task: Task) -> Task:
    """Embed the same cells in runs of several sizes; each against all of them at once."""
    import numpy as np

    import celloquy as cq

    model = cq.read_cellplm(task["prefix"])
    rows = []
    for cells, sizes in task["chunks"]:
        adata, whole = read_cells(task, cells), None
        for size in [cells, *sizes]:
            how = {"batch_size": size, "precision": "float32", "device": "cpu", "progress": False}
            cq.embed(adata, model=model, **how)
            found = adata.obsm["X_celloquy"]
            whole = found if whole is None else whole
            scale = np.abs(whole).max(axis=1, keepdims=True)
            difference = np.abs(found - whole)
            rows.append([cells, size, float(difference.max()), float((difference / scale).max())])
    return {"rows": rows}


TASKS = {
    task.__name__: task
    for task in (
        make_checkpoint, peer_embed, peer_reference, peer_step, peer_annotate,
        make_cells, embed, step, annotate, compare, chunks,
    )
}  # fmt: skip

if __name__ == "__main__":
    main()
