"""The species is detected from the names of genes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import celloquy as cq
from celloquy.genes.species import detect_species

HUMAN = ["ACTB", "HLA-A", "ZNF106", "LINC00115", "HLA-DRA", "ZNF10", "ENSG00000141510"]
MOUSE = ["Actb", "H2-Aa", "Zfp106", "Gm42418", "Lyz2", "Gapdh", "ENSMUSG00000059552"]


@pytest.mark.parametrize(
    ("names", "species"),
    [
        (HUMAN, "human"),
        (MOUSE, "mouse"),
        ([name.upper() for name in MOUSE[:-1]], "mouse"),
        (["ENSG00000141510.3"], "human"),
        (["ENSMUSG00000059552"], "mouse"),
        (HUMAN + MOUSE, "mixed"),
        (["GRCh38_ACTB", "mm10_Actb"], "mixed"),
        (["hg19_ACTB", "hg19_GAPDH"], "human"),
        (["ACTB", "GAPDH", "APC"], "human"),
        (["SEPT2", "QARS", "TMEM8B.1", "ZNF106.1", "C9orf9"], "human"),
        (["SEPT2", "LEPRE1", "GRINL1A", "SLC24A6", "2310009E13RIK", "GBP10.1"], "mouse"),
        ([], "unknown"),
        (["GFP", "ERCC-00002"], "unknown"),
        (["ENSRNOG00000012345"], "unknown"),
    ],
)
def test_the_species_is_detected_from_the_names(names, species):
    assert detect_species(names).species == species


def test_a_few_names_in_capitals_leave_the_species_uncertain():
    assert not detect_species(["ACTB", "GAPDH"]).certain
    assert detect_species(HUMAN).certain
    assert detect_species(MOUSE).certain


@given(st.permutations(HUMAN + MOUSE[:3]))
def test_the_detected_species_does_not_depend_on_the_order_of_names(names):
    assert detect_species(names) == detect_species(HUMAN + MOUSE[:3])


def test_each_name_of_a_mixture_goes_to_the_species_that_spells_it_so():
    found = cq.identify_genes(HUMAN + MOUSE)
    assert found.species == "mixed"
    assert [match.species for match in found] == ["human"] * len(HUMAN) + [
        "mouse" if name != "Gm42418" else "" for name in MOUSE
    ]


def test_the_species_of_real_data_is_detected(shared):
    import anndata

    # Entrez ids, which name the genes of one file, are no names that are matched.
    files = sorted(one for one in (shared / "data").glob("*/*.h5ad") if one.stem != "lincs_signatures_100")
    assert files
    for file in files:
        adata = anndata.read_h5ad(file, backed="r")
        found = cq.identify_genes(adata.var_names)
        assert found.species == adata.uns["species"], file.name
        # Of one the source stripped leading letters from many names (OL3A1 for COL3A1); profiles of many studies hold
        # names that left the annotation long ago.
        lowest = {"lung_delorey": 0.84, "profiles_human": 0.85}.get(file.stem, 0.96)
        assert found.identified > lowest * len(found), file.name
        adata.file.close()


@pytest.mark.parametrize(
    "names",
    [
        ["actb1", "gapdh", "cd74a", "ptprc", "tp53", "sox10", "mpx", "fosb", "jun"],
        ["ENSDARG00000037746", "ENSRNOG00000018630.5"],
        ["Ensdarg00000037746", "ensrnog00000018630.5"],
        ["FBgn0000042", "CG5502"],
        ["WBGene00006831"],
        ["YAL001C", "YBR020W-A"],
    ],
)
def test_genes_of_other_species_are_of_neither_and_refused(names):
    assert detect_species(names).species == "unknown"
    vocabulary = cq.GeneVocabulary.from_names(HUMAN)
    with pytest.raises(cq.errors.GenesError, match=r"neither human nor mouse[\s\S]*spelled as in"):
        vocabulary.align(names)


def test_another_species_is_only_proposed_where_orthologs_help():
    vocabulary = cq.GeneVocabulary.from_names(["CD3D", "MS4A1", "NKG7"])
    with pytest.raises(cq.errors.GenesError, match=r'species="auto"'):
        vocabulary.align(["Cd3d", "Ms4a1", "Nkg7", "Zfp106"])
    with pytest.raises(cq.errors.GenesError, match="of which 0 have a one-to-one ortholog in it"):
        vocabulary.align(["Zfp106", "Lyz2", "H2-Aa", "Gm42418"])
