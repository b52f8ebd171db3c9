"""Labels across species: orthologs of any relation are read, and the query's labels are never looked at."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import celloquy as cq
from celloquy.data import CellSource
from celloquy.errors import GenesError
from celloquy.evaluate import unknown_auroc
from celloquy.genes.orthology import ortholog_groups
from celloquy.tasks.annotation import across
from celloquy.tasks.annotation.known import read_types
from celloquy.tasks.annotation.orthologs import SharedOrthologs

BOTH = read_types()[2]
PAIRS = [row for row in range(len(BOTH)) if BOTH.human_symbols[row] and BOTH.mouse_symbols[row]][:200]
NAMES = {
    "human": [BOTH.human_symbols[row] for row in PAIRS],
    "mouse": [BOTH.mouse_symbols[row] for row in PAIRS],
}
TYPES = np.array(["a", "b", "c", "d"])
RATES = np.exp(np.random.default_rng(0).normal(size=(len(TYPES), len(PAIRS))))
SHIFT = np.exp(np.random.default_rng(1).normal(scale=0.7, size=len(PAIRS)))


def cells(species: str, n: int = 120, seed: int = 0, shares=(0.4, 0.3, 0.2, 0.1)) -> AnnData:
    """Cells of four types; a mouse has more of some genes than a human, whatever the type."""
    random = np.random.default_rng([seed, n])
    kind = random.choice(len(TYPES), n, p=shares)
    counts = random.poisson(RATES[kind] * (SHIFT if species == "mouse" else 1))
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.var_names, adata.obs["cell_type"] = NAMES[species], pd.Categorical(TYPES[kind], categories=TYPES)
    adata.obs_names = [f"{species}{place}" for place in range(n)]
    return adata


STUDIES = [CellSource(cells(species, seed=5)).over(BOTH.take(PAIRS)).read_all() for species in NAMES]
FACTORS = cq.FactorModel.fit(STUDIES, BOTH.take(PAIRS), cq.FactorModelConfig(width=5))


def fitted(reference: AnnData, query: AnnData, **given) -> cq.Annotator:
    options = {"label_key": "cell_type", "model": FACTORS, "progress": False} | given
    return cq.Annotator(**options).fit(reference, query=query)


def probability(annotator: cq.Annotator, adata: AnnData) -> pd.DataFrame:
    return cq.get(annotator.predict(adata, copy=True), "celloquy_probability")


@pytest.fixture(scope="module")
def annotator() -> cq.Annotator:
    return fitted(cells("human"), cells("mouse", seed=1))


@pytest.mark.parametrize("species", ["human", "mouse"])
def test_cells_get_the_labels_of_the_other_species(species):
    query = cells("mouse" if species == "human" else "human", seed=1)
    found = probability(fitted(cells(species), query), query).idxmax(axis=1)
    assert (found.to_numpy() == query.obs["cell_type"].to_numpy(str)).mean() > 0.95


def test_the_labels_of_the_query_change_nothing(annotator):
    query = cells("mouse", seed=1)
    expected = probability(annotator, query)
    query.obs["cell_type"] = query.obs["cell_type"].to_numpy()[::-1]
    pd.testing.assert_frame_equal(probability(fitted(cells("human"), query), query), expected)
    del query.obs["cell_type"]
    pd.testing.assert_frame_equal(probability(annotator, query), expected)


def test_reference_cells_without_a_label_change_nothing():
    query, reference = cells("mouse", seed=1), cells("human")
    reference.obs["cell_type"] = reference.obs["cell_type"].astype(object).where(np.arange(120) < 100, None)
    with pytest.warns(cq.errors.MissingLabelWarning):
        expected = probability(fitted(reference, query), query)
    changed = reference.X.tolil()
    changed[100:] = changed[100:].toarray()[:, ::-1]
    reference.X = changed.tocsr()
    with pytest.warns(cq.errors.MissingLabelWarning):
        found = probability(fitted(reference, query), query)
    # The model in the box adapts to all cells of the reference; what is learned across species is of labelled ones.
    assert (found.idxmax(axis=1) == expected.idxmax(axis=1)).all()


def test_the_order_of_the_cells_does_not_matter(annotator):
    query = cells("mouse", seed=1)
    order = np.random.default_rng(0).permutation(query.n_obs)
    found = probability(annotator, query[order].copy())
    np.testing.assert_allclose(found, probability(annotator, query).iloc[order], atol=1e-3)


def test_many_cells_are_labelled_in_parts(annotator, monkeypatch):
    monkeypatch.setattr(across, "MOST_TOGETHER", 50)
    query = cells("mouse", seed=1)
    found = probability(annotator, query).idxmax(axis=1)
    assert (found.to_numpy() == query.obs["cell_type"].to_numpy(str)).mean() > 0.9


def test_a_single_cell_has_a_label(annotator):
    assert probability(annotator, cells("mouse", seed=1)[:1].copy()).shape == (1, len(TYPES))


def test_cells_without_counts_have_a_label(annotator):
    query = cells("mouse", seed=1)
    query.X = sparse.csr_matrix(query.X.toarray() * (np.arange(query.n_obs) > 2)[:, None])
    assert np.isfinite(probability(annotator, query)).all(axis=None)


def test_a_type_that_the_reference_lacks_is_told_by_its_novelty():
    reference, query = cells("human"), cells("mouse", seed=1)
    reference = reference[(reference.obs["cell_type"] != "c").to_numpy()].copy()
    told = fitted(reference, query).predict(query, copy=True)
    assert unknown_auroc((query.obs["cell_type"] == "c").to_numpy(), 1 - told.obs["celloquy_novelty"]) > 0.9


def test_no_cell_is_unknown_if_none_may_be():
    query = cells("mouse", seed=1)
    told = fitted(cells("human"), query, false_unknown_rate=0).predict(query, copy=True)
    assert "unknown" not in set(told.obs["celloquy_label"])


def test_cells_of_the_references_species_are_labelled_by_the_heads_alone(annotator):
    again = cells("human", seed=2)
    expected = annotator.predict(again, copy=True)
    assert "ortholog_groups" not in expected.uns["celloquy"]["celloquy_label"]["parameters"]
    assert (expected.obs["celloquy_label"].astype(str) == again.obs["cell_type"].astype(str)).mean() > 0.85


def test_the_result_says_how_it_was_made(annotator):
    told = annotator.predict(cells("mouse", seed=1), copy=True)
    parameters = told.uns["celloquy"]["celloquy_label"]["parameters"]
    assert parameters["reference_species"] == "human"
    assert parameters["ortholog_groups"] == parameters["one_to_one_orthologs"] == len(PAIRS)
    assert parameters["weight_of_own_heads"] in (across.OWN, across.OWN_WHERE_BETTER)


def test_it_predicts_the_same_when_it_was_saved(annotator, tmp_path):
    annotator.save(tmp_path / "annotator")
    query = cells("mouse", seed=1)
    loaded = cq.Annotator.load(tmp_path / "annotator")
    pd.testing.assert_frame_equal(probability(loaded, query), probability(annotator, query))


def test_without_a_model_the_one_in_the_box_is_read():
    query = cells("mouse", seed=1)
    annotator = fitted(cells("human"), query, model=None)
    assert isinstance(annotator.model_, cq.FactorModel)
    cq.annotate(query, reference=cells("human"), label_key="cell_type", progress=False)
    assert (query.obs["celloquy_label"].astype(str) == query.obs["cell_type"].astype(str)).mean() > 0.85


def test_a_model_is_trained_over_the_genes_of_both_species_when_asked_for():
    query = cells("mouse", seed=1)
    annotator = fitted(cells("human"), query, model=None, epochs=1)
    assert isinstance(annotator.model_, cq.CellModel)
    assert annotator.model_.vocabulary.pairs
    assert (
        probability(annotator, query).idxmax(axis=1).to_numpy() == query.obs["cell_type"].to_numpy(str)
    ).mean() > 0.9


def test_orthologs_of_any_relation_share_a_group_whose_counts_are_summed():
    reference, query = (cells(one, n=5) for one in NAMES)
    reference = AnnData(np.ones((5, 201), np.float32), var=pd.DataFrame(index=[*NAMES["human"], "INS"]))
    query = AnnData(np.ones((5, 202), np.float32), var=pd.DataFrame(index=[*NAMES["mouse"], "Ins1", "Ins2"]))
    genes = SharedOrthologs.of(CellSource(reference), CellSource(query))
    sums = genes.read(CellSource(query)).toarray().sum(0)
    assert (len(genes), genes.one_to_one) == (201, 200)
    np.testing.assert_array_equal(np.sort(sums), [5] * 200 + [10])
    np.testing.assert_array_equal(genes.read(CellSource(reference)).toarray(), np.ones((5, 201)))


def test_genes_without_an_ortholog_among_the_others_have_no_group():
    human = cq.identify_genes(["INS", "TP53", "ACTB"], species="human").ids
    mouse = cq.identify_genes(["Ins1", "Ins2", "Trp53"], species="mouse").ids
    groups = ortholog_groups(human, mouse)
    assert [groups.get(gene) for gene in human] == [0, 1, None]
    assert [groups[gene] for gene in mouse] == [0, 0, 1]


def test_a_reference_of_hardly_any_orthologs_is_refused():
    query = cells("mouse")
    names = [*NAMES["human"][:5], "HLA-A", "HLA-DRA", "IGHM", "TRAC", "ZNF106"]
    reference = AnnData(np.full((60, len(names)), 3, np.float32), var=pd.DataFrame(index=list(names)))
    reference.obs["cell_type"] = pd.Categorical(np.resize(["a", "b"], 60))
    with pytest.raises(GenesError, match="share too few orthologs") as refused:
        cq.annotate(query, reference=reference, label_key="cell_type", progress=False)
    assert refused.value.argument == "reference"
    assert "celloquy_label" not in query.obs


def test_genes_of_both_species_in_one_object_are_refused():
    query = cells("mouse")
    query.var_names = [*NAMES["mouse"][:100], *NAMES["human"][100:]]
    with pytest.raises(GenesError, match="human and mouse together"):
        fitted(cells("human"), query)


def test_a_reference_whose_species_can_not_be_told_is_refused_by_a_model_of_one_species():
    reference = cells("human")
    reference = reference[:, :20].copy()
    query = cells("mouse")
    with pytest.raises(GenesError, match="mouse genes, and the vocabulary is of human"):
        cq.annotate(query, reference=reference, label_key="cell_type", progress=False)
    assert "celloquy_label" not in query.obs
