"""Genes are changed in cells of which all else stays, and the shifts are means over the cells that read them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.data.changes import CountChange
from celloquy.errors import ArgumentError, GenesError, ModelError
from celloquy.models.changing import ReadingChanges
from celloquy.models.genecompass.tokens import GeneTokens
from examples import small_model
from gene_examples import HUMAN, MOUSE, gene_cells, small_factor_model, small_gene_model, vocabulary

GENE_MODELS = {
    "usual": small_gene_model(),
    "cut": small_gene_model(context=6),
    "ranks": small_gene_model(positions="rank", words="own", depth="raw"),
    "values": small_gene_model(pooling="value"),
    "summary": small_gene_model(summary=True, context=6),
    "summary alone": small_gene_model(summary=True, pooling="summary", context=6),
    "summary, values": small_gene_model(summary=True, pooling="value", context=6, depth="raw"),
    "mean, ranks, cut": small_gene_model(pooling="mean", positions="rank", context=7),
}


MODELS = {**GENE_MODELS, "factors": small_factor_model()}
EACH_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def grouped(n=24, **options) -> ad.AnnData:
    adata = gene_cells(n, **options)
    adata.obs["type"] = pd.Categorical(np.array(["T cell", "B cell"])[np.arange(n) % 2])
    return adata


def perturbed(adata, genes, model, **options) -> pd.DataFrame:
    return cq.perturb(adata, genes, model=model, progress=False, **{"n_random": 6} | options)


def batch_of(adata, model):
    return CellSource(adata).over(model.vocabulary).read_all()


def change_of(batch, rows, counts) -> CountChange:
    before = torch.from_numpy(batch.to_csr()[:, rows].toarray())
    return CountChange(torch.tensor(rows), before, torch.as_tensor(counts, dtype=torch.float32).expand_as(before))


def changed(model, batch, change) -> dict[int, torch.Tensor]:
    with torch.inference_mode():
        found = list(model.embed_changed(batch, [change]))
    return {int(cell): row for _, cells, vectors in found for cell, row in zip(cells, vectors, strict=True)}


@pytest.mark.parametrize("depth", ["raw", "scaled"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "value"])
def test_without_ranks_a_deleted_gene_is_as_if_it_had_never_been_read(depth, pooling):
    model = small_gene_model(depth=depth, pooling=pooling)
    batch = batch_of(gene_cells(10), model)
    row = 5
    found = changed(model, batch, change_of(batch, [row], 0.0))
    tokens = model.tokenise(batch)
    assert found
    for cell, vector in found.items():
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        kept = tokens.ids[own] != model.token[row]
        with torch.no_grad():
            ids, values = tokens.ids[own][kept][None], tokens.values[own][kept][None]
            read = model.encoder(model.embedded(ids, values, tokens.species[[cell]]), None)
            expected = model.pooled(read, ids, values)[0] if ids.numel() else read[0, 0]
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=0)


def start_without(model, batch, cell, gene):
    """What the token of a cell starts from if it has no token of a gene."""
    whole = model.tokens_of(batch)
    own = slice(whole.indptr[cell], whole.indptr[cell + 1])
    kept = whole.ids[own] != gene
    ends = torch.stack([torch.tensor(0), kept.sum()])
    some = GeneTokens(ends, whole.ids[own][kept], whole.values[own][kept], whole.species[[cell]], whole.cut[[cell]])
    return model.summarised(some)


def test_with_ranks_the_other_genes_keep_their_positions():
    model = small_gene_model(positions="rank", depth="raw")
    batch = batch_of(gene_cells(10), model)
    tokens = model.tokenise(batch)
    found = changed(model, batch, change_of(batch, [5], 0.0))
    for cell, vector in found.items():
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        places = torch.nonzero(tokens.ids[own] != model.token[5])[:, 0]
        ids, values = tokens.ids[own][places][None], tokens.values[own][places][None]
        with torch.no_grad():
            species = tokens.species[[cell]]
            start = start_without(model, batch, cell, model.token[5])
            whole = model.cells_first(model.fold(ids, species), values, start, places[None])
            expected = model.encoder(whole, None)[0, 0]
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", [MODELS["ranks"], MODELS["usual"]], ids=["ranks", "usual"])
def test_another_count_at_the_same_depth_is_read_as_the_cell_that_has_it(model):
    adata = gene_cells(10)
    batch = batch_of(adata, model)
    raw = model.config.depth == "raw"
    # At a raw depth the whole cell may be read anew; the highest rank moves no other gene past another.
    change = change_of(batch, [5], 40.0)
    with torch.inference_mode():
        anew = model.embed_batch(change.applied(batch))
    for cell, vector in changed(model, batch, change).items():
        if raw and bool(change.before[cell] > 0):
            tokens = model.tokenise(batch)
            first = tokens.ids[tokens.indptr[cell]] == model.token[5]
            if bool(first):
                torch.testing.assert_close(vector, anew[cell], atol=1e-5, rtol=0)
        assert torch.isfinite(vector).all()
    assert len(changed(model, batch, change)) == len(batch)


def test_the_posterior_moves_by_the_changed_log_expression_at_the_depth_that_it_had():
    model = small_factor_model()
    batch = batch_of(gene_cells(12), model)
    change = change_of(batch, [3, 8], [[2.0, 0.0]])
    depth = batch.library_size()[:, None]
    step = (1e4 * change.after / depth).log1p() - (1e4 * change.before / depth).log1p()
    with torch.no_grad():
        base = model.embed_batch(batch)
        expected = base + step @ model.map_from_expression(batch.measured[0])[change.rows]
    found = changed(model, batch, change)
    assert set(found) == set(torch.nonzero(change.changed)[:, 0].tolist())
    for cell, vector in found.items():
        torch.testing.assert_close(vector, expected[cell], atol=1e-4, rtol=1e-4)


class Projection(ReadingChanges, cq.Model):
    """A family that says no more than that it reads each cell alone."""

    config_class = cq.FactorModelConfig
    abilities = frozenset({"embed", "read changed counts"})

    def __init__(self):
        super().__init__(cq.FactorModelConfig(width=3), vocabulary())
        self.directions = torch.nn.Parameter(torch.randn(len(self.vocabulary), 3))

    def embed_batch(self, batch):
        return torch.from_numpy(batch.to_csr().log1p().toarray()) @ self.directions


def test_a_family_that_reads_each_cell_alone_needs_no_method_of_its_own():
    torch.manual_seed(0)
    model, adata = Projection(), gene_cells(15)
    found = perturbed(adata, [HUMAN[5]], model)
    counts = adata[:, HUMAN[5]].X.toarray()[:, 0]
    far = np.log1p(counts[counts > 0]).mean() * float(model.directions[5].detach().norm())
    assert found["shift_euclidean"][0] == pytest.approx(far, rel=1e-4)
    assert found["n_cells"][0] == (counts > 0).sum()


@given(seed=st.integers(0, 50))
@settings(max_examples=10)
def test_a_change_that_is_applied_changes_these_counts_alone(seed):
    batch = batch_of(gene_cells(8, seed=seed), MODELS["factors"])
    new = np.random.default_rng(seed).integers(0, 4, (8, 2))
    found = change_of(batch, [3, 11], new).applied(batch)
    expected = batch.to_csr().toarray()
    expected[:, [3, 11]] = new
    np.testing.assert_array_equal(found.to_csr().toarray(), expected)
    assert (found.values > 0).all()


@EACH_MODEL
@given(row=st.integers(0, len(HUMAN) - 1), seed=st.integers(0, 20))
@settings(max_examples=8)
def test_deleting_a_gene_that_is_not_expressed_and_a_factor_of_one_change_nothing(model, row, seed):
    batch = batch_of(gene_cells(8, seed=seed), model)
    expressed = set(torch.nonzero(change_of(batch, [row], 0.0).before[:, 0])[:, 0].tolist())
    assert set(changed(model, batch, change_of(batch, [row], 0.0))) <= expressed
    same = change_of(batch, [row], 0.0)
    assert not changed(model, batch, CountChange(same.rows, same.before, same.before.clone()))


@EACH_MODEL
@given(order=st.permutations(range(24)), genes=st.permutations(range(len(HUMAN))))
@settings(max_examples=3)
def test_shifts_depend_on_no_order_of_cells_or_genes(model, order, genes):
    adata = grouped()
    expected = perturbed(adata, [HUMAN[5], HUMAN[2]], model, by="type", n_cells=8)
    shuffled = adata[list(order), list(genes)].copy()
    found = perturbed(shuffled, [HUMAN[5], HUMAN[2]], model, by="type", n_cells=8)
    # What adapts to the cells is the same up to the signs of its axes, and rounding.
    pd.testing.assert_frame_equal(found, expected, atol=1e-3, rtol=1e-3)


@EACH_MODEL
@pytest.mark.parametrize("how", ["delete", "overexpress", 3.0])
def test_the_table_is_the_mean_over_the_cells_that_are_altered_and_the_object_stays(model, how):
    adata = grouped()
    before = adata.copy()
    found = perturbed(adata, [HUMAN[5], HUMAN[12]], model, how=how, by="type")
    assert list(found.columns) == [
        "group", "gene", "shift_cosine", "shift_euclidean", "z", "p", "q", "expression", "n_cells",
    ]  # fmt: skip
    assert found["gene"].tolist() == [HUMAN[5], HUMAN[12]] * 2
    assert found["group"].tolist() == ["B cell"] * 2 + ["T cell"] * 2
    assert (found["shift_euclidean"] >= 0).all()
    assert found["p"].between(0, 1).all()
    assert (found["q"] >= found["p"] - 1e-12).all()
    if how == "delete":
        counts = adata[:, HUMAN[5]].X.toarray()[:, 0]
        least = [int((counts[(adata.obs["type"] == one).to_numpy()] > 0).sum()) for one in ("B cell", "T cell")]
        assert (found["n_cells"].to_numpy()[::2] <= least).all()
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_a_shift_is_the_distance_between_the_embeddings():
    model, adata = MODELS["values"], grouped()
    found = perturbed(adata, [HUMAN[5]], model)
    batch = batch_of(adata, model)
    after = changed(model, batch, change_of(batch, [5], 0.0))
    with torch.inference_mode():
        base = model.embed_batch(batch)
    far = [float((vector - base[cell]).norm()) for cell, vector in after.items()]
    bent = [1 - float(torch.cosine_similarity(vector, base[cell], dim=0)) for cell, vector in after.items()]
    assert found["n_cells"].tolist() == [len(far)]
    assert found["shift_euclidean"][0] == pytest.approx(np.mean(far), rel=1e-4)
    assert found["shift_cosine"][0] == pytest.approx(np.mean(bent), abs=1e-5)


def test_genes_are_changed_together_or_each_alone_and_mouse_cells_read_the_ortholog():
    model, adata = MODELS["usual"], gene_cells(20, genes=MOUSE)
    both = perturbed(adata, [HUMAN[5], HUMAN[2]], model, together=True)
    assert both["gene"].tolist() == [f"{MOUSE[5]}+{MOUSE[2]}"]
    alone = perturbed(adata, [HUMAN[5], HUMAN[2]], model)
    assert both["n_cells"][0] >= alone["n_cells"].max()
    assert both["expression"][0] == pytest.approx(alone["expression"].sum())


def test_files_and_seeds_give_the_same_table(tmp_path):
    model, adata = MODELS["usual"], grouped()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    expected = perturbed(adata, [HUMAN[5]], model, n_cells=5, seed=3)
    pd.testing.assert_frame_equal(perturbed(tmp_path / "cells.h5ad", [HUMAN[5]], model, n_cells=5, seed=3), expected)
    assert not perturbed(adata, [HUMAN[5]], model, n_cells=5, seed=4).equals(expected)


@pytest.mark.parametrize("model", GENE_MODELS.values(), ids=GENE_MODELS)
def test_the_other_genes_move_as_their_vectors_do(model):
    adata = gene_cells(16)
    found = perturbed(adata, [HUMAN[5]], model, of="genes")
    batch = batch_of(adata, model)
    tokens = model.tokenise(batch)
    shifts: dict[str, list[float]] = {}
    label = {int(model.token[row]): gene for row, gene, _, _ in model.vocabulary.genes() if gene in HUMAN}
    for cell in range(len(batch)):
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        ids, values, species = tokens.ids[own][None], tokens.values[own][None], tokens.species[[cell]]
        kept = torch.nonzero(ids[0] != model.token[5])[:, 0]
        read = model.tokens_of(batch)
        if not bool((read.ids[read.indptr[cell] : read.indptr[cell + 1]] == model.token[5]).any()):
            continue
        if not model.config.summary and len(kept) == ids.shape[1]:
            continue
        with torch.no_grad():
            starts = [start_without(model, batch, cell, gene) for gene in (-1, model.token[5])]
            before = model.encoder(model.cells_first(model.fold(ids, species), values, starts[0]), None)[0, 1:]
            less = model.cells_first(model.fold(ids[:, kept], species), values[:, kept], starts[1], kept[None])
            after = model.encoder(less, None)[0, 1:]
        for place, one in enumerate(kept.tolist()):
            bent = 1 - float(torch.cosine_similarity(before[one], after[place], dim=0))
            shifts.setdefault(label[int(ids[0, one])], []).append(bent)
    assert set(found["affected"]) == set(shifts)
    for gene, mean, n_cells in zip(found["affected"], found["shift_cosine"], found["n_cells"], strict=True):
        assert n_cells == len(shifts[gene])
        assert mean == pytest.approx(np.mean(shifts[gene]), abs=1e-5)
    assert found["shift_cosine"].is_monotonic_decreasing
    assert found["p"].between(0, 1).all()


def test_random_genes_stand_out_no_more_than_chance():
    model, adata = MODELS["values"], gene_cells(40)
    found = perturbed(adata, HUMAN, model, n_random=10)
    assert (found["q"] < 0.05).mean() <= 0.1


def test_what_can_not_be_changed_is_refused():
    model, adata = MODELS["usual"], grouped()
    with pytest.raises(ModelError, match="can't read changed counts"):
        perturbed(adata, [HUMAN[5]], small_model())
    with pytest.raises(ModelError, match="can't describe genes"):
        perturbed(adata, [HUMAN[5]], MODELS["factors"], of="genes")
    with pytest.raises(GenesError, match=r"does not know these genes[\s\S]*GFP"):
        perturbed(adata, ["GFP"], model)
    with pytest.raises(GenesError, match="do not measure"):
        perturbed(adata[:, HUMAN[:10]].copy(), [HUMAN[15]], model)
    silent = adata.copy()
    silent.X = sparse.csr_matrix(silent.X.multiply(np.arange(silent.n_vars) != 5))
    with pytest.raises(GenesError, match="No cell expresses"):
        perturbed(silent, [HUMAN[5]], model)
    adata.obs["type"] = ["one", *["many"] * 23]
    with pytest.raises(ArgumentError, match="'one' of `type` has too few cells"):
        perturbed(adata, [HUMAN[5]], model, by="type")
    with pytest.raises(ArgumentError, match="The object has too few cells"):
        perturbed(adata[:1].copy(), [HUMAN[3]], model)
    for name, value in (
        ("how", "knock-out"), ("how", -1), ("how", True), ("how", float("nan")), ("of", "tissues"), ("n_cells", 1),
        ("n_random", 2), ("seed", -1), ("together", "yes"), ("genes", []),
    ):  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            perturbed(adata, **{"genes": [HUMAN[5]], "model": model} | {name: value})
        assert caught.value.argument == name
