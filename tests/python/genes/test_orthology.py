"""Genes are mapped to their orthologs of the other species, and nothing is lost silently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import ArgumentError, GenesError
from celloquy.genes.tables import gene_table, ortholog_pairs

PAIRS = ortholog_pairs()
HUMAN = sorted({gene_table("human").id_of(human) for human, _, _ in PAIRS})
genes = st.lists(st.sampled_from(HUMAN), unique=True, max_size=25)
relations = st.sampled_from(["one-to-one", "many-to-one", "one-to-many", "all"])


@pytest.mark.parametrize(
    ("names", "to", "expected"),
    [
        (["Cd3e", "Trp53", "ENSMUSG00000029580.14"], "human", ["CD3E", "TP53", "ACTB"]),
        (["CD3E", "TP53", "SEPT2"], "mouse", ["Cd3e", "Trp53", "Septin2"]),
        (["ACTB", "CD3E"], "human", ["ACTB", "CD3E"]),  # mouse names in capitals
    ],
)
def test_well_known_genes_have_their_known_orthologs(names, to, expected):
    assert cq.orthologs(names, to=to).frame["ortholog_symbol"].tolist() == expected


@given(genes)
def test_one_to_one_orthologs_map_back_to_the_same_genes(names):
    there = cq.orthologs(names, to="mouse")
    back = cq.orthologs([pair.ortholog_id for pair in there.pairs], to="human")
    assert [pair.ortholog_id for pair in back.pairs] == [pair.ensembl_id for pair in there.pairs]


@given(genes, relations)
def test_every_gene_is_paired_excluded_or_without_an_ortholog(names, relation):
    found = cq.orthologs(names, to="mouse", relation=relation)
    named = {pair.name for pair in found.pairs}
    assert sorted([*named, *found.excluded, *found.without]) == sorted(names)


@given(genes, relations)
def test_each_relation_returns_only_the_pairs_that_it_names(names, relation):
    pairs = cq.orthologs(names, to="mouse", relation=relation).pairs
    allowed = {
        "one-to-one": {"one-to-one"},
        "many-to-one": {"one-to-one", "many-to-one"},
        "one-to-many": {"one-to-one", "one-to-many"},
        "all": {"one-to-one", "many-to-one", "one-to-many", "many-to-many"},
    }
    assert {pair.relation for pair in pairs} <= allowed[relation]
    if relation in ("one-to-one", "many-to-one"):
        assert len({pair.name for pair in pairs}) == len(pairs)


@given(genes, st.randoms(), relations)
def test_orthologs_keep_the_order_of_the_genes(names, random, relation):
    shuffled = random.sample(names, len(names))
    by_name = {}
    for pair in cq.orthologs(names, to="mouse", relation=relation).pairs:
        by_name.setdefault(pair.name, []).append(pair)
    expected = [pair for name in shuffled for pair in by_name.get(name, [])]
    assert list(cq.orthologs(shuffled, to="mouse", relation=relation).pairs) == expected


def test_genes_with_several_orthologs_are_returned_only_on_request():
    assert len(cq.orthologs(["AMY1A"], to="mouse")) == 0
    assert len(cq.orthologs(["AMY1A"], to="mouse", relation="all")) > 1


def test_the_summary_shows_the_rule_and_what_was_left_out():
    found = cq.orthologs(["CD3E", "AMY1A", "RP11-206L10.2", "GFP"], to="mouse")
    assert (found.excluded, found.without) == (("AMY1A",), ("RP11-206L10.2",))
    for text in (
        "one-to-one",
        "Ensembl Compara",
        "HCOP",
        "1 by the rule, 1 without an ortholog, 1 ambiguous or unknown",
    ):
        assert text in str(found)


def test_an_empty_list_of_genes_gives_an_empty_table():
    assert cq.orthologs([], to="mouse").frame.shape == (0, 7)


def test_genes_of_the_target_species_are_refused():
    with pytest.raises(GenesError, match="not of mouse") as caught:
        cq.orthologs(["ENSG00000141510"], to="human")
    assert 'to="mouse"' in caught.value.remedy


@pytest.mark.parametrize(("to", "relation"), [("yeast", "all"), ("mouse", "some"), (None, "all")])
def test_unknown_species_and_relations_are_refused(to, relation):
    with pytest.raises((GenesError, ArgumentError)):
        cq.orthologs(["TP53"], to=to, relation=relation)
