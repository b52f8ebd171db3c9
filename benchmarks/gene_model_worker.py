"""One measurement in one process, for ``gene_model.py``: prints a line of JSON.

Usage: python gene_model_worker.py TASK '{"folder": ..., "peer": ..., ...}'

Tasks of the released GeneCompass run in its own environment, the others in celloquy's, so nothing of either is imported
before it is known which task it is. The released files are used as they are.
"""

from __future__ import annotations

import csv
import importlib
import json
import statistics
import sys
import time
import types
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from peer_worker import peak_memory

Task = dict[str, Any]

HUMAN_GENES = 23_113
"""Human genes of the released table of 50,558 tokens; the rest are of the mouse."""
PLACES = 2048
PRIORS = ("promoter", "co_exp", "gene_family", "peca_grn")
GEMM = (2048, 768, 3072)


def main() -> None:
    """Run a task and print what it found."""
    warnings.filterwarnings("ignore")
    name, task = sys.argv[1], json.loads(sys.argv[2])
    import torch

    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    found = TASKS[name](task)
    print("\n" + json.dumps(found | {"peak_memory": found.get("peak_memory") or peak_memory()}))


def timed(call: Any, runs: int) -> list[float]:
    """Seconds of some calls."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


# ---- The released GeneCompass


def released(task: Task) -> Any:
    """The module of the released model."""
    # The package's own __init__ opens a table of tokens that the repository lacks.
    package = types.ModuleType("genecompass")
    package.__path__ = [str(Path(task["peer"]) / "genecompass")]
    sys.modules["genecompass"] = package
    package.MaskedLMOutputBoth = importlib.import_module("genecompass.output").MaskedLMOutputBoth
    return importlib.import_module("genecompass.modeling_bert")


def peer_model(task: Task) -> Any:
    """The released base model with random weights and priors, the same in every process."""
    import torch
    from transformers import BertConfig

    words, width = task["words"], task["width"]
    config = BertConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=task["layers"], num_attention_heads=task["heads"],
        intermediate_size=task["feedforward"], max_position_embeddings=PLACES, hidden_act="gelu",
        hidden_dropout_prob=0.02, attention_probs_dropout_prob=0.02, layer_norm_eps=1e-12, pad_token_id=0,
        use_values=True, use_promoter=True, use_co_exp=True, use_gene_family=True, use_peca_grn=True,
        use_cls_token=True, warmup_steps=10_000, emb_warmup_steps=10_000,
    )  # fmt: skip
    torch.manual_seed(0)
    knowledges: dict[str, Any] = {name: torch.randn(words, 768) for name in PRIORS}
    knowledges["homologous_gene_human2mouse"] = {2: words - 1}
    return released(task).BertForMaskedLM(config, knowledges)


def make_checkpoint(task: Task) -> Task:
    """Write a checkpoint in the released form."""
    model = peer_model(task)
    model.save_pretrained(task["folder"], safe_serialization=False)
    return {"parameters": sum(one.numel() for one in model.parameters())}


def peer_inputs(task: Task, first: int) -> dict[str, Any]:
    """The first cells as the released code takes them: padded to 2,048, as its collator does."""
    import numpy as np
    import torch

    with np.load(Path(task["folder"]) / "tokens.npz") as stored:
        ids, values = (torch.from_numpy(stored[name][:first]) for name in ("ids", "values"))
    species = torch.zeros(len(ids), 1, dtype=torch.int64)
    return {"input_ids": ids, "values": values, "attention_mask": (ids > 0).long(), "species": species}


def peer_embed(task: Task) -> Task:
    """Embed cells as the released scripts do: eight at a time, their tokens given, the CLS row of the last layer."""
    import numpy as np
    import torch

    model, inputs = peer_model(task).eval(), peer_inputs(task, task["peer_cells"])
    found = []
    with torch.no_grad():
        model.bert(**{name: one[:1, :64] if one.shape[1] > 1 else one[:1] for name, one in inputs.items()})
        began = time.perf_counter()
        for start in range(0, task["peer_cells"], 8):
            some = {name: one[start : start + 8] for name, one in inputs.items()}
            found += model.bert(**some)[0][:, 0]
        seconds = time.perf_counter() - began
    np.save(Path(task["folder"]) / "embedding.npy", torch.stack(found).numpy())
    return {"rate": task["peer_cells"] / seconds}


def peer_step(task: Task) -> Task:
    """A training step: forward and backward a cell at a time, as 64 at once take hundreds of GB, and AdamW."""
    import torch

    model, inputs = peer_model(task).train(), peer_inputs(task, task["peer_step_cells"])
    random = torch.Generator().manual_seed(0)
    hidden = (torch.rand(inputs["input_ids"].shape, generator=random) < 0.15) & (inputs["input_ids"] > 0)
    labels = torch.where(hidden, inputs["input_ids"], -100)
    targets = inputs["values"].clone()
    inputs["input_ids"], inputs["values"] = (
        one.masked_fill(hidden, to) for one, to in ((inputs["input_ids"], 1), (inputs["values"], -1.0))
    )
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=5e-5, weight_decay=0.01)
    inputs |= {"labels": labels, "labels_values": targets}
    cells = [
        {name: one[number : number + 1] for name, one in inputs.items()} for number in range(task["peer_step_cells"])
    ]
    each = [timed(lambda one=one: model(**one).loss.backward(), 1)[0] for one in cells]
    (update,) = timed(lambda: (optimiser.step(), optimiser.zero_grad()), 1)
    # The first one makes the gradients.
    return {"seconds": task["step_cells"] * statistics.median(each[1:] or each) + update}


# ---- celloquy


def make_tokens(task: Task) -> Task:
    """Write a table of tokens: the human genes of the cells, filled up to the released numbers, with their medians."""
    import anndata as ad
    import numpy as np

    import celloquy as cq

    adata = ad.read_h5ad(task["data"])
    vocabulary = cq.GeneVocabulary.from_names(adata.var_names)
    counts = read_batch(types.SimpleNamespace(vocabulary=vocabulary), adata).to_csr().tocsc()
    columns = (counts.data[first:last] for first, last in pairwise(counts.indptr))
    known = {
        gene: float(np.median(one)) if len(one) else 0.0
        for gene, one in zip(vocabulary.human_ids, columns, strict=True)
    }
    n_human = min(HUMAN_GENES, (task["words"] - 2) // 2 + 1)
    made = (gene for number in range(10**9, 2 * 10**9) if (gene := f"ENSG{number:011d}") not in known)
    human = [*known][:n_human]
    human += [next(made) for _ in range(n_human - len(human))]
    mouse = [f"ENSMUSG{number:011d}" for number in range(10**9, 10**9 + task["words"] - 2 - n_human)]
    with (Path(task["folder"]) / "tokens.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["gene", "token", "median"])
        for token, gene in enumerate(["<pad>", "<mask>", *human, *mouse]):
            writer.writerow([gene, token, known.get(gene) or ""])
    return {"cells": adata.n_obs, "genes_a_cell": adata.X.nnz / adata.n_obs}


def own_model(task: Task) -> Any:
    """The checkpoint, read by celloquy; without the released code, which writes it, a model of the same shape."""
    import pandas as pd
    import torch

    import celloquy as cq

    table = Path(task["folder"]) / "tokens.tsv"
    if task["peer"]:
        return cq.read_genecompass(task["folder"], tokens=table)
    shape = {name: task[name] for name in ("width", "layers", "heads", "feedforward")}
    known = pd.read_csv(table, sep="\t")[2:]
    config = cq.GeneModelConfig.preset("base").replace(**shape)
    model = cq.GeneModel(config, cq.GeneVocabulary.from_ids(known["gene"].tolist()))
    model.median[2:] = torch.from_numpy(known["median"].fillna(0).to_numpy())
    return model.eval()


def own_cells(task: Task, first: int | None = None) -> Any:
    """Cells of the data in a drawn order, or the first of them."""
    import anndata as ad
    import numpy as np

    adata = ad.read_h5ad(task["data"])
    return adata[np.random.default_rng(0).permutation(adata.n_obs)[:first]].copy()


def read_batch(model: Any, adata: Any) -> Any:
    """Cells over the model's genes."""
    from celloquy.data import CellSource

    return CellSource(adata).over(model.vocabulary).read_all()


def make_inputs(task: Task) -> Task:
    """Write the tokens of the cells that both sides embed."""
    import numpy as np

    model = own_model(task)
    count = max(task["peer_cells"], task["peer_step_cells"])
    ids, values = model.tokenise(read_batch(model, own_cells(task, count))).padded()
    padded = [np.zeros((count, PLACES), one.numpy().dtype) for one in (ids, values)]
    for place, one in zip(padded, (ids, values), strict=True):
        place[:, : one.shape[1]] = one.numpy()
    np.savez(Path(task["folder"]) / "tokens.npz", ids=padded[0], values=padded[1])
    return {"tokens_a_cell": float((ids > 0).sum(1).float().mean())}


def embed(task: Task) -> Task:
    """Embed cells by ``cq.embed``, tokenisation included, and compare with what the released code embedded."""
    import numpy as np
    import torch

    import celloquy as cq

    model, adata = own_model(task), own_cells(task, task["cells"])
    cuda = task["device"] == "cuda"
    how = {"model": model, "precision": task["precision"], "device": task["device"], "progress": False}
    cq.embed(adata[:8].copy(), **how)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    (seconds,) = timed(lambda: cq.embed(adata, **how), 1)
    held = torch.cuda.max_memory_allocated() if cuda else peak_memory()
    found = {"rate": task["cells"] / seconds, "peak_memory": held}
    lengths = model.tokenise(read_batch(model, adata)).lengths
    found["flop"] = flop(model.config, lengths.tolist()) / seconds
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[task["precision"]]
    left, right = (torch.randn(size, device=task["device"], dtype=dtype) for size in (GEMM[:2], GEMM[1:]))

    def product() -> None:
        for _ in range(20):
            left @ right
        if cuda:
            torch.cuda.synchronize()

    product()
    found["gemm"] = 20 * 2 * GEMM[0] * GEMM[1] * GEMM[2] / statistics.median(timed(product, 5))
    file = Path(task["folder"]) / "embedding.npy"
    if file.is_file():
        one, other = np.load(file), adata.obsm["X_celloquy"][: task["peer_cells"]]
        found["difference"] = float(np.abs(one - other).max())
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        found["cosine"] = float(cosine.min())
    return found


def flop(config: Any, lengths: list[int]) -> float:
    """Operations that the embedding of cells of such lengths takes, the last layer for the cells' tokens alone."""
    width, total = config.width, 0.0
    for genes in lengths:
        tokens = genes + 1
        layer = tokens * (8 * width**2 + 4 * width * config.feedforward) + 4 * tokens**2 * width
        last = tokens * 4 * width**2 + 4 * width**2 + 4 * width * config.feedforward + 4 * tokens * width
        total += genes * 2 * width**2 + (config.layers - 1) * layer + last
    return total


def step(task: Task) -> Task:
    """A training step of 64 cells as pretraining takes it: hide, forward, backward, AdamW; the last of three."""
    import torch

    from celloquy.nn.masking import BiLevelMask
    from celloquy.runtime.hardware import autocast

    model = own_model(task).train()
    batch = read_batch(model, own_cells(task, task["step_cells"]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    parts = batch_parts(batch, task["step_part"])

    def once(seed: int) -> None:
        for number, part in enumerate(parts):
            mask = BiLevelMask.draw(len(part), model.pretraining_masking, seed=[seed, number])
            with autocast(task["precision"], torch.device("cpu")):
                losses = model.fill_in(part, part, mask)
            (losses.reconstruction * (len(part) / len(batch))).backward()
        optimiser.step()
        optimiser.zero_grad()

    return {"seconds": [timed(lambda seed=seed: once(seed), 1)[0] for seed in range(3)][-1]}


def batch_parts(batch: Any, size: int) -> list[Any]:
    """The cells in parts whose gradients are added up."""
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def embed_mini(task: Task) -> Task:
    """Embed all cells by a model of the preset mini."""
    import celloquy as cq

    adata = own_cells(task)
    vocabulary = cq.GeneVocabulary.both(adata.var_names)
    batch = read_batch(types.SimpleNamespace(vocabulary=vocabulary), adata)
    model = cq.GeneModel.initialise(cq.GeneModelConfig.preset("mini"), vocabulary, batch)
    how = {"model": model, "precision": task["precision"], "device": task["device"], "progress": False}
    cq.embed(adata[:8].copy(), **how)
    (seconds,) = timed(lambda: cq.embed(adata, **how), 1)
    return {"seconds": seconds, "cells": adata.n_obs}


def tokenise(task: Task) -> Task:
    """Tokenise the cells over and over, at least 20,000 of them."""
    from celloquy.data import CellBatch

    model = own_model(task)
    batch = read_batch(model, own_cells(task))
    batch = CellBatch.concatenate([batch] * -(-20_000 // len(batch)))
    model.tokenise(batch[:2000])
    return {"rate": len(batch) / min(timed(lambda: model.tokenise(batch), 5))}


TASKS = {
    "make_tokens": make_tokens, "make_checkpoint": make_checkpoint, "make_inputs": make_inputs, "embed": embed,
    "peer_embed": peer_embed, "peer_step": peer_step, "step": step, "embed_mini": embed_mini, "tokenise": tokenise,
}  # fmt: skip

if __name__ == "__main__":
    main()
