"""Gene models in the tasks: what a cell's context cut off is reported, and annotation keeps species and values."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.data import CellBatch
from examples import small_model
from gene_examples import HUMAN, MOUSE, PAIRS, gene_cells, small_gene_model

SHORT = small_gene_model(context=5)
MODEL = small_gene_model()


def labelled(n=40, genes=HUMAN, seed=0) -> ad.AnnData:
    """Cells of two types, which differ in their first genes."""
    adata = gene_cells(n, seed=seed, genes=genes)
    kind = np.arange(n) % 2
    counts = adata.X.toarray()
    counts[kind == 1, :6] += 6
    adata.X = counts
    adata.obs["type"] = np.array(["T", "B"])[kind]
    return adata


def left_out(adata, context=5) -> list[int]:
    return (np.asarray((adata.X > 0).sum(1)).ravel() - context).clip(0).tolist()


def test_embed_tells_of_each_cell_how_many_genes_exceed_the_context(tmp_path):
    adata = gene_cells(30, empty=True)
    cq.embed(adata, model=SHORT, progress=False)
    assert adata.obs["celloquy_cut"].tolist() == left_out(adata)
    assert adata.obs["celloquy_cut"].iloc[0] == 0 < adata.obs["celloquy_cut"].max()
    cq.embed(adata, model=MODEL, key_added="X_whole", progress=False)
    assert (adata.obs["whole_cut"] == 0).all()
    cq.embed(adata, model=small_model(), key_added="X_cells", progress=False)
    assert "cells_cut" not in adata.obs


@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::UserWarning:zarr")
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_a_file_with_the_embedding_tells_it_too_and_keeps_its_columns(tmp_path, ending):
    adata = labelled()
    adata.obs["type"] = pd.Categorical(adata.obs["type"])
    path, out = tmp_path / f"cells.{ending}", tmp_path / f"out.{ending}"
    (adata.write_h5ad if ending == "h5ad" else adata.write_zarr)(path)
    read = ad.read_h5ad if ending == "h5ad" else ad.read_zarr
    for target in (out, path):
        cq.embed(path, model=SHORT, out=target, progress=False)
        found = read(target)
        assert found.obs["celloquy_cut"].tolist() == left_out(adata)
        pd.testing.assert_series_equal(found.obs["type"], adata.obs["type"])
        assert found.obs_names.tolist() == adata.obs_names.tolist()


def test_annotation_by_a_gene_model_tells_it_under_its_prefix():
    adata = labelled()
    options = {"reference": adata, "label_key": "type", "epochs": 2, "progress": False}
    cq.annotate(adata, model=SHORT, key_added="mine", **options)
    assert adata.obs["mine_cut"].tolist() == left_out(adata)
    cq.annotate(adata, key_added="other", **options)
    assert "other_cut" not in adata.obs


@pytest.mark.parametrize("genes", [HUMAN, MOUSE])
def test_annotation_fine_tunes_a_gene_model_with_the_species_and_real_values_of_the_cells(monkeypatch, genes):
    read = []
    tokens_of = cq.GeneModel.tokens_of

    def watched(self, batch: CellBatch):
        tokens = tokens_of(self, batch)
        read.append((self.training, tokens.species.unique().tolist(), tokens.values))
        return tokens

    monkeypatch.setattr(cq.GeneModel, "tokens_of", watched)
    adata, query = labelled(genes=genes), labelled(seed=1, genes=genes)
    cq.annotate(query, reference=adata, label_key="type", model=MODEL, epochs=8, progress=False)
    species = [int(genes is MOUSE)]
    assert all(found in (species, []) for _, found, _ in read)
    assert {training for training, _, _ in read} == {True, False}
    values = torch.cat([values for _, _, values in read])
    assert values.dtype == torch.float32
    assert (values != values.round()).float().mean() > 0.9
    assert (query.obs["celloquy_label"].astype(str) == query.obs["type"]).mean() > 0.8


def test_labels_of_human_cells_are_learned_for_mouse_cells():
    reference, query = labelled(genes=HUMAN[:PAIRS]), labelled(seed=1, genes=MOUSE[:PAIRS])
    cq.annotate(query, reference=reference, label_key="type", model=MODEL, epochs=8, progress=False)
    assert (query.obs["celloquy_label"].astype(str) == query.obs["type"]).mean() > 0.8


def test_a_fitted_annotation_by_a_gene_model_is_saved_and_predicts_the_same(tmp_path):
    adata = labelled()
    annotator = cq.Annotator(label_key="type", model=MODEL, epochs=2, progress=False).fit(adata)
    annotator.save(tmp_path / "fitted")
    found = annotator.predict(adata, copy=True)
    again = cq.Annotator.load(tmp_path / "fitted").predict(adata, copy=True)
    np.testing.assert_array_equal(again.obsm["celloquy_probability"], found.obsm["celloquy_probability"])


def test_the_commands_take_a_gene_model(tmp_path):
    MODEL.save(tmp_path / "model")
    labelled().write_h5ad(tmp_path / "cells.h5ad")
    files = [str(tmp_path / name) for name in ("cells.h5ad", "out.h5ad", "model")]
    done = CliRunner().invoke(app, ["embed", files[0], "-o", files[1], "-m", files[2], "-q"])
    assert done.exit_code == 0, done.output
    assert ad.read_h5ad(files[1]).obs["celloquy_cut"].eq(0).all()
    arguments = ["annotate", files[0], "-r", files[0], "--label-key", "type", "-m", files[2], "-o", files[1], "-q"]
    done = CliRunner().invoke(app, [*arguments, "--epochs", "2"])
    assert done.exit_code == 0, done.output
    assert "celloquy_label" in ad.read_h5ad(files[1]).obs
