"""Scores of a gene model are those of its vectors and attention, of the genes and cells that were asked for."""

import numpy as np
import pandas as pd
import pytest
import torch

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import ArgumentError, GenesError, ModelError
from examples import small_model
from gene_examples import HUMAN, MOUSE, gene_cells, small_factor_model, small_gene_model

MODEL = small_gene_model()
REGULATORS, TARGETS = [HUMAN[1], HUMAN[4], HUMAN[22]], [HUMAN[0], HUMAN[4], HUMAN[7], HUMAN[23]]


def grouped(n=40, **options):
    adata = gene_cells(n, **options)
    adata.obs["type"] = np.array(["T cell", "B cell"])[np.arange(n) % 2]
    return adata


def infer(adata, method, model=MODEL, **options) -> pd.DataFrame:
    sides = {"regulators": REGULATORS, "targets": TARGETS} | options
    return cq.infer_network(adata, model=model, method=method, n_edges=None, progress=False, **sides)


def by_pair(edges: pd.DataFrame) -> dict[tuple, float]:
    groups = edges["group"].astype(str) if "group" in edges else [""] * len(edges)
    return dict(zip(zip(groups, edges["regulator"], edges["target"], strict=True), edges["score"], strict=True))


@pytest.mark.parametrize("by", [None, "type"])
def test_cosines_are_those_of_the_vectors_in_the_cells_of_a_group(by):
    adata = grouped()
    genes = list(dict.fromkeys([*REGULATORS, *TARGETS]))
    vectors = cq.gene_embeddings(MODEL, adata, by=by, genes=genes, progress=False)
    groups = vectors.obs["group"].astype(str) if by else pd.Series("", index=vectors.obs_names)
    expected = {}
    for name in groups.unique():
        own = vectors[(groups == name).to_numpy()]
        centred = own.X - own.X.mean(0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        for i, first in enumerate(own.obs["gene"]):
            for j, second in enumerate(own.obs["gene"]):
                if first in REGULATORS and second in TARGETS and first != second:
                    expected[name, first, second] = abs(unit[i] @ unit[j])
    found = by_pair(infer(adata, "cosine", by=by))
    assert found.keys() == expected.keys()
    # What is left of float32 when the mean is taken off.
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("by", [None, "type"])
def test_attention_is_what_targets_read_of_regulators(by):
    adata = grouped()
    genes = list(dict.fromkeys([*REGULATORS, *TARGETS]))
    table = cq.gene_attention(MODEL, adata, genes, by=by, progress=False)
    table = table[table["key"].isin(REGULATORS) & table["query"].isin(TARGETS) & (table["key"] != table["query"])]
    groups = table["group"].astype(str) if by else [""] * len(table)
    expected = dict(zip(zip(groups, table["key"], table["query"], strict=True), table["attention"], strict=True))
    assert by_pair(infer(adata, "attention", by=by)) == pytest.approx(expected, abs=1e-6)


def test_the_effect_of_a_deletion_is_the_mean_over_the_cells_that_express_the_regulator():
    adata = grouped()
    batch = CellSource(adata).over(MODEL.vocabulary).read_all()
    expected = {}

    def vectors(cells) -> dict[tuple[int, int], torch.Tensor]:
        with torch.no_grad():
            return {
                (int(cell), int(row)): vector
                for cell, row, vector in (
                    one for part in MODEL.gene_vectors_in(cells) for one in zip(*part, strict=True)
                )
            }

    before = vectors(batch)
    for regulator in REGULATORS:
        row = MODEL.vocabulary.index(regulator)
        after = vectors(batch.keep(batch.indices != row))
        for target in TARGETS:
            column = MODEL.vocabulary.index(target)
            shifts = [
                1 - float(torch.cosine_similarity(before[cell, column], after[cell, column], dim=0))
                for cell in range(len(batch))
                if (cell, row) in before and (cell, column) in before and row != column
            ]
            if shifts:
                expected["", regulator, target] = np.mean(shifts)
    found = by_pair(infer(adata, "deletion"))
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["cosine", "attention", "deletion"])
def test_no_order_matters_to_a_model(method):
    adata = grouped()
    random = np.random.default_rng(0)
    moved = adata[random.permutation(adata.n_obs), random.permutation(adata.n_vars)].copy()
    assert by_pair(infer(moved, method)) == pytest.approx(by_pair(infer(adata, method)), abs=2e-4)


def test_mouse_cells_are_read_by_their_own_genes():
    adata = grouped(genes=MOUSE)
    edges = infer(adata, "cosine", regulators=[MOUSE[1], MOUSE[21]], targets=MOUSE[:5])
    assert set(edges["regulator"]) == {MOUSE[1], MOUSE[21]}
    assert set(edges["target"]) <= set(MOUSE[:5])


def test_a_model_takes_part_where_it_is_given():
    adata = grouped()
    with_model = infer(adata, "auto")
    without = infer(adata, "auto", model=None)
    assert len(with_model) == len(without)
    assert not with_model["score"].equals(without["score"])
    named = infer(adata, {"pearson": 1, "coexpression": 1, "prior": 2, "cosine": 1})
    pd.testing.assert_frame_equal(with_model, named)


def test_the_model_is_left_as_it_was():
    model = small_gene_model().train()
    infer(grouped(), "deletion", model)
    assert model.training


def test_models_that_know_nothing_of_these_genes_are_refused():
    adata = grouped()
    with pytest.raises(ModelError, match="can't describe genes"):
        infer(adata, "cosine", small_model())
    with pytest.raises(ModelError, match=r"A CellModel can't describe genes[\s\S]*such as a GeneModel"):
        infer(adata, "auto", small_model())


def test_a_model_of_factors_tells_the_co_expression():
    adata, model = gene_cells(30), small_factor_model()
    edges = infer(adata, "coexpression", model, regulators=HUMAN[:3], targets=HUMAN[:6])
    pairs = edges.set_index(["regulator", "target"])["score"]
    row = {gene: place for place, gene, _, _ in model.vocabulary.genes()}
    expected = model.gene_correlations(torch.tensor([row[HUMAN[0]]]), torch.tensor([row[HUMAN[4]]]))
    assert pairs[HUMAN[0], HUMAN[4]] == pytest.approx(abs(float(expected)), abs=1e-6)
    infer(adata, "auto", model, regulators=HUMAN[:3])
    with pytest.raises(ArgumentError, match="`model` has no use"):
        infer(adata, "pearson", model, regulators=HUMAN[:3])
    with pytest.raises(ModelError, match="A FactorModel can't describe genes"):
        infer(adata, "cosine", model, regulators=HUMAN[:3])
    adata.var_names = [*adata.var_names[:-2], "ENSG00000102145", "ENSG00000066336"]
    with pytest.raises(GenesError, match="knows none of these genes"):
        infer(adata, "attention", regulators=["GATA1"], targets=["SPI1"])
