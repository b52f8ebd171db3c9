"""Figures are drawn from what is there, and say what is not."""

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from celloquy import plots
from celloquy.errors import ArgumentError


@pytest.fixture
def adata() -> ad.AnnData:
    mpl.use("Agg")
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.random((30, 3)), obsm={"X_umap_a": rng.random((30, 2)), "X_umap_b": rng.random((30, 2))})
    adata.obs["type"] = pd.Categorical(rng.choice(["T", "B"], 30))
    adata.obs["depth"] = rng.random(30)
    return adata


def test_umaps_are_laid_out_one_row_an_embedding(adata):
    figure = plots.umaps(adata, bases={"X_umap_a": "ours", "X_umap_b": "PCA"}, color=["type", "depth"])
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["ours: type", "ours: depth", "PCA: type", "PCA: depth"]


def test_what_is_missing_is_named(adata):
    with pytest.raises(ArgumentError, match=r"'X_umap_c' in adata\.obsm"):
        plots.umaps(adata, bases={"X_umap_c": "ours"}, color=["type"])
    with pytest.raises(ArgumentError, match=r"'kind' in adata\.obs"):
        plots.umaps(adata, bases={"X_umap_a": "ours"}, color=["kind"])
