"""What is known of genes is laid over the rows of any vocabulary, human, mouse or both, and over a user's own table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes import PRIORS, Prior, priors

FOLDER = Path(priors.__file__).parent / "tables" / "priors"
BOTH = cq.GeneVocabulary.both(
    ["FOXP3", "FOXO1", "CD3D", "INS", "AMY1A", "GATA1", "HBB", "NFKB1", "PAX5", "ACTB", "TP53"]
)
RECORD = json.loads((FOLDER / "SOURCES.json").read_text())


def features_of(prior, vocabulary, name, species=None):
    (gene,) = cq.identify_genes([name], species=species).ids
    row = prior.matrix[vocabulary.index(gene)]
    return {prior.features[place] for place in row.indices}


def test_the_priors_are_small_and_their_sources_are_recorded():
    files = {file.stem: file.stat().st_size for file in FOLDER.glob("*.npz")}
    assert set(files) == set(PRIORS) == set(RECORD["priors"])
    assert files == {name: entry["bytes"] for name, entry in RECORD["priors"].items()}
    assert sum(files.values()) < 8_000_000
    for source in RECORD["sources"]:
        assert source["licence"]
        assert source["version"]
        assert len(source["sha256"]) == 64


@pytest.mark.parametrize("name", PRIORS)
def test_a_shipped_prior_holds_what_its_record_says_of_genes_that_the_tables_know(name):
    shipped, entry = Prior.load(FOLDER / f"{name}.npz"), RECORD["priors"][name]
    assert (len(shipped), len(shipped.features), shipped.matrix.nnz) == (
        entry["genes"],
        entry["features"],
        entry["values"],
    )
    assert (shipped.source, shipped.licence) == (entry["source"], entry["licence"])
    assert shipped.source
    assert shipped.licence
    assert np.diff(shipped.matrix.indptr).min() > 0
    assert np.isfinite(shipped.matrix.data).all()
    current = cq.identify_genes(shipped.ids)
    assert current.ids == shipped.ids
    assert current.species == "human"


@pytest.mark.parametrize(
    ("name", "gene", "feature"),
    [
        ("family", "FOXP3", "Forkhead boxes"),
        ("domains", "FOXO1", "PF00250"),
        ("function", "INS", "GO:0005179 hormone activity"),
        ("function", "GATA1", "GO:0030218 erythrocyte differentiation"),
        ("function", "CD3D", "R-HSA-202427 Phosphorylation of CD3 and TCR zeta chains"),
        ("signalling", "NFKB1", "NFkB"),
    ],
)
def test_well_known_genes_have_their_known_features(name, gene, feature):
    assert feature in features_of(cq.genes.prior(name, BOTH), BOTH, gene)


def test_answers_to_signals_have_a_sign_and_a_size():
    matrix = cq.genes.prior("signalling", cq.GeneVocabulary.from_ids(Prior.load(FOLDER / "signalling.npz").ids)).matrix
    assert matrix.data.min() < -1
    assert matrix.data.max() > 1


@pytest.mark.parametrize("name", PRIORS)
def test_mouse_genes_have_the_features_of_their_orthologs(name):
    human = cq.GeneVocabulary.from_ids([gene for gene in BOTH.human_ids if gene])
    pairs = cq.orthologs(human.ids, to="mouse").pairs
    mouse = cq.GeneVocabulary.from_ids([pair.ortholog_id for pair in pairs])
    of_human, of_mouse = cq.genes.prior(name, human), cq.genes.prior(name, mouse)
    rows = [human.index(pair.ensembl_id) for pair in pairs]
    assert of_human.features == of_mouse.features
    assert (of_human.matrix[rows] != of_mouse.matrix).nnz == 0


def test_a_gene_with_several_orthologs_has_their_mean():
    # Amy1 has three orthologs, of which all that the prior knows are averaged.
    mouse = cq.GeneVocabulary.from_names(["Amy1", "Ins2"], species="mouse")
    partners = cq.orthologs(["Amy1"], to="human", relation="all").pairs
    human = cq.GeneVocabulary.from_ids(dict.fromkeys(pair.ortholog_id for pair in partners))
    assert len(human) > 1
    known = cq.genes.prior("domains", human).matrix.toarray()
    known = known[known.any(axis=1)]
    assert np.allclose(cq.genes.prior("domains", mouse).matrix[0].toarray(), known.mean(axis=0))


@given(st.permutations(range(len(BOTH))))
def test_rows_follow_the_vocabulary(order):
    part = BOTH.take(order)
    prior, whole = cq.genes.prior("family", part), cq.genes.prior("family", BOTH)
    assert prior.ids == part.ids
    assert (prior.matrix != whole.matrix[list(order)]).nnz == 0


NAMES = ["FOXP3", "Foxp3", "ENSG00000049768", "INS", "CD3D", "Cd3d", "GATA1", "no gene"]
frames = st.lists(st.sampled_from(NAMES), min_size=1, max_size=8).flatmap(
    lambda names: st.lists(
        st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=len(names), max_size=len(names)
    ).map(lambda values: pd.DataFrame(values, index=names, columns=["one", "two"]))
)


@given(frames)
def test_a_table_of_ones_own_is_the_mean_of_the_rows_of_a_gene(frame):
    before = frame.copy()
    own = Prior.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    ids = [gene or name for name, gene in zip(frame.index, cq.identify_genes(frame.index).ids, strict=True)]
    expected = frame.groupby(ids, sort=False).mean()
    assert own.ids == tuple(expected.index)
    assert own.features == ("one", "two")
    assert np.allclose(own.matrix.toarray(), expected)


def test_a_table_is_laid_over_either_species():
    frame = pd.DataFrame({"T cell": [True, False], "islet": [False, True]}, index=["Cd3d", "Ins2"])
    over = cq.genes.prior(frame, BOTH)
    assert features_of(over, BOTH, "CD3D") == {"T cell"}
    human = cq.GeneVocabulary.from_names(["CD3D", "ACTB"])
    assert cq.genes.prior(frame, human).matrix.toarray().tolist() == [[1, 0], [0, 0]]


def test_a_sparse_table_stays_sparse():
    values = sparse.random(3, 50, density=0.1, random_state=0, format="csr")
    frame = pd.DataFrame.sparse.from_spmatrix(values, index=["CD3D", "INS", "ACTB"])
    assert np.allclose(Prior.from_frame(frame).matrix.toarray(), values.toarray(), atol=1e-6)


@pytest.mark.parametrize("name", PRIORS)
def test_a_saved_prior_loads_unchanged(tmp_path, name):
    known = cq.genes.prior(name, BOTH)
    known.save(tmp_path / "prior.npz")
    loaded = Prior.load(tmp_path / "prior.npz")
    assert (loaded.name, loaded.ids, loaded.features) == (known.name, known.ids, known.features)
    assert (loaded.source, loaded.licence) == (known.source, known.licence)
    assert (loaded.matrix != known.matrix).nnz == 0
    assert loaded.matrix.dtype == np.float32


def test_a_prior_of_many_features_is_saved_whole(tmp_path):
    matrix = sparse.csr_matrix(([1.5, 2.5], ([0, 1], [69_999, 3])), shape=(2, 70_000), dtype=np.float32)
    Prior("wide", ("ENSG00000167286", "GFP"), matrix, tuple(map(str, range(70_000)))).save(tmp_path / "wide.npz")
    assert (Prior.load(tmp_path / "wide.npz").matrix != matrix).nnz == 0


def test_the_repr_says_how_much_is_known_and_from_where():
    shown = repr(cq.genes.prior("family", BOTH))
    assert f"of {len(BOTH)} genes" in shown
    assert "HGNC" in shown
    assert "CC0" in shown


def test_a_prior_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError, match="known") as caught:
        cq.genes.prior("promoter", BOTH)
    assert "'family'" in caught.value.expected


@pytest.mark.parametrize(
    "values", [["a", "b"], [1.0, float("nan")], [float("inf"), 0.0], pd.Categorical(["a", "b"]), [None, 1]]
)
def test_a_table_of_something_else_than_numbers_is_refused(values):
    with pytest.raises(ArgumentError, match="needs numbers") as caught:
        cq.genes.prior(pd.DataFrame({"feature": values}, index=["CD3D", "INS"]), BOTH)
    assert caught.value.argument == "frame"


def test_a_prior_of_other_genes_is_refused():
    with pytest.raises(GenesError, match="knows no gene of the vocabulary"):
        cq.genes.prior(pd.DataFrame({"feature": [1]}, index=["MS4A1"]), BOTH)


def test_values_that_do_not_fit_their_genes_are_refused():
    with pytest.raises(ArgumentError, match="do not fit"):
        Prior("wrong", ("A", "A"), sparse.csr_matrix((2, 1), dtype=np.float32), ("one",))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_file_that_is_no_prior_is_refused(tmp_path, content):
    path = tmp_path / "prior.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match="not a saved prior"):
        Prior.load(path)
    with path.open("wb") as file:
        np.savez(file, other=np.zeros(2))
    with pytest.raises(ArgumentError, match="not a saved prior"):
        Prior.load(path)
