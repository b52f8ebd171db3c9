"""On a GPU: the same answer as on a processor. Skipped where there is none."""

import numpy as np
import pytest
import torch

import celloquy as cq
from celloquy.nn import densify
from examples import cells, small_model

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
def test_pretraining_learns(precision):
    model = cq.pretrain(cells(200), epochs=3, device="cuda", precision=precision, progress=False)
    assert all(weight.isfinite().all() for weight in model.parameters())
