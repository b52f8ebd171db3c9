"""Plots show the results of an object, and name those that are missing."""

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


def test_a_missing_key_column_or_gene_is_named(adata):
    with pytest.raises(ArgumentError, match=r"'X_umap_c' in adata\.obsm"):
        plots.umaps(adata, bases={"X_umap_c": "ours"}, color=["type"])
    with pytest.raises(ArgumentError, match=r"'kind' in adata\.obs"):
        plots.umaps(adata, bases={"X_umap_a": "ours"}, color=["kind"])


def test_confidence_is_drawn_for_every_label(adata):
    adata.obs["celloquy_label"] = adata.obs["type"]
    adata.obs["celloquy_confidence"] = adata.obs["depth"]
    (axis,) = plots.confidence(adata).axes
    sizes = adata.obs["type"].value_counts()
    assert {text.get_text() for text in axis.get_yticklabels()} == {f"{name} ({n})" for name, n in sizes.items()}


def test_annotation_under_another_key_is_drawn(adata):
    adata.obs["fine_label"] = np.where(np.arange(30) < 5, "unknown", adata.obs["type"].astype(str))
    adata.obs["fine_confidence"] = adata.obs["depth"]
    (axis,) = plots.confidence(adata, key="fine").axes
    sizes = adata.obs["fine_label"].value_counts()
    assert {text.get_text() for text in axis.get_yticklabels()} == {f"{name} ({n})" for name, n in sizes.items()}
    axis = plots.confusion(adata, truth_key="type", key="fine").axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["B", "T", "unknown"]
    assert axis.images[0].get_array().shape == (2, 3)
    with pytest.raises(ArgumentError, match=r"'coarse_label' in adata\.obs") as caught:
        plots.confusion(adata, truth_key="type", key="coarse")
    assert caught.value.argument == "key"


def test_confusion_holds_shares_with_the_diagonal_first(adata):
    adata.obs["celloquy_label"] = np.where(np.arange(30) < 5, "unknown", adata.obs["type"].astype(str))
    axis = plots.confusion(adata, truth_key="type").axes[0]
    shares = axis.images[0].get_array()
    assert [text.get_text() for text in axis.get_xticklabels()] == ["B", "T", "unknown"]
    np.testing.assert_allclose(shares.sum(1), 1)
    expected = ((adata.obs["type"] == "B") & (adata.obs["celloquy_label"] == "B")).sum() / (
        adata.obs["type"] == "B"
    ).sum()
    assert shares[0, 0] == pytest.approx(expected)


def test_integration_is_drawn_before_and_after_and_the_input_unchanged(adata, monkeypatch):
    # Compiling UMAP takes longer than all other tests of this file.
    monkeypatch.setattr("scanpy.pp.neighbors", lambda *_args, **_options: None)
    monkeypatch.setattr(
        "scanpy.tl.umap",
        lambda cells, **_options: ad.AnnData(obs=cells.obs, obsm={"X_umap": cells.obsm["X_pca"][:, :2]}),
    )
    adata.obsm["X_pca"], adata.obsm["X_celloquy"] = adata.X, adata.X[:, ::-1]
    figure = plots.integration(adata, batch_key="type", label_key="depth")
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["before: type", "before: depth", "after: type", "after: depth"]
    assert set(adata.obsm) == {"X_umap_a", "X_umap_b", "X_pca", "X_celloquy"}
    assert not adata.uns


def test_attention_between_genes_is_drawn_for_every_group():
    table = pd.DataFrame({
        "group": pd.Categorical(["T", "T", "B"]), "query": ["A", "B", "A"], "key": ["B", "A", "A"],
        "attention": [0.2, 0.4, 0.1], "n_cells": [3, 2, 1],
    })  # fmt: skip
    figure = plots.gene_attention(table)
    drawn = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes if axis.get_title()}
    np.testing.assert_array_equal(drawn["T"].filled(np.nan), [[np.nan, 0.2], [0.4, np.nan]])
    np.testing.assert_array_equal(drawn["B"].filled(np.nan), [[0.1, np.nan], [np.nan, np.nan]])
    one = plots.gene_attention(table[:2].drop(columns="group"))
    assert [label.get_text() for label in one.axes[0].get_xticklabels()] == ["A", "B"]
    assert plots.gene_attention(table[:0])
    with pytest.raises(ArgumentError, match=r"'key' in the table"):
        plots.gene_attention(table.drop(columns="key"))


def test_loss_curves_show_the_epoch_that_was_kept():
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation": [3.0, 1.5, 2.0]})
    (axis,) = plots.loss(history).axes
    assert [line.get_label() for line in axis.lines] == ["training", "held-out cells", "kept"]
    assert axis.lines[2].get_xdata()[0] == 2


def test_a_missing_result_of_a_task_is_named(adata):
    with pytest.raises(ArgumentError, match=r"'celloquy_label' in adata\.obs"):
        plots.confidence(adata)
    with pytest.raises(ArgumentError, match=r"'celloquy_label' in adata\.obs"):
        plots.confusion(adata, truth_key="type")
    with pytest.raises(ArgumentError, match=r"'X_pca' in adata\.obsm") as caught:
        plots.integration(adata, batch_key="type")
    assert caught.value.argument == "before"
    with pytest.raises(ArgumentError, match="'loss' in the history"):
        plots.loss(pd.DataFrame())


@pytest.mark.parametrize("epochs", [2, 3, 7, 60])
def test_the_loss_has_ticks_at_whole_epochs(epochs):
    mpl.use("Agg")
    history = pd.DataFrame({"epoch": np.arange(1, epochs + 1), "loss": np.linspace(2, 1, epochs)})
    figure = plots.loss(history)
    figure.canvas.draw()
    ticks = figure.axes[0].get_xticks()
    assert len(ticks)
    assert np.array_equal(ticks, np.rint(ticks))


def test_held_out_genes_are_drawn_by_class_and_by_number():
    mpl.use("Agg")
    rng = np.random.default_rng(0)
    probability = rng.random(60)
    truth = np.where(rng.random(60) < probability, "yes", "no")
    held = pd.DataFrame({"truth": truth, "label": pd.Categorical(np.where(probability > 0.5, "yes", "no"))})
    held["probability_yes"], held["probability_no"] = probability, 1 - probability
    left, right = plots.gene_properties(held).axes
    assert len(left.get_legend().get_texts()) == 2
    # The diagonal is a line, too.
    assert len(right.lines) == 3
    (axis,) = plots.gene_properties(pd.DataFrame({"truth": probability, "value": probability})).axes
    assert axis.get_xlabel() == "truth"
    with pytest.raises(ArgumentError, match="'truth' in the table"):
        plots.gene_properties(held.drop(columns="truth"))
