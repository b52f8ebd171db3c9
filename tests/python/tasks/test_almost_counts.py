"""Estimated counts are rounded by every verb that is asked to, in memory and from the disk, and the record says so."""

import numpy as np
import pytest

import celloquy as cq
from celloquy.errors import CountsError
from examples import cells, small_model

QUICK = {"epochs": 1, "progress": False}


def estimated():
    """Cells whose counts are estimates, and the whole numbers that they round to."""
    whole = cells(24)
    adata = whole.copy()
    adata.X.data = adata.X.data + np.random.default_rng(1).uniform(-0.4, 0.4, adata.X.nnz).astype(np.float32)
    for one in (whole, adata):
        one.obs["kind"] = np.where(np.arange(24) % 2, "a", "b")
    return adata, whole


VERBS = {
    "embed": (lambda adata, **o: cq.embed(adata, model=small_model(), progress=False, **o), "X_celloquy"),
    "denoise": (lambda adata, **o: cq.denoise(adata, **QUICK, **o), "celloquy_denoised"),
    "integrate": (lambda adata, **o: cq.integrate(adata, batch_key="sample", **QUICK, **o), "X_celloquy"),
    "annotate": (
        lambda adata, **o: cq.annotate(adata, reference=adata.copy(), label_key="kind", **QUICK, **o), "celloquy_label"
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_rounds_counts_when_asked_to(verb):
    run, key = VERBS[verb]
    adata, whole = estimated()
    before = adata.X.copy()
    with pytest.raises(CountsError, match='counts="round"'):
        run(adata)
    assert not adata.uns
    run(adata, counts="round")
    run(whole)
    record = adata.uns["celloquy"][key]
    assert record["counts"] == "X, rounded"
    assert record["parameters"]["counts"] == "round"
    assert (before != adata.X).nnz == 0
    for place in ("obsm", "layers"):
        for name, value in getattr(whole, place).items():
            np.testing.assert_array_equal(getattr(adata, place)[name], value)


@pytest.mark.parametrize("on_disk", [False, True])
def test_pretraining_rounds_counts_when_asked_to(tmp_path, on_disk):
    adata, whole = estimated()
    model = cq.pretrain(whole, **QUICK)
    given = adata
    if on_disk:
        given = tmp_path / "cells.h5ad"
        adata.write_h5ad(given)
    with pytest.raises(CountsError):
        cq.pretrain(given, **QUICK)
    assert cq.pretrain(given, counts="round", **QUICK).fingerprint == model.fingerprint
