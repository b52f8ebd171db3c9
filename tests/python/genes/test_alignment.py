"""The columns of a count matrix find their genes in a vocabulary."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.errors import ArgumentError, GeneCoverageWarning, GenesError, MixedSpeciesWarning

VOCABULARY = cq.GeneVocabulary.from_names(
    ["CD3D", "MS4A1", "NKG7", "MATR3", "SEPTIN2", "ACTB", "HLA-A", "ENSG00000999999"]
)
MOUSE = cq.GeneVocabulary.from_names(["Cd3d", "Ms4a1", "Nkg7", "Zfp106", "Gm2000"], species="mouse")
# Spellings of genes of the vocabulary; a matrix has at least one of them.
SPELLINGS = [
    "CD3D",
    "ENSG00000167286.10",
    "MS4A1",
    "ms4a1",
    "NKG7",
    "MATR3.1",
    "SEPT2",
    "2-Sep",
    "HLA.A",
    "ENSG00000999999",
]
NONSENSE = ["GFP", "ERCC-00002", "§", ""]
matrices = st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=12)


def columns(names, **options):
    return VOCABULARY.align(names, species="human", **options).columns.tolist()


def test_every_spelling_finds_its_gene():
    assert columns(SPELLINGS) == [0, 0, 1, 1, 2, 3, 4, 4, 6, 7]


@given(matrices, st.randoms())
def test_permuted_names_give_the_permuted_map(names, random):
    order = random.sample(range(len(names)), len(names))
    assert columns([names[i] for i in order]) == [columns(names)[i] for i in order]


@given(matrices, st.lists(st.sampled_from(NONSENSE), max_size=4))
def test_unknown_names_are_left_out_and_change_nothing(names, nonsense):
    # Counts keep the coverage where it was.
    counts = [1] * len(names) + [0] * len(nonsense)
    aligned = VOCABULARY.align(names + nonsense, counts_per_gene=counts)
    assert aligned.columns.tolist() == columns(names) + [-1] * len(nonsense)
    assert len(aligned.report.unknown) == len(nonsense)
    assert aligned.report.share == 1


@given(st.permutations(range(len(VOCABULARY))))
def test_the_vocabularys_own_names_are_found_whatever_their_order(order):
    assert columns([VOCABULARY.ids[i] for i in order]) == list(order)
    known = [i for i in order if VOCABULARY.symbols[i]]
    assert columns([VOCABULARY.symbols[i] for i in known]) == known


def test_columns_have_the_type_that_indexes_tensors():
    assert VOCABULARY.align(["CD3D"]).columns.dtype == np.int64


def test_columns_of_one_gene_are_reported_as_summed():
    report = VOCABULARY.align(["MATR3", "CD3D", "MATR3.1", "ENSG00000167286"]).report
    duplicates = [(one.symbol, one.names) for one in report.duplicates]
    assert duplicates == [("CD3D", ("CD3D", "ENSG00000167286")), ("MATR3", ("MATR3", "MATR3.1"))]
    assert (report.matched, report.genes) == (4, 2)
    assert "summed: CD3D + ENSG00000167286 → CD3D" in str(report)


def test_an_alias_yields_to_a_column_of_the_gene_itself():
    vocabulary = cq.GeneVocabulary.from_names(["TP53", "ACTB"])
    assert vocabulary.align(["p53", "ACTB"]).columns.tolist() == [0, 1]
    aligned = vocabulary.align(["p53", "ACTB", "TP53"])
    assert aligned.columns.tolist() == [-1, 1, 0]
    assert aligned.report.yielded == ("p53",)


def test_the_second_id_of_a_symbol_matches_a_vocabulary_with_the_first():
    aligned = VOCABULARY.align(["ENSG00000280987"])
    assert aligned.columns.tolist() == [3]
    assert aligned.report.rules == {"same symbol": 1}


def test_the_first_id_of_a_symbol_matches_a_vocabulary_with_the_second():
    assert cq.GeneVocabulary.from_ids(["ENSG00000280987"]).align(["MATR3"]).columns.tolist() == [0]


@pytest.mark.parametrize("name", ["ENSG00000161570", "ENSG00000161570.4", "ENSG00000271503", "CCL5"])
@pytest.mark.parametrize("has", ["ENSG00000161570", "ENSG00000271503"])
def test_old_and_new_ids_of_a_gene_match_whichever_the_vocabulary_has(name, has):
    assert cq.GeneVocabulary.from_ids([has]).align([name]).columns.tolist() == [0]


def test_custom_ids_are_matched_as_they_are():
    vocabulary = cq.GeneVocabulary.from_ids(["ENSG00000167286", "GFP", "my gene"])
    aligned = vocabulary.align(["my gene", "CD3D", "GFP"])
    assert aligned.columns.tolist() == [2, 0, 1]
    assert aligned.report.rules == {"own id": 2, "exact": 1}


def test_symbols_that_only_the_vocabulary_knows_are_matched():
    nothing = ("", "")
    vocabulary = cq.GeneVocabulary(("ENSG00000999999", "ENSG00000141510"), ("NEW1", "TP53"), nothing, nothing, nothing)
    assert vocabulary.align(["TP53", "NEW1"], species="human").columns.tolist() == [1, 0]


def test_the_report_accounts_for_every_column():
    names = ["CD3D", "SEPT2", "1-Mar", "GFP", "GAPDH", "MS4A1", "NKG7"]
    report = VOCABULARY.align(names).report
    assert report.rules == {"exact": 3, "previous": 1}
    assert set(report.ambiguous) == {"1-Mar"}
    assert (report.unknown, report.elsewhere) == (("GFP",), ("GAPDH",))
    assert report.matched + len(report.ambiguous) + len(report.unknown) + len(report.elsewhere) == len(names)
    assert report.share == pytest.approx(4 / 7)
    assert json.loads(json.dumps(report.to_dict()))["species"] == "human"
    for text in ("4 of 7 columns", "57.1% of the names", "1-Mar (MARCHF1 or MTARC1)", "GFP", "GAPDH"):
        assert text in str(report)


def test_coverage_is_weighed_by_counts():
    report = VOCABULARY.align(["CD3D", "GFP"], counts_per_gene=np.array([9, 1], dtype=np.uint16)).report
    assert (report.share, report.weighed_by) == (0.9, "counts")
    assert VOCABULARY.align(["CD3D"], counts_per_gene=[0]).report.weighed_by == "names"


def test_coverage_below_one_half_is_a_warning():
    with pytest.warns(GeneCoverageWarning, match=r"Only 40.0% of the counts"):
        VOCABULARY.align(["CD3D", "GFP"], counts_per_gene=[4, 6])


def test_coverage_below_five_percent_is_an_error_that_shows_both_sides():
    with pytest.raises(GenesError) as caught:
        VOCABULARY.align(["CD3D", "gene_1", "gene_2"], counts_per_gene=[4, 46, 50])
    assert "4.0% of the counts" in caught.value.problem
    assert "gene_1" in caught.value.found
    assert "ENSG00000167286 (CD3D)" in caught.value.expected
    assert "cq.identify_genes" in caught.value.remedy


@pytest.mark.parametrize(
    ("vocabulary", "names", "to"),
    [
        (VOCABULARY, ["Cd3d", "Ms4a1", "Nkg7"], "human"),
        (VOCABULARY, ["ENSMUSG00000032094"], "human"),
        (MOUSE, ["CD3D", "HLA-A", "ZNF106", "LINC00115"], "mouse"),
        (MOUSE, ["ENSG00000167286"], "mouse"),
    ],
)
def test_names_of_another_species_are_an_error_that_names_orthologs(vocabulary, names, to):
    with pytest.raises(GenesError) as caught:
        vocabulary.align(names)
    assert f'cq.orthologs(adata.var_names, to="{to}")' in caught.value.remedy


def test_a_few_names_in_capitals_are_read_as_the_vocabularys_species():
    assert MOUSE.align(["CD3D", "NKG7"]).columns.tolist() == [0, 2]
    assert VOCABULARY.align(["CD3D", "NKG7"]).columns.tolist() == [0, 2]


def test_a_vocabulary_of_both_species_takes_a_mixture():
    both = VOCABULARY.union(MOUSE)
    with pytest.warns(MixedSpeciesWarning, match=r"50\.0% human and 50\.0% mouse by their names\.\nBoth are read"):
        aligned = both.align(["CD3D", "Cd3d", "HLA-A", "Ms4a1", "Zfp106", "MS4A1"])
    assert aligned.columns.tolist() == [0, 8, 6, 9, 11, 1]
    assert aligned.report.species == "mixed"


@pytest.mark.parametrize("prefixes", [("GRCh38_", "mm10___"), ("hg19_", "mm10_"), ("", "")])
def test_cells_of_two_species_are_told_by_the_share_of_each(prefixes):
    human, mouse = (
        (f"{prefixes[0]}{name}" for name in ("CD3D", "MS4A1")),
        (f"{prefixes[1]}{name}" for name in ("Cd3d", "Ms4a1")),
    )
    with pytest.warns(
        MixedSpeciesWarning, match=r"75\.0% human and 25\.0% mouse by their counts\.\nOnly those of human"
    ):
        aligned = VOCABULARY.align([*human, *mouse], counts_per_gene=[50, 25, 20, 5])
    assert aligned.columns.tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize("counts", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_counts_that_do_not_fit_the_names_are_refused(counts):
    with pytest.raises(ArgumentError, match="counts_per_gene"):
        VOCABULARY.align(["CD3D", "NKG7"], counts_per_gene=counts)


def test_no_names_and_no_genes_are_errors():
    with pytest.raises(GenesError, match="no gene names"):
        VOCABULARY.align([])
    with pytest.raises(GenesError, match="empty"):
        cq.GeneVocabulary.from_ids([]).align(["CD3D"])


def test_real_data_of_two_gene_releases_share_most_genes(shared):
    import anndata

    first = anndata.read_h5ad(shared / "data/scrna/pbmc3k.h5ad")
    second = anndata.read_h5ad(shared / "data/scrna/mix_celseq2.h5ad")
    vocabulary = cq.GeneVocabulary.from_names(first.var_names)
    own = vocabulary.align(first.var_names, counts_per_gene=np.asarray(first.X.sum(axis=0)).ravel())
    assert own.report.genes == len(vocabulary)
    assert own.report.share > 0.999
    other = vocabulary.align(second.var_names, counts_per_gene=np.asarray(second.X.sum(axis=0)).ravel())
    assert other.report.genes > 0.9 * len(vocabulary)
