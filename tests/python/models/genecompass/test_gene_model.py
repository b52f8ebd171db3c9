"""The gene model: the same embedding in any company, folded or not, in memory or on disk, saved or not."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import celloquy as cq
from celloquy.data import CellBatch, CellSource
from celloquy.errors import ArgumentError, CheckpointError, ModelError
from celloquy.models.genecompass.encoding import LONGER, MORE, cells_of_like_length
from celloquy.models.genecompass.summary import sums_of_words
from gene_examples import HUMAN, MOUSE, PAIRS, gene_cells, small_gene_model

MODEL = small_gene_model()
KINDS = {
    "usual": {},
    "ranks": {"positions": "rank", "depth": "raw", "words": "own"},
    "mean": {"pooling": "mean"},
    "by value": {"pooling": "value"},
    "no values": {"values": False},
    "no priors": {"priors": ()},
    "one prior": {"priors": (("family", 3),)},
    "no species": {"species_token": False},
    "summary": {"summary": True, "context": 9},
    "summary alone": {"summary": True, "pooling": "summary", "context": 9},
}
MODELS = {name: small_gene_model(**changes) for name, changes in KINDS.items()}
each_kind = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def embedding(adata, model=MODEL, **options) -> np.ndarray:
    return cq.embed(adata, model=model, progress=False, copy=True, **options).obsm["X_celloquy"]


def batch_of(adata, model=MODEL) -> CellBatch:
    return CellSource(adata).over(model.vocabulary).read_all()


def unfolded(model, ids, values, species):
    """The encoder's input as it is published: word, value and projected priors side by side, one token at a time."""
    fusion = model.fusion
    looked_up = torch.where(species[:, None] == 1, model.partner[ids], ids)
    parts = [fusion.word[ids]]
    if model.config.values:
        parts.append(values[..., None])
    for name, _ in model.config.priors:
        parts.append(fusion.projections[f"of_{name}"](fusion.vectors(name)[looked_up]))
    hidden = fusion.norm(fusion.fuse(torch.cat(parts, -1)))
    hidden = fusion.proj(hidden * (1.702 * hidden).sigmoid())
    if fusion.position is not None:
        hidden = hidden + fusion.position[: ids.shape[1]]
    cell = model.cell[species if model.config.species_token else 0 * species]
    if model.summary is not None:
        weight = torch.where(ids > 1, values, 0)[..., None]
        cell = cell + model.summary.linear((weight * fusion.word[ids]).sum(1) / weight.sum(1))
    return torch.cat([cell[:, None], fusion.last_norm(hidden)], 1)


@each_kind
def test_priors_folded_into_one_row_a_gene_equal_those_fused_token_by_token(model):
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(len(model.partner), (7, 30), generator=random)
    values, species = torch.rand(7, 30, generator=random) * 5, torch.arange(7) % 2
    expected = unfolded(model, ids, values, species)
    torch.testing.assert_close(model.embedded(ids, values, species), expected, atol=1e-5, rtol=1e-5)
    for one in (0, 1):
        folded = model.table(one)[ids[species == one]]
        torch.testing.assert_close(
            model.fusion(folded, values[species == one]), expected[species == one, 1:], atol=1e-5, rtol=1e-5
        )
    # And they are trained as if they had been apart.
    weights = [weight for name, weight in model.fusion.named_parameters()]
    target = torch.randn(expected.shape, generator=random)
    gradients = (
        torch.autograd.grad((functional.gelu(out) * target).sum(), weights, allow_unused=True)
        for out in (model.embedded(ids, values, species), unfolded(model, ids, values, species))
    )
    for found, wanted in zip(*gradients, strict=True):
        if wanted is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@each_kind
@settings(max_examples=8)
@given(
    seed=st.integers(0, 50),
    order=st.permutations(range(12)),
    batch_size=st.integers(1, 13),
    genes=st.permutations(range(28)),
)
def test_the_embedding_depends_on_no_order_no_batch_size_and_no_company(model, seed, order, batch_size, genes):
    adata = gene_cells(seed=seed, empty=True)
    expected = embedding(adata, model)
    assert np.isfinite(expected).all()
    other = adata[order, genes].copy()
    np.testing.assert_allclose(embedding(other, model, batch_size=batch_size), expected[order], atol=2e-5)
    np.testing.assert_allclose(embedding(adata[order[:3]].copy(), model), expected[order[:3]], atol=2e-5)


def test_a_summary_tells_of_genes_beyond_the_context_and_starts_centred_and_of_size_one():
    adata = gene_cells(40, seed=1)
    weak = np.argsort(adata.X.toarray(), axis=1)[:, len(HUMAN) // 2]
    more = adata.copy()
    counts = adata.X.toarray()
    counts[np.arange(40), weak] += 1
    more.X = counts
    changed = {
        name: np.abs(embedding(adata, model) - embedding(more, model)).max(1)
        for name, model in {
            "summary": small_gene_model(summary=True, context=2, depth="raw"),
            "none": small_gene_model(context=2, depth="raw"),
        }.items()
    }
    same = changed["none"] < 1e-6
    assert same.sum() > 10
    assert (changed["summary"][same] > 1e-6).all()
    model = small_gene_model(summary=True)
    tokens = model.tokenise(batch_of(adata))
    sums = sums_of_words(tokens, model.fusion.word)
    model.summary.centre(*sums)
    summaries = model.summary(*sums)
    torch.testing.assert_close(summaries.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(summaries.var(0, unbiased=False).mean(), torch.tensor(1.0), atol=1e-3, rtol=0)


@given(seed=st.integers(0, 50), more=st.integers(0, 9))
def test_padding_changes_nothing(seed, more):
    tokens = MODEL.tokenise(batch_of(gene_cells(seed=seed)))
    ids, values = tokens.padded()
    cells, genes = MODEL.encode(ids, values, tokens.species)
    longer = MODEL.encode(*(functional.pad(one, (0, more)) for one in (ids, values)), tokens.species)
    torch.testing.assert_close(longer[0], cells, atol=1e-5, rtol=1e-5)
    there = ids > 0
    torch.testing.assert_close(longer[1][:, : ids.shape[1]][there], genes[there], atol=1e-5, rtol=1e-5)
    for cell, length in enumerate(tokens.lengths):
        own = slice(cell, cell + 1)
        alone = MODEL.encode(ids[own, :length], values[own, :length], tokens.species[own])
        torch.testing.assert_close(alone[0], cells[own], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone[1], genes[own, :length], atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 50), place=st.integers(0, 9))
def test_without_positions_the_order_of_tokens_says_nothing_and_a_hidden_gene_only_that_it_is_hidden(seed, place):
    random = torch.Generator().manual_seed(seed)
    ids = torch.randperm(len(MODEL.vocabulary), generator=random)[None, :10] + 2
    values = torch.rand(1, 10, generator=random).sort(descending=True).values
    hidden_ids, hidden_values = ids.clone(), values.clone()
    hidden_ids[0, place], hidden_values[0, place] = 1, -1.0
    order = torch.randperm(10, generator=random)
    cells, genes = MODEL.encode(hidden_ids, hidden_values)
    shuffled = MODEL.encode(hidden_ids[:, order], hidden_values[:, order])
    torch.testing.assert_close(shuffled[0], cells, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shuffled[1], genes[:, order], atol=1e-5, rtol=1e-5)
    # By its rank a value can be read off its neighbours' instead.
    ranked = MODELS["ranks"]
    apart = (
        ranked.encode(hidden_ids[:, order], hidden_values[:, order])[1]
        - ranked.encode(hidden_ids, hidden_values)[1][:, order]
    )
    assert torch.equal(order, torch.arange(10)) or apart.abs().max() > 1e-4


@each_kind
@settings(max_examples=8)
@given(seed=st.integers(0, 50), order=st.permutations(range(16)))
def test_cells_of_both_species_in_one_batch_are_read_as_in_batches_of_their_own(model, seed, order):
    human, mouse = (batch_of(gene_cells(8, seed, genes), model) for genes in (HUMAN, MOUSE))
    mixed = CellBatch.concatenate([human, mouse]).select(torch.tensor(order))
    apart = torch.cat([model.embed_batch(human), model.embed_batch(mouse)])
    torch.testing.assert_close(model.embed_batch(mixed), apart[order], atol=2e-5, rtol=1e-5)


@each_kind
@given(seed=st.integers(0, 50), numbers=st.lists(st.integers(0, PAIRS - 1), min_size=1, unique=True))
def test_what_is_known_of_a_gene_is_looked_up_at_the_species_of_its_cell(model, seed, numbers):
    torch.manual_seed(seed)
    ids, values = model.token[torch.tensor(numbers)][None], torch.rand(1, len(numbers))
    human, mouse = (model.embedded(ids, values, torch.tensor([one]))[:, 1:] for one in (0, 1))
    if model.config.priors:
        # The same words with what is known of the mouse genes of their pairs, and with nothing of the human ones.
        other = copy.deepcopy(model)
        for name, _ in model.config.priors:
            known = model.fusion.vectors(name)
            swapped = known.clone()
            swapped[ids[0]] = known[model.partner[ids[0]]]
            other.fusion.set_vectors(name, swapped)
        torch.testing.assert_close(other.embedded(ids, values, torch.tensor([0]))[:, 1:], mouse)
        assert (human - mouse).abs().max() > 1e-4
    else:
        torch.testing.assert_close(human, mouse)


def test_a_mouse_cell_meets_the_words_of_human_genes_and_what_is_known_of_its_own():
    counts = gene_cells().X[:, :PAIRS]
    human, mouse = gene_cells(genes=HUMAN[:PAIRS]), gene_cells(genes=MOUSE[:PAIRS])
    human.X = mouse.X = counts
    model = small_gene_model(species_token=False)
    model.median = torch.ones_like(model.median)
    assert np.abs(embedding(human, model) - embedding(mouse, model)).max() > 1e-3
    for name, _ in model.config.priors:
        model.fusion.vectors(name)[model.partner] = model.fusion.vectors(name)[: len(model.partner)].clone()
    np.testing.assert_allclose(embedding(human, model), embedding(mouse, model), atol=1e-5)


def test_a_gene_of_which_nothing_is_known_has_zeros_and_is_read():
    gene = MODEL.token[PAIRS]
    assert not any(MODEL.fusion.vectors(name)[gene].any() for name, _ in MODEL.config.priors)
    cells, _ = MODEL.encode(gene[None, None], torch.ones(1, 1))
    assert cells.isfinite().all()


def test_the_priors_that_ship_are_reduced_to_a_width_and_the_same_in_every_run():
    genes = cq.GeneVocabulary.both(["CD3D", "MS4A1", "NKG7", "FOXP3", "GATA4", "TP53", "ACTB", "Ins1", "XIST"])
    config = cq.GeneModelConfig.preset("mini")
    models = [cq.GeneModel(config, genes) for _ in range(2)]
    for model in models:
        model.set_prior("family", "family")
        model.set_prior("signalling", "signalling")
    for name in ("family", "signalling"):
        first, second = (model.fusion.vectors(name) for model in models)
        assert torch.equal(first, second)
        # As many rows as tokens and mouse genes of pairs.
        assert first.shape == (2 + len(genes) + genes.pairs, dict(config.priors)[name])
        place = models[0].token[genes.index("ENSG00000141510")]
        assert float(first[place].square().mean()) in (0, pytest.approx(1, rel=1e-4))
    # One-to-one orthologs are of one family.
    pair = int(models[0].token[0])
    torch.testing.assert_close(
        models[0].fusion.vectors("family")[pair], models[0].fusion.vectors("family")[models[0].partner[pair]]
    )


def test_a_new_model_takes_medians_and_priors_from_its_cells_and_the_tables():
    adata = gene_cells(40)
    config = cq.GeneModelConfig(width=8, heads=2, layers=1, feedforward=8, priors=(("mine", 2),))
    model = cq.GeneModel.initialise(config, MODEL.vocabulary, batch_of(adata))
    assert (model.median[model.token[: len(HUMAN)]] > 0).all()
    model.set_prior("mine", pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 2.0]}, index=[HUMAN[0], HUMAN[25]]))
    assert model.fusion.vectors("mine")[model.token[25]].tolist() == [0.0, 2.0]
    # A mouse gene has its ortholog's.
    assert model.fusion.vectors("mine")[model.partner[model.token[0]]].tolist() == [1.0, 0.0]
    with pytest.raises(ArgumentError, match=r"no such prior[\s\S]*'mine'"):
        model.set_prior("family", "family")


@each_kind
def test_a_saved_model_is_bit_identical(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = cq.Model.from_pretrained(tmp_path / "model")
    assert type(loaded) is cq.GeneModel
    assert loaded.fingerprint == model.fingerprint
    assert loaded.config == model.config
    assert loaded.median.dtype == torch.float64
    np.testing.assert_array_equal(embedding(gene_cells(), loaded), embedding(gene_cells(), model))


def test_files_give_what_memory_gives(tmp_path):
    adata = gene_cells(30, empty=True)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    cq.embed(tmp_path / "cells.h5ad", out=tmp_path / "out.h5ad", model=MODEL, batch_size=7, progress=False)
    import anndata

    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_allclose(found.obsm["X_celloquy"], embedding(adata), atol=2e-5)
    assert list(found.uns["celloquy"]["X_celloquy"]["empty_cells"]) == ["cell0"]


def test_half_precision_gives_nearly_the_same():
    adata = gene_cells(20)
    one, other = embedding(adata, precision="float32"), embedding(adata, precision="bfloat16")
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.999


def test_medians_stay_as_they_are_where_weights_become_half_as_precise():
    model = small_gene_model()
    assert model.to(torch.bfloat16).median.dtype == torch.float64
    assert model.fusion.word.dtype == torch.bfloat16


@given(lengths=st.lists(st.integers(0, 3000), max_size=60), most=st.integers(1, 9000))
def test_cells_are_read_together_with_little_padding(lengths, most):
    groups = cells_of_like_length(torch.tensor(lengths, dtype=torch.int64), most)
    assert sorted(cell for group in groups for cell in group.tolist()) == list(range(len(lengths)))
    for group in groups:
        sizes = [lengths[cell] for cell in group]
        assert len(group) == 1 or max(sizes) * len(group) <= most
        assert max(sizes) <= LONGER["cpu"] * min(sizes) + MORE


def test_annotation_tunes_the_embedding_and_medians_stay():
    adata = gene_cells(40)
    kind = np.arange(40) % 2
    counts = adata.X.toarray()
    counts[kind == 1, :6] += 6
    adata.X = counts
    adata.obs["type"] = np.array(["T", "B"])[kind]
    before = MODEL.fingerprint
    annotator = cq.Annotator(label_key="type", model=MODEL, epochs=8, progress=False)
    annotator.fit(adata).predict(adata)
    assert (adata.obs["celloquy_label"].astype(str) == adata.obs["type"]).mean() > 0.8
    assert MODEL.fingerprint == before
    assert not torch.equal(annotator.model_.fusion.word, MODEL.fusion.word)
    assert torch.equal(annotator.model_.median, MODEL.median)


def test_presets_are_of_the_sizes_that_they_say():
    mini = cq.GeneModelConfig.preset("mini")
    ids = [f"ENSG{i:011d}" for i in range(1, 20_001)] + [f"ENSMUSG{i:011d}" for i in range(1, 6_001)]
    with torch.device("meta"):
        model = cq.GeneModel(mini, cq.GeneVocabulary.from_ids(ids))
    assert sum(weight.numel() for weight in model.parameters()) < 6e6
    base = cq.GeneModelConfig.preset("base")
    assert (base.layers, base.width, base.heads, base.feedforward, base.context) == (12, 768, 12, 3072, 2048)
    assert cq.GeneModelConfig.from_json(base.to_json()) == base
    with pytest.raises(ArgumentError, match="no such preset"):
        cq.GeneModelConfig.preset("huge")


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": 3},
        {"positions": "sine"},
        {"depth": 1},
        {"context": 0},
        {"dropout": 2.0},
        {"values": "yes"},
        {"priors": (("a", 1), ("a", 2))},
        {"priors": (("a.b", 1),)},
        {"values": False, "pooling": "value"},
        {"pooling": "summary"},
    ],
)
def test_a_configuration_that_makes_no_model_is_refused(changes):
    with pytest.raises(ArgumentError, match="GeneModelConfig can't have this") as caught:
        cq.GeneModelConfig(**changes)
    assert caught.value.argument in changes


@pytest.mark.parametrize(
    ("ids", "values", "species", "what"),
    [
        ([[2, 3]], [[1.0]], None, "ids"),
        ([[2.0, 3.0]], [[1.0, 2.0]], None, "ids"),
        ([2, 3], [1.0, 2.0], None, "ids"),
        ([[2, 999]], [[1.0, 2.0]], None, "ids"),
        ([[-1, 2]], [[1.0, 2.0]], None, "ids"),
        ([[2] * 65], [[1.0] * 65], None, "ids"),
        ([[2, 3]], [[1.0, 2.0]], [2], "species"),
        ([[2, 3]], [[1.0, 2.0]], [-1], "species"),
        ([[2, 3]], [[1.0, 2.0]], [0, 1], "species"),
    ],
)
def test_tokens_that_are_none_are_refused(ids, values, species, what):
    given_species = None if species is None else torch.tensor(species)
    with pytest.raises(ArgumentError, match=f"can't read these `{what}`") as caught:
        MODELS["ranks"].encode(torch.tensor(ids), torch.tensor(values), given_species)
    assert caught.value.argument == what


def test_cells_of_no_gene_and_of_one_gene_are_embedded_and_no_cells_are_none():
    adata = gene_cells(3)
    adata.X = np.eye(3, adata.n_vars, dtype=np.float32) * [[0], [1], [0]]
    vectors = embedding(adata)
    # What stands for the cell is all there is.
    np.testing.assert_allclose(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    assert MODEL.embed_batch(batch_of(gene_cells())[:0]).shape == (0, 16)


def test_cells_of_another_species_and_tasks_that_need_a_decoder_are_refused():
    adata = gene_cells()
    adata.var_names = [f"ENSDARG{i:011d}" for i in range(adata.n_vars)]
    with pytest.raises(cq.errors.GenesError):
        embedding(adata)
    with pytest.raises(ModelError, match="A GeneModel can't decode"):
        cq.denoise(gene_cells(), model=MODEL)
    with pytest.raises(ArgumentError, match="no use with this model"):
        embedding(gene_cells(), tissue_key="sample")


def test_a_model_whose_files_do_not_fit_is_refused(tmp_path):
    MODEL.save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="do not belong together"):
        cq.Model.from_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="misshapen"):
        cq.GeneModel.from_weights(MODEL.config.replace(width=32), MODEL.vocabulary, MODEL.state_dict(), name="another")
