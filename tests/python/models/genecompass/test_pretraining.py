"""A gene model is pretrained by the same call as a cell model, and with what that one promises."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import celloquy as cq
from celloquy.data import CellBatch, CellSource
from celloquy.errors import ArgumentError
from celloquy.models.genecompass import objective
from celloquy.models.genecompass.hiding import NOT_ASKED, hide
from celloquy.models.genecompass.knowledge import COEXPRESSION
from celloquy.nn.masking import BiLevelMask, Masking
from examples import cells
from gene_examples import HUMAN, MOUSE, gene_cells, small_gene_model, vocabulary

CONFIG = cq.GeneModelConfig(width=16, layers=1, heads=2, feedforward=24, context=20, priors=(), dropout=0.1)


def train(adatas, **changes):
    given = {"config": CONFIG, "vocabulary": vocabulary(), "epochs": 2, "progress": False} | changes
    return cq.pretrain(adatas, **given)


def both(n=60, seed=0):
    return [gene_cells(n, seed, genes, empty=True) for genes in (HUMAN, MOUSE)]


def batch_of(model, n=20, seed=0):
    return CellBatch.concatenate([CellSource(one).over(model.vocabulary).read_all() for one in both(n, seed)])


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    asked=st.sampled_from(["together", "apart"]),
    positions=st.sampled_from(["rank", "none"]),
    at_a_time=st.sampled_from([1, 100, 10**6]),
)
def test_losses_at_the_places_that_are_asked_for_are_those_of_all_places(seed, asked, positions, at_a_time):
    model = small_gene_model(seed, asked=asked, positions=positions, cell_weight=0.3)
    batch = batch_of(model, seed=seed)
    mask = BiLevelMask.draw(len(batch), Masking(share=1.0, genes=0.4), seed=seed)
    hidden = hide(model, batch, mask)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(objective.LOGITS_AT_A_TIME, "cpu", at_a_time)
        found = model.fill_in(mask.hide(batch), batch, mask)
        ids, values = hidden.seen.padded()
        cell, genes = model.encode(ids, values, hidden.seen.species)
        there = torch.arange(ids.shape[1]) < hidden.seen.lengths[:, None]
        scores, told = model.predict_genes(genes)[there], model.predict_values(genes)[there]
        of_cell = model.predict_genes(cell)[torch.nonzero(there)[:, 0]]
    named, valued = hidden.labels != NOT_ASKED, ~hidden.targets.isnan()
    assert named.any()
    assert valued.any()
    expected = {
        "genes": functional.cross_entropy(scores[named], hidden.labels[named]),
        "values": functional.mse_loss(told[valued], hidden.targets[valued]),
        "cells": functional.cross_entropy(of_cell[named], hidden.labels[named]),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found.parts[name], value, rtol=1e-4, atol=1e-5)
    weighted = 0.2 * expected["genes"] + 0.8 * expected["values"] + 0.3 * expected["cells"]
    torch.testing.assert_close(found.reconstruction, weighted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.embedding, cell, rtol=1e-4, atol=1e-4)


def test_scores_of_genes_are_computed_where_they_are_asked_for_and_some_at_a_time(monkeypatch):
    model = small_gene_model()
    batch = batch_of(model, 40)
    mask = BiLevelMask.draw(len(batch), model.pretraining_masking, seed=0)
    sizes, predict = [], model.predict_genes
    monkeypatch.setitem(objective.LOGITS_AT_A_TIME, "cpu", 8 * len(model.partner))
    monkeypatch.setattr(model, "predict_genes", lambda vectors: sizes.append(len(vectors)) or predict(vectors))
    losses = model.fill_in(mask.hide(batch), batch, mask)
    asked = int((hide(model, batch, mask).labels != NOT_ASKED).sum())
    assert max(sizes) <= 8
    assert sum(sizes) == asked + len(batch)
    losses.reconstruction.backward()
    assert sum(sizes) == 2 * (asked + len(batch))


def test_the_same_seed_gives_the_same_model_which_is_saved_and_embeds(tmp_path):
    model = train(both(), out=tmp_path / "model", seed=1)
    assert isinstance(model, cq.GeneModel)
    assert train(both(), seed=1).fingerprint == model.fingerprint
    assert train(both(), seed=2).fingerprint != model.fingerprint
    saved = cq.Model.from_pretrained(tmp_path / "model")
    assert saved.fingerprint == model.fingerprint
    adata = gene_cells()
    expected = cq.embed(adata, model=model, progress=False, copy=True).obsm["X_celloquy"]
    np.testing.assert_array_equal(cq.embed(adata, model=saved, progress=False, copy=True).obsm["X_celloquy"], expected)
    log = pd.read_csv(tmp_path / "model" / "history.csv")
    assert {"loss", "genes", "values", "cells", "validation"} <= set(log)


def test_medians_are_those_of_all_cells_though_they_are_read_in_pools(tmp_path):
    files = []
    for place, adata in enumerate(both(900)):
        adata.write_h5ad(tmp_path / f"{place}.h5ad")
        files.append(tmp_path / f"{place}.h5ad")
    config = CONFIG.replace(depth="raw")
    model = train(files, config=config, max_memory=100_000, epochs=1)
    expected = cq.GeneModel(config, vocabulary())
    expected.survey([CellSource(read_h5ad(file)).over(expected.vocabulary).read_all() for file in files])
    assert torch.equal(model.median, expected.median)
    assert (model.median[model.token] > 0).all()


def test_training_starts_from_how_many_cells_express_a_gene_and_from_the_value_of_a_median_count():
    adatas = both(200)
    cells_of = CellBatch.concatenate([CellSource(one).over(vocabulary()).read_all() for one in adatas])
    model = cq.GeneModel.initialise(CONFIG, vocabulary(), cells_of)
    often = torch.bincount(cells_of.indices.long(), minlength=len(model.vocabulary))
    order = model.gene_head.bias[model.token].argsort()
    assert (often[order].diff() >= 0).all()
    assert model.value_head.bias.tolist() == [1.0]
    # Words are those of genes that go together in the cells, beside small random ones.
    assert model.fusion.word[model.token].norm(dim=1).min() > model.fusion.word[:2].norm(dim=1).max()


@pytest.mark.parametrize(
    "switch",
    [
        {"values": False},
        {"species_token": False},
        {"positions": "rank"},
        {"depth": "raw"},
        {"asked": "together"},
        {"value_scale": "raw"},
        {"gene_weight": 0.0},
        {"value_weight": 0.0},
        {"cell_weight": 0.0},
        {"priors": (("signalling", 3),)},
    ],
    ids=lambda switch: "-".join(f"{name}-{value}" for name, value in switch.items()),
)
def test_every_switch_trains_another_model(switch):
    symbols = ["STAT1", "EGR1", "FOSL1", "CD4", "CD8A", "NKG7"]
    named = [gene_cells(60, 0, genes) for genes in (symbols, [symbol.capitalize() for symbol in symbols])]
    given = {"vocabulary": None, "seed": 1} if "priors" in switch else {"seed": 1}
    adatas = named if "priors" in switch else both()
    usual = train(adatas, **given)
    other = train(adatas, config=CONFIG.replace(**switch), **given)
    assert other.fingerprint != usual.fingerprint
    assert np.isfinite(other.history["validation"]).all()
    embedding = cq.embed(adatas[0], model=other, progress=False, copy=True).obsm["X_celloquy"]
    assert np.isfinite(embedding).all()


def test_genes_that_are_expressed_together_are_alike_by_the_prior_of_the_corpus():
    random = np.random.default_rng(0)
    adatas = both(300)
    for adata in adatas:
        state = random.integers(0, 2, adata.n_obs)
        adata.X = random.poisson(np.where(np.arange(adata.n_vars) % 2 == state[:, None], 6.0, 0.5)).astype(np.float32)
    model = train(adatas, config=CONFIG.replace(priors=((COEXPRESSION, 4),)))
    vectors = functional.normalize(model.fusion.vectors(COEXPRESSION)[model.token[:20]], dim=1)
    alike = vectors @ vectors.T
    same = torch.arange(20)[:, None] % 2 == torch.arange(20) % 2
    assert alike[same].min() > alike[~same].max()


SCRIPT = """
import json, os, signal, sys
import torch
import celloquy as cq
from celloquy.training import keeper, snapshots
from celloquy.training.masked_counts import MaskedCounts

torch.set_num_threads(1)
snapshots.SAVE_EVERY = keeper.SAVE_EVERY = 0.0
options = json.loads(sys.argv[1])
dies, forward, calls = options.pop("dies", None), MaskedCounts.forward, []

def counted(self, batch, mask):
    calls.append(1)
    if len(calls) == dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(self, batch, mask)

MaskedCounts.forward = counted
training = cq.TrainingOptions(batch_size=60, learning_rate=5e-3, parts=options.pop("parts", None))
config = cq.GeneModelConfig(width=16, layers=1, heads=2, feedforward=24, context=20, priors=(), dropout=0.1)
cq.pretrain(**options, config=config, training=training, progress=False, epochs=3, seed=3, max_memory=50_000)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    cells(400).write_h5ad(folder / "cells.h5ad")
    (folder / "script.py").write_text(SCRIPT)
    return folder


def run(folder, out, *, processes=1, **options):
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] * (processes > 1)
    given = json.dumps({"corpus": str(folder / "cells.h5ad"), "out": str(folder / out), "parts": 2} | options)
    command = [sys.executable, *start, str(folder / "script.py"), given]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def trained(folder, out):
    history = pd.read_csv(folder / out / "history.csv").drop(columns=["seconds", "waited"])
    return cq.Model.from_pretrained(folder / out), history


@pytest.fixture(scope="module")
def of_one(folder):
    done = run(folder, "one", resume=True)
    assert done.returncode == 0, done.stderr
    return trained(folder, "one")


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
def test_a_training_that_is_killed_twice_ends_with_the_same_weights(folder, of_one):
    for dies in (5, 9):
        died = run(folder, "killed", resume=True, dies=dies)
        assert died.returncode == -9, died.stderr
    done = run(folder, "killed", resume=True)
    assert done.returncode == 0, done.stderr
    model, history = trained(folder, "killed")
    assert model.fingerprint == of_one[0].fingerprint
    pd.testing.assert_frame_equal(history, of_one[1], check_exact=True)


def test_two_processes_train_the_model_of_one_with_the_same_parts(folder, of_one):
    done = run(folder, "two", processes=2)
    assert done.returncode == 0, done.stderr
    model, history = trained(folder, "two")
    pd.testing.assert_frame_equal(history, of_one[1], rtol=1e-5)
    found, expected = (
        cq.embed(cells(50), model=one, progress=False, copy=True).obsm["X_celloquy"] for one in (model, of_one[0])
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_preset_is_named_with_its_family():
    model = train(
        gene_cells(60, 0, ["STAT1", "EGR1", "CD4", "CD8A", "NKG7"]), vocabulary=None, config="genecompass/mini"
    )
    assert model.config == cq.GeneModelConfig.preset("mini")
    for unknown in ("genecompass/tiny", "nobody/mini"):
        with pytest.raises(ArgumentError, match=r"`config`|preset") as caught:
            train(both(), config=unknown)
        assert caught.value.argument == "config"


def test_on_real_cells_of_two_species_the_loss_of_held_out_cells_falls_and_a_cell_names_its_own_genes(shared):
    names = ("scrna/lymph_node_ref", "scrna/interneuron_zeisel")
    adatas = [read_h5ad(shared / "data" / f"{name}.h5ad") for name in names]
    config = cq.GeneModelConfig(
        width=32, layers=1, feedforward=64, context=128, priors=(("signalling", 14),), gene_weight=0.8,
        value_weight=0.2, cell_weight=0.8,
    )  # fmt: skip
    training = cq.TrainingOptions(batch_size=32, learning_rate=4e-3)
    model = cq.pretrain(adatas, config=config, epochs=6, training=training, progress=False)
    history = model.history
    assert history["validation"].iloc[-1] < history["validation"].iloc[0]
    # A cell's vector names the genes that it expresses rather than those of the other study.
    read = [CellSource(adata).over(model.vocabulary).read_all()[:50] for adata in adatas]
    with torch.no_grad():
        scores = [model.predict_genes(model.embed_batch(one)).log_softmax(1) for one in read]
    for own, other, one in ((scores[0], scores[1], read[0]), (scores[1], scores[0], read[1])):
        cell, expressed = one.cell_of_count, model.token[one.indices.long()]
        assert own[cell, expressed].mean() > other[cell, expressed].mean() + 0.1
