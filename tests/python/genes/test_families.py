"""Families of genes hold paralogues together, and do not depend on which genes are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import GenesError
from celloquy.genes.families import _joined

KINDS = [["GATA1", "GATA2", "GATA4"], ["HBB", "HBG1"], ["HOXA1", "HOXB1"], ["KRT5", "KRT14"]]
NAMES = [name for kind in KINDS for name in kind]


def test_paralogues_are_of_one_family_and_strangers_are_not():
    families = cq.genes.gene_families(cq.GeneVocabulary.from_names(NAMES))
    found = dict(zip(NAMES, families.tolist(), strict=True))
    for kind in KINDS:
        assert len({found[name] for name in kind}) == 1, kind
    assert len({found[kind[0]] for kind in KINDS}) == len(KINDS)


@given(chosen=st.lists(st.sampled_from(NAMES), min_size=2, unique=True))
def test_two_genes_are_of_one_family_whichever_others_are_asked_for(chosen):
    whole = dict(zip(NAMES, cq.genes.gene_families(cq.GeneVocabulary.from_names(NAMES)).tolist(), strict=True))
    part = cq.genes.gene_families(cq.GeneVocabulary.from_names(chosen))
    for one, family in zip(chosen, part, strict=True):
        for other, family_of_other in zip(chosen, part, strict=True):
            assert (family == family_of_other) == (whole[one] == whole[other])


def test_orthologs_are_of_one_family_and_unknown_genes_of_none():
    ids = [*cq.identify_genes(["GATA1", "HBB"]).ids, *cq.identify_genes(["Gata2", "Hba-a1"]).ids, "ENSG99999999999"]
    families = cq.genes.gene_families(cq.GeneVocabulary.from_ids(ids))
    assert families.tolist() == [0, 1, 0, 1, 2]


def test_chains_of_sets_do_not_join_more_genes_than_are_allowed():
    chain = [[gene, gene + 1] for gene in range(99)]
    assert len(set(_joined(chain, 100, 1000))) == 1
    sizes = np.bincount(_joined(chain, 100, 10))
    assert sizes.max() <= 10
    # A single set may be larger, of the genes that nothing smaller has joined.
    families = _joined([[0, 1], list(range(50))], 50, 10)
    assert families[0] == families[1] != families[2]
    assert len(set(families[2:])) == 1


def test_expression_of_the_corpus_is_that_of_known_genes():
    genes = cq.GeneVocabulary.from_names(["ACTB", "INS", "Ins1", "MALAT1"])
    table = cq.genes.expression(genes)
    values = dict(zip(table.features, table.matrix.toarray().T, strict=True))
    assert values["share of cells"][0] > 0.9 > 0.1 > values["share of cells"][1]
    assert values["specificity"][1] > 0.9 > 0.7 > values["specificity"][0]
    assert values["share of cells"].max() <= 1
    # A mouse gene that the corpus lacks has the values of its orthologs.
    assert values["specificity"][2] > 0.5
    with pytest.raises(GenesError, match="knows no gene"):
        cq.genes.expression(cq.GeneVocabulary.from_ids(["ENSG99999999999"]))
