"""Plots show denoised and imputed genes, and name those that are missing."""

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from celloquy import plots
from celloquy.data.tables import Table
from celloquy.errors import ArgumentError


@pytest.fixture
def adata() -> ad.AnnData:
    mpl.use("Agg")
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.poisson(2.0, (30, 3)).astype(np.float32))
    adata.var_names = ["A", "B", "C"]
    adata.obs["type"] = pd.Categorical(rng.choice(["T", "B"], 30))
    adata.layers["celloquy_denoised"] = rng.random((30, 3)).astype(np.float32)
    adata.obsm["spatial"] = rng.random((30, 2))
    adata.obsm["celloquy_imputed"] = rng.random((30, 2))
    adata.uns["celloquy"] = {"celloquy_imputed": Table(rng.random((30, 2)), ["B", "X"]).names()}
    return adata


def test_denoised_counts_are_drawn_against_the_observed_ones(adata):
    figure = plots.denoised(adata, ["C", "A"], color="type")
    assert [axis.get_title() for axis in figure.axes] == ["C", "A"]
    x, y = np.concatenate([line.get_xydata() for line in figure.axes[0].lines]).T
    observed = np.round(x).astype(int)
    order = np.argsort(adata.obs["type"].astype(str).to_numpy(), kind="stable")
    np.testing.assert_array_equal(observed, adata.X[order, 2])
    np.testing.assert_allclose(y, adata.layers["celloquy_denoised"][order, 2], rtol=1e-6)


def test_denoised_counts_of_some_genes_are_read_from_obsm(adata):
    adata.obsm["celloquy_denoised"] = np.arange(30.0)[:, None]
    adata.uns["celloquy"]["celloquy_denoised"] = {"columns": np.array(["A"])}
    figure = plots.denoised(adata, ["A"])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), np.arange(30.0))


def test_measured_and_imputed_stand_side_by_side(adata):
    figure = plots.imputed(adata, ["B"], measured=adata)
    shown = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in shown] == ["B, measured", "B, imputed"]
    values = adata.obsm["celloquy_imputed"][:, 0]
    order = np.argsort(values)
    np.testing.assert_allclose(shown[1].collections[0].get_offsets(), adata.obsm["spatial"][order])
    np.testing.assert_allclose(shown[1].collections[0].get_array(), values[order])


def test_tissues_are_drawn_with_their_origin_above(adata):
    low, high = plots.imputed(adata, ["B"]).axes[0].get_ylim()
    assert low > high


def test_imputed_genes_are_drawn_alone_without_a_measurement(adata):
    assert [axis.get_title() for axis in plots.imputed(adata, ["B", "X"]).axes[:2]] == ["B, imputed", "X, imputed"]


def test_a_missing_key_column_or_gene_is_named(adata):
    with pytest.raises(ArgumentError, match=r"'Z' in adata\.var_names"):
        plots.denoised(adata, ["Z"])
    with pytest.raises(ArgumentError, match=r"'C' in the table 'celloquy_imputed'"):
        plots.imputed(adata, ["C"])
    with pytest.raises(ArgumentError, match=r"'X' in measured\.var_names"):
        plots.imputed(adata, ["X"], measured=adata)
    del adata.layers["celloquy_denoised"]
    with pytest.raises(ArgumentError, match=r"no table 'celloquy_denoised'"):
        plots.denoised(adata, ["A"])
