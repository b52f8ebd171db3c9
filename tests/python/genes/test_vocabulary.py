"""A vocabulary holds its genes in order, each once, and is saved and compared by them."""

import hashlib
import pickle
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import GenesError
from celloquy.genes.tables import SPECIES, gene_table

IDS = [
    gene_table(species).id_of(number) for species in SPECIES for number in sorted(gene_table(species).symbol_of)[::211]
]
lists_of_ids = st.lists(st.sampled_from([*IDS, "ENSG00000999999", "GFP", "my gene"]), unique=True, max_size=30)
singles = lists_of_ids.map(cq.GeneVocabulary.from_ids)
vocabularies = singles | lists_of_ids.map(cq.GeneVocabulary.both)


@given(vocabularies)
def test_a_saved_vocabulary_loads_unchanged(tmp_path_factory, vocabulary):
    path = tmp_path_factory.getbasetemp() / "genes.tsv"
    vocabulary.save(path)
    loaded = cq.GeneVocabulary.load(path)
    assert astuple(loaded) == astuple(vocabulary)
    assert loaded.fingerprint == vocabulary.fingerprint
    assert path.read_text().startswith("human_id\thuman_symbol\tmouse_id\tmouse_symbol\tother_id\n")


@given(vocabularies, vocabularies)
def test_vocabularies_are_equal_if_their_genes_and_order_are(one, other):
    rows = [list(vocabulary.genes()) for vocabulary in (one, other)]
    assert (one == other) == (rows[0] == rows[1]) == (one.fingerprint == other.fingerprint)
    if one == other:
        assert hash(one) == hash(other)


@given(singles, singles)
def test_a_union_keeps_the_first_vocabulary_and_adds_new_genes(one, other):
    union = one.union(other)
    assert union.ids[: len(one)] == one.ids
    assert set(union.ids) == {*one.ids, *other.ids}
    assert union.union(other) == union


@given(vocabularies)
def test_a_gene_is_at_its_index(vocabulary):
    assert [vocabulary.index(gene) for gene in vocabulary] == list(range(len(vocabulary)))
    assert all(gene in vocabulary for gene in vocabulary)
    assert "ENSG00000000000" not in vocabulary


def test_symbols_and_species_come_from_the_tables():
    vocabulary = cq.GeneVocabulary.from_ids(["ENSG00000141510.18", "ENSMUSG00000059552", "ENSG00000999999", "GFP"])
    assert vocabulary.ids == ("ENSG00000141510", "ENSMUSG00000059552", "ENSG00000999999", "GFP")
    assert vocabulary.symbols == ("TP53", "Trp53", "", "")
    assert vocabulary.human_ids == ("ENSG00000141510", "", "ENSG00000999999", "")
    assert (vocabulary.mouse_symbols, vocabulary.other_ids) == (("", "Trp53", "", ""), ("", "", "", "GFP"))
    assert (vocabulary.species, vocabulary.pairs) == (("human", "mouse"), 0)


def test_names_of_any_kind_make_a_vocabulary():
    vocabulary = cq.GeneVocabulary.from_names(["TP53", "GFP", "SEPT2", "ENSG00000141510", "1-Mar"])
    assert vocabulary.symbols == ("TP53", "SEPTIN2")
    assert cq.GeneVocabulary.from_names(["TP53"], species="mouse").symbols == ("Trp53",)


def test_the_fingerprint_is_a_hash_of_the_ids():
    assert cq.GeneVocabulary.from_ids(["A1", "B2"]).fingerprint == hashlib.sha256(b"A1\nB2").hexdigest()


def test_a_vocabulary_is_hashable_and_survives_pickling():
    vocabulary = cq.GeneVocabulary.from_ids(IDS[:3])
    assert {vocabulary: 1}[pickle.loads(pickle.dumps(vocabulary))] == 1
    assert vocabulary != "vocabulary"


def test_the_repr_shows_size_species_and_first_genes():
    vocabulary = cq.GeneVocabulary.from_names(["TP53", "CD3D", "ACTB", "GAPDH", "NKG7", "MS4A1"])
    assert repr(vocabulary) == "GeneVocabulary of 6 genes (human): TP53, CD3D, ACTB, GAPDH, NKG7, …"


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["A1", "A1"], "more than once"), (["TP53"], "from_names"), ([""], "''"), (["a\tb"], "tab")],
)
def test_repeated_empty_or_malformed_ids_are_refused(ids, message):
    with pytest.raises(GenesError, match=message) as caught:
        cq.GeneVocabulary.from_ids(ids)
    assert caught.value.argument == "ids"


def test_columns_of_different_length_are_refused():
    nothing = ("", "")
    with pytest.raises(GenesError, match="2 human_ids, 1 human_symbols"):
        cq.GeneVocabulary(("ENSG00000999999", "ENSG00000141510"), ("TP53",), nothing, nothing, nothing)


HEADER = "human_id\thuman_symbol\tmouse_id\tmouse_symbol\tother_id\n"


@pytest.mark.parametrize("text", ["", "gene\nTP53\n", f"{HEADER}ENSG00000141510\n"])
def test_a_file_that_is_no_table_of_genes_is_refused(tmp_path, text):
    path = tmp_path / "genes.tsv"
    path.write_text(text)
    with pytest.raises(GenesError, match=r"genes\.tsv"):
        cq.GeneVocabulary.load(path)


def test_take_returns_genes_with_their_symbols_in_the_given_order():
    vocabulary = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    assert vocabulary.take([2, 0]).symbols == ("NKG7", "CD3D")


def test_keep_unknown_keeps_unknown_names_as_genes_of_their_own():
    names = ["GFP", "CD3D", "CD3D", "transgene-2"]
    assert cq.GeneVocabulary.from_names(names).symbols == ("CD3D",)
    kept = cq.GeneVocabulary.from_names(names, keep_unknown=True)
    assert kept.symbols == ("CD3D", "", "")
    assert kept.ids[1:] == ("GFP", "transgene-2")


@pytest.mark.parametrize("names", [None, 5, 2.5])
def test_what_holds_no_names_is_refused_in_each_way(names):
    for call in (
        lambda: cq.GeneVocabulary.from_names(names),
        lambda: cq.GeneVocabulary.from_names(names, keep_unknown=True),
        lambda: cq.GeneVocabulary.from_ids(names),
    ):
        with pytest.raises(GenesError, match="Can't read gene names"):
            call()


@pytest.mark.parametrize("species", [3, b"human", ["human"]], ids=str)
def test_a_species_that_is_no_text_is_refused(species):
    with pytest.raises(GenesError, match="Genes of this species"):
        cq.GeneVocabulary.from_names(["CD3E"], species)
