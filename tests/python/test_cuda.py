"""On a GPU: the same answer as on a processor. Skipped where there is none."""

import numpy as np
import pytest
import torch

import celloquy as cq
from celloquy.data import CellSource
from celloquy.nn import densify
from celloquy.nn.masking import BiLevelMask
from celloquy.training.masked_counts import MaskedCounts
from examples import cells, small_model
from gene_examples import HUMAN, gene_cells, small_gene_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("dense_from", [0, 10**6])
@pytest.mark.parametrize("tissue_key", [None, "sample"])
def test_embedding_is_that_of_the_processor(monkeypatch, batch_size, dense_from, tissue_key):
    """By dense products and by gathering, streamed and at once."""
    monkeypatch.setitem(densify.DENSE_FROM, "cuda", dense_from)
    model, adata = small_model(), cells(100)
    found = {}
    for device in ("cpu", "cuda"):
        done = cq.embed(
            adata, model=model, tissue_key=tissue_key, batch_size=batch_size, precision="float32", device=device,
            progress=False, copy=True,
        )  # fmt: skip
        found[device] = done.obsm["X_celloquy"]
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["cell model", "gene model"])
def test_pretraining_learns(family, precision):
    of_cells = family == "cell model"
    adata, config = (cells(200), "mini") if of_cells else (gene_cells(200), cq.GeneModelConfig(priors=()))
    model = cq.pretrain(adata, config=config, epochs=3, device="cuda", precision=precision, progress=False)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert np.isfinite(model.history["loss"]).all()


@pytest.mark.parametrize("positions", ["none", "rank"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_of_a_gene_model_is_that_of_the_processor(precision, positions):
    """The same genes are hidden of the same cells, and the losses and gradients are the same."""
    model = small_gene_model(positions=positions, cell_weight=0.3, summary=positions == "none")
    batch = CellSource(gene_cells(100, empty=True)).over(model.vocabulary).read_all()
    mask = BiLevelMask.draw(len(batch), model.pretraining_masking, seed=0)
    figures, gradients = {}, {}
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        found = MaskedCounts(model, precision)(batch.to(device), mask.to(device))
        found["loss"].backward()
        figures[device] = [float(value.detach()) for value in found.values()]
        gradients[device] = {
            name: weight.grad.to("cpu", copy=True)
            for name, weight in model.named_parameters()
            if weight.grad is not None
        }
    close = {"rtol": 1e-4, "atol": 1e-5} if precision == "float32" else {"rtol": 0.05, "atol": 0.05}
    np.testing.assert_allclose(figures["cuda"], figures["cpu"], **close)
    assert gradients["cuda"].keys() == gradients["cpu"].keys()
    for name, expected in gradients["cpu"].items():
        error = float((gradients["cuda"][name] - expected).norm())
        assert error <= (1e-3 if precision == "float32" else 0.1) * float(expected.norm()) + 1e-4, name


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_gene_model_knows_of_cells_and_genes_is_that_of_the_processor(precision):
    model, adata = small_gene_model(), gene_cells(100, empty=True)
    close = {"atol": 1e-4} if precision == "float32" else {"atol": 0.2}
    found = {}
    for device in ("cpu", "cuda"):
        how = {"precision": precision, "device": device, "progress": False}
        done = cq.embed(adata, model=model, copy=True, **how)
        vectors = cq.gene_embeddings(model, adata, **how)
        attention = cq.gene_attention(model, adata, HUMAN[:5], **how)
        found[device] = done.obsm["X_celloquy"], vectors.X, attention["attention"].to_numpy()
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, **close)
