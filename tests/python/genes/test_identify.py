"""Each name becomes the right gene, with the right reason."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import GenesError
from celloquy.genes.lookup import REASONS
from celloquy.genes.tables import SPECIES, gene_table

SYMBOLS = {species: sorted(gene_table(species)._symbols) for species in SPECIES}
TABLES = [gene_table(species) for species in SPECIES]
IDS = {table.species: sorted(map(table.id_of, table.symbol_of.keys() - table.replaced)) for table in TABLES}
NONSENSE = ["", "ERCC-00002", "GFP", "§", "tdTomato", "not a gene", "4.5", "nan", "AC999999.9"]

species = st.sampled_from(SPECIES)
symbols = species.flatmap(lambda one: st.tuples(st.just(one), st.sampled_from(SYMBOLS[one])))
ids = species.flatmap(lambda one: st.sampled_from(IDS[one]))
names = st.one_of(symbols.map(lambda pair: pair[1]), ids, st.sampled_from(NONSENSE), st.text(max_size=12))


def one(name, of=None):
    (match,) = cq.identify_genes([name], species=of)
    return match


@pytest.mark.parametrize(
    ("name", "symbol", "reason"),
    [
        ("ENSG00000141510", "TP53", "exact"),
        ("TP53", "TP53", "exact"),
        ("ENSG00000141510.18", "TP53", "version"),
        ("ENSG00000182378.15_PAR_Y", "PLCXD1", "version"),
        ("ensg00000141510", "TP53", "case"),
        ("ENSG00000161570.4", "CCL5", "replaced"),
        ("C9orf142", "PAXX", "previous"),
        ("C9ORF72", "C9orf72", "case"),
        ("SEPT2", "SEPTIN2", "previous"),
        ("QARS", "QARS1", "previous"),
        ("C9orf9", "SPACA9", "previous"),
        ("RP11-34P13.7", "RP11-34P13.7", "retired"),
        ("p53", "TP53", "alias"),
        ("MATR3.1", "MATR3", "suffix"),
        ("MATR3-1", "MATR3", "suffix"),
        ("HLA.A.1", "HLA-A", "suffix"),
        ("ENSG00000141510-1", "TP53", "suffix"),
        ("JUN.1", "JUN", "suffix"),
        ("HLA.A", "HLA-A", "mangled"),
        ("HLA_A", "HLA-A", "mangled"),
        ("MT.ND1", "MT-ND1", "mangled"),
        (" TP53 ", "TP53", "mangled"),
        ("TSPAN6_ENSG00000000003", "TSPAN6", "mangled"),
        ("GRCh38_ACTB", "ACTB", "mangled"),
    ],
)
def test_a_human_name_becomes_its_gene_and_says_why(name, symbol, reason):
    match = one(name, "human")
    assert (match.symbol, match.reason, match.species) == (symbol, reason, "human")


@pytest.mark.parametrize(
    ("name", "symbol", "reason"),
    [
        ("ACTB", "Actb", "case"),
        ("actb", "Actb", "case"),
        ("MT-ND1", "mt-Nd1", "case"),
        ("Sept2", "Septin2", "previous"),
        ("March1", "Marchf1", "previous"),
        ("SEP15", "Selenof", "previous"),
        ("Lepre1", "P3h1", "alias"),
        ("LEPRE1", "P3h1", "alias"),
        ("Tp53", "Trp53", "alias"),
        ("H2.K1", "H2-K1", "mangled"),
        ("Syne1_loc2", "Syne1", "suffix"),
        ("5-Sep", "Septin5", "mangled"),
        ("X2310009E13Rik", "Snrpd3", "mangled"),
    ],
)
def test_a_mouse_name_becomes_its_gene_and_says_why(name, symbol, reason):
    match = one(name, "mouse")
    assert (match.symbol, match.reason, match.species) == (symbol, reason, "mouse")


@pytest.mark.parametrize(
    "name", ["3-Mar", "03-Mar", "Mar-03", "Mar-3", "X3.Mar", "3.Mar", "2021-03-03", "3-Mar-21", "MARCH.3"]
)
def test_a_date_becomes_the_symbol_that_it_was(name):
    match = one(name, "human")
    assert (match.symbol, match.reason, match.read_as) == ("MARCHF3", "mangled", "MARCH3")


@pytest.mark.parametrize(("name", "symbol"), [("2-Sep", "SEPTIN2"), ("9/2/2021", "SEPTIN2"), ("1-Dec", "DELEC1")])
def test_dates_of_other_months_are_symbols_too(name, symbol):
    assert one(name, "human").symbol == symbol


def test_a_date_that_two_symbols_become_is_ambiguous():
    match = one("1-Mar", "human")
    assert match.reason == "ambiguous"
    assert match.ensembl_id == ""
    assert set(match.candidates) == {one("MARCH1").ensembl_id, one("MARC1").ensembl_id}


@pytest.mark.parametrize("name", ["RP11-34P13.7", "NKX2-1", "HLA-A", "SNORD115-1", "NKX2-5", "KRTAP5-10", "IGHV3-23"])
def test_real_names_that_look_broken_are_left_as_they_are(name):
    assert one(name, "human").read_as == ""


def test_the_number_of_a_clone_is_never_removed():
    assert one("AC005592.99", "human").reason == "unknown"
    assert one("RP11-34P13.999", "human").reason == "unknown"


def test_a_number_that_r_or_make_unique_may_have_made_is_ambiguous():
    match = one("SNORD115.1", "human")
    assert match.reason == "ambiguous"
    assert one("SNORD115-1").ensembl_id in match.candidates


def test_a_symbol_of_many_genes_is_ambiguous_and_lists_them():
    match = one("Y_RNA", "human")
    assert match.reason == "ambiguous"
    assert len(match.candidates) > 100


def test_of_two_ids_with_one_symbol_one_is_taken_and_one_is_a_candidate():
    match = one("MATR3")
    assert (match.ensembl_id, match.candidates) == ("ENSG00000015479", ("ENSG00000280987",))


def test_a_former_symbol_wins_over_an_alias_which_becomes_a_candidate():
    match = one("DEC1", "human")
    assert match.symbol == "DELEC1"
    assert match.candidates == (one("BHLHE40").ensembl_id,)


def test_an_id_outside_the_tables_is_kept():
    assert one("ENSG00000999999.3").ensembl_id == "ENSG00000999999"
    assert one("ENSRNOG00000012345.2") == one("ENSRNOG00000012345.9")
    assert one("ENSRNOG00000012345.2").reason == "outside"
    assert one("ENSRNOG00000012345.2").species == ""


@pytest.mark.parametrize("name", [None, float("nan"), pd.NA, "", "44256", "ENST00000269305"])
def test_a_name_that_is_no_gene_is_unknown(name):
    assert one(name, "human").reason == "unknown"


def test_names_may_come_in_any_container():
    expected = cq.identify_genes(["ACTB", "GAPDH"]).ids
    assert cq.identify_genes([b"ACTB", np.str_("GAPDH")]).ids == expected
    for container in (np.array, pd.Index, pd.Series, pd.Categorical, tuple, iter):
        assert cq.identify_genes(container(["ACTB", "GAPDH"])).ids == expected
    assert cq.identify_genes("ACTB").ids == expected[:1]


def test_an_empty_list_of_names_is_no_error():
    nothing = cq.identify_genes([])
    assert (len(nothing), nothing.counts, nothing.frame.shape) == (0, {}, (0, 7))
    assert "0 of 0" in repr(nothing)


def test_the_table_and_the_summary_agree():
    found = cq.identify_genes(["ENSG00000141510.18", "SEPT2", "1-Mar", "GFP"])
    assert found.frame["reason"].tolist() == ["version", "previous", "ambiguous", "unknown"]
    assert found.frame["candidates"][2] == "ENSG00000145416 MARCHF1, ENSG00000186205 MTARC1"
    assert found.counts == {"version": 1, "previous": 1, "ambiguous": 1, "unknown": 1}
    assert found.with_reason("unknown") == ("GFP",)
    summary = str(found)
    assert "2 of 4 names identified (50.0%); species: human" in summary
    assert "SEPT2 → SEPTIN2" in summary
    assert "1-Mar (MARCHF1 or MTARC1)" in summary


@pytest.mark.parametrize("bad", [{"species": "yeast"}, {"names": 7}])
def test_unknown_species_and_unreadable_names_are_refused(bad):
    with pytest.raises(GenesError) as caught:
        cq.identify_genes(**{"names": ["ACTB"], **bad})
    assert caught.value.remedy


@given(st.lists(names, max_size=30), st.randoms(), species)
def test_a_match_does_not_depend_on_the_other_names_or_their_order(given_names, random, of):
    shuffled = random.sample(given_names, len(given_names))
    together = dict(zip(shuffled, cq.identify_genes(shuffled, species=of), strict=True))
    assert [together[name] for name in given_names] == list(cq.identify_genes(given_names, species=of))


@given(st.lists(names, max_size=30))
def test_identifying_the_ids_again_changes_nothing(given_names):
    found = [gene for gene in cq.identify_genes(given_names).ids if gene]
    again = cq.identify_genes(found)
    assert list(again.ids) == found
    assert set(again.counts) <= {"exact", "retired", "outside"}


@given(st.lists(names, max_size=20), st.lists(st.sampled_from(NONSENSE), max_size=5))
def test_unknown_names_never_change_the_others(given_names, nonsense):
    alone, beside = cq.identify_genes(given_names), cq.identify_genes([*given_names, *nonsense])
    assert beside.matches[: len(given_names)] == alone.matches
    assert beside.species == alone.species


@given(names, st.none() | species)
def test_every_name_has_a_reason_that_agrees_with_its_gene(name, of):
    match = one(name, of)
    assert match.reason in REASONS
    assert bool(match.ensembl_id) == (match.reason not in ("ambiguous", "unknown"))
    if match.reason == "ambiguous":
        assert len(set(match.candidates)) > 1
    assert match.ensembl_id not in match.candidates or not match.ensembl_id


@given(ids, st.integers(1, 99))
def test_a_version_makes_no_difference(gene, version):
    assert one(f"{gene}.{version}").ensembl_id == one(gene).ensembl_id == gene


@given(st.sampled_from([(table, number) for table in TABLES for number in sorted(table.replaced)]))
def test_a_replaced_id_becomes_the_id_of_its_symbol(old):
    table, number = old
    match = one(table.id_of(number))
    assert match.ensembl_id == one(table.symbol_of[number], table.species).ensembl_id != table.id_of(number)
    assert match.reason == "replaced"


@given(symbols)
def test_a_symbol_in_any_case_matches_the_same_gene(pair):
    of, symbol = pair
    exact = one(symbol, of)
    assert (exact.reason, exact.symbol) == ("exact", symbol)
    for changed in (symbol.upper(), symbol.lower()):
        assert one(changed, of).ensembl_id == exact.ensembl_id


@given(symbols, st.integers(1, 30), st.sampled_from(".-"))
def test_a_numbered_symbol_is_the_symbol_or_another_real_name_or_ambiguous(pair, number, sign):
    of, symbol = pair
    match = one(f"{symbol}{sign}{number}", of)
    if match.reason == "suffix":
        assert match.ensembl_id == one(symbol, of).ensembl_id
    else:
        assert match.reason != "unknown" or one(symbol, of).reason == "ambiguous"


@given(symbols)
def test_a_symbol_is_found_after_r_has_changed_its_signs(pair):
    of, symbol = pair
    mangled = "".join(sign if sign.isalnum() else "." for sign in symbol)
    mangled = f"X{mangled}" if mangled[0].isdigit() else mangled
    assume(mangled != symbol)
    match, expected = one(mangled, of), one(symbol, of).ensembl_id
    # A mangled name may be another gene's name as it stands, or more than one gene's; it may not be lost.
    assert match.reason != "unknown"
    if match.reason == "mangled":
        assert match.ensembl_id == expected
    if match.reason == "ambiguous":
        assert expected in match.candidates


@given(symbols)
def test_a_symbol_is_found_after_seurat_has_changed_underscores(pair):
    of, symbol = pair
    match = one(symbol.replace("_", "-"), of)
    assert match.ensembl_id == one(symbol, of).ensembl_id or match.reason == "ambiguous"


@given(symbols, st.sampled_from([("human", "GRCh38_"), ("human", "hg19-"), ("mouse", "mm10___")]))
def test_a_genome_prefix_names_the_species(pair, genome):
    of, symbol = pair
    assume(genome[0] == of)
    assert one(genome[1] + symbol).ensembl_id == one(symbol, of).ensembl_id


@pytest.mark.parametrize("name", ["nan", "NaN", "NA", "None", "null", "<NA>", "n/a", ""])
def test_a_missing_name_is_no_alias(name):
    (match,) = cq.identify_genes([name]).frame.itertuples()
    assert match.symbol == ""
    assert match.reason == "unknown"


def test_numbered_copies_of_a_few_names_are_the_genes_themselves():
    names = ["MATR3", "MATR3-1", "JUN", "CD3D", "MS4A1", "NKG7", "TBCE", "TBCE.1"]
    assert [match.symbol for match in cq.identify_genes(names)] == ["MATR3", "MATR3", *names[2:7], "TBCE"]


TARGETS = ("JUN", "FOS", "MYC", "ATF3", "EGR1", "KLF2")


@pytest.mark.parametrize(
    "guides",
    [["TP53-1", "TP53-2", "TP53-3"], [f"{gene}-{number}" for gene in TARGETS for number in (1, 2)]],
    ids=["several of one gene", "many without their gene"],
)
def test_guides_that_are_numbered_by_gene_are_no_copies_of_the_gene(guides):
    genes = ["TP53", "CD3D", "MS4A1", "NKG7"]
    found = cq.identify_genes([*genes, *guides])
    assert [match.symbol for match in found] == [*genes, *[""] * len(guides)]
    assert set(found.with_reason("ambiguous")) == set(guides)
