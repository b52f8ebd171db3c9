"""Attention between genes is the mean over the cells that read both, however they are read."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, GenesError, ModelError
from celloquy.tasks import gene_reading
from examples import small_model
from gene_examples import HUMAN, MOUSE, gene_cells, small_gene_model

MODELS = {
    "usual": small_gene_model(),
    "cut": small_gene_model(context=6),
    "ranks": small_gene_model(positions="rank", words="own", depth="raw"),
}
MODEL = MODELS["usual"]
CHOSEN = [HUMAN[5], HUMAN[0], HUMAN[21], HUMAN[12]]


def grouped(n=30, **options) -> ad.AnnData:
    adata = gene_cells(n, empty=True, **options)
    adata.obs["type"] = pd.Categorical(np.array(["T cell", "B cell"])[np.arange(n) % 2])
    return adata


def attention(adata, genes=CHOSEN, model=MODEL, **options) -> pd.DataFrame:
    return cq.gene_attention(model, adata, genes, progress=False, **options)


def whole_attention(adata, model, layer) -> list[tuple[np.ndarray, np.ndarray]]:
    """Genes of each cell, as rows of the vocabulary, and all weights between them, by the formula."""
    tokens = model.tokenise(CellSource(adata).over(model.vocabulary).read_all())
    row_of = {int(token): row for row, token in enumerate(model.token)}
    found = []
    for cell in range(len(tokens)):
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        ids = tokens.ids[own][None]
        with torch.no_grad():
            read = model.embedded(ids, tokens.values[own][None], tokens.species[cell][None])
            for one in model.encoder.layers[:layer]:
                read = one(read, None)
            query, key, _ = model.encoder.layers[layer].qkv(read).unflatten(-1, (3, model.config.heads, -1)).unbind(2)
            scores = torch.einsum("nqhd,nkhd->nhqk", query, key) / query.shape[-1] ** 0.5
        weights = scores.softmax(-1).mean(1)[0, 1:, 1:]
        found.append((np.array([row_of[one] for one in ids[0].tolist()], dtype=int), weights.numpy()))
    return found


def slowly(adata, genes, model, layer, by) -> dict[tuple, tuple[float, int]]:
    """Mean weight and number of cells of each group, query and key that some cell reads."""
    rows = [model.vocabulary.index(gene) for gene in genes]
    group = adata.obs[by].astype(str) if by else [""] * adata.n_obs
    weights: dict[tuple, list[float]] = {}
    for name, (read, whole) in zip(group, whole_attention(adata, model, layer), strict=True):
        place = {row: at for at, row in enumerate(read)}
        for one, query in zip(genes, rows, strict=True):
            for other, key in zip(genes, rows, strict=True):
                if query in place and key in place:
                    weights.setdefault((name, one, other), []).append(whole[place[query], place[key]])
    return {pair: (float(np.mean(found)), len(found)) for pair, found in weights.items()}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(("layer", "by", "genes"), [(None, None, HUMAN), (1, "type", HUMAN), (2, "type", MOUSE)])
def test_attention_is_the_mean_of_what_every_cell_pays(model, layer, by, genes):
    adata = grouped(genes=genes)
    chosen = [genes[5], genes[0], genes[21], genes[12]]
    found = attention(adata, chosen, model, by=by, encoder_layer=layer)
    expected = slowly(adata, chosen, model, (layer or 2) - 1, by)
    groups = found["group"].astype(str) if by else [""] * len(found)
    assert set(zip(groups, found["query"], found["key"], strict=True)) == set(expected)
    for name, query, key, weight, n_cells in zip(
        groups, found["query"], found["key"], found["attention"], found["n_cells"], strict=True
    ):
        mean, times = expected[name, query, key]
        assert n_cells == times
        assert weight == pytest.approx(mean, abs=1e-6)


@settings(max_examples=8)
@given(seed=st.integers(0, 50), order=st.permutations(range(20)), at_a_time=st.integers(1, 21))
def test_attention_depends_on_no_order_and_not_on_which_cells_are_read_together(seed, order, at_a_time):
    adata = grouped(20, seed=seed)
    expected = attention(adata, by="type")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gene_reading, "CELLS_READ", at_a_time)
        found = attention(adata[list(order)].copy(), by="type")
    pd.testing.assert_frame_equal(found, expected, atol=1e-6, rtol=0)


def test_files_give_what_memory_gives_and_the_object_stays_as_it_is(tmp_path):
    adata = grouped()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    before = adata.copy()
    expected = attention(adata)
    pd.testing.assert_frame_equal(attention(tmp_path / "cells.h5ad"), expected)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not MODEL.training


def test_a_gene_that_no_cell_reads_has_no_row_and_homologues_are_read_in_mouse_cells():
    adata = gene_cells(6)
    adata.X = adata.X.multiply(np.arange(adata.n_vars) != 3).tocsr()
    found = attention(adata, [HUMAN[3], HUMAN[5]])
    assert found["query"].tolist() == found["key"].tolist() == [HUMAN[5]]
    assert attention(adata, [HUMAN[3]]).empty
    mouse = attention(gene_cells(20, genes=MOUSE), [HUMAN[5], HUMAN[2]])
    assert set(mouse["query"]) == {MOUSE[5], MOUSE[2]}


def test_what_can_not_be_looked_at_is_refused():
    adata = grouped()
    with pytest.raises(ModelError, match="can't describe genes"):
        attention(adata, model=small_model())
    with pytest.raises(GenesError, match=r"does not know these genes[\s\S]*GFP"):
        attention(adata, ["GFP"])
    with pytest.raises(ArgumentError, match="no column 'kind'"):
        attention(adata, by="kind")
    for layer in (0, 3, 1.5, "last"):
        with pytest.raises(ArgumentError, match="`encoder_layer` can't be used") as caught:
            attention(adata, encoder_layer=layer)
        assert caught.value.argument == "encoder_layer"
