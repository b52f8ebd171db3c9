"""In a vocabulary of both species one-to-one orthologs share a row, whichever species names it."""

import warnings
from dataclasses import astuple

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import celloquy as cq
from celloquy.data import CellColumns, CellSource
from celloquy.errors import GenesError
from celloquy.genes.tables import SPECIES, gene_table, ortholog_pairs
from strategies import dense_counts

# Every 23rd gene that has an ortholog, of any relation, and some that have none.
PAIRED = {
    species: sorted({gene_table(species).id_of(pair[place]) for pair in ortholog_pairs()})[::23]
    for place, species in enumerate(SPECIES)
}
ALONE = {
    table.species: [table.id_of(number) for number in sorted({*table.symbol_of} - table.replaced)[::997]]
    for table in map(gene_table, SPECIES)
}
genes_of = {species: st.lists(st.sampled_from(PAIRED[species] + ALONE[species]), max_size=40) for species in SPECIES}
NAMED = ["CD3D", "MS4A1", "NKG7", "TP53", "PTPRC", "SEPTIN2", "ZNF106", "AMY1A", "HLA-A"]
BOTH = cq.GeneVocabulary.both([*PAIRED["human"], *ALONE["human"]], [*PAIRED["mouse"], *ALONE["mouse"]], NAMED)
PAIRS = [row for row, (human, mouse) in enumerate(zip(BOTH.human_ids, BOTH.mouse_ids, strict=True)) if human and mouse]


def named_alike(row):
    """Whether both symbols of a row mean its genes; copies of a gene share a symbol."""
    ids = [BOTH.human_ids[row], BOTH.mouse_ids[row]]
    return ids == [
        *cq.identify_genes([BOTH.human_symbols[row]], species="human").ids,
        *cq.identify_genes([BOTH.mouse_symbols[row]], species="mouse").ids,
    ]


NAMED_PAIRS = [row for row in PAIRS if named_alike(row)]


def places(names, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return BOTH.align(names, **options).columns.tolist()


def test_most_pairs_are_named_by_their_symbols():
    assert len(NAMED_PAIRS) > 0.98 * len(PAIRS) > 700


@given(st.lists(st.sampled_from(PAIRS), min_size=1, unique=True))
def test_ids_of_either_species_find_the_same_rows(rows):
    assert places([BOTH.human_ids[row] for row in rows]) == rows
    assert places([BOTH.mouse_ids[row] for row in rows]) == rows


@given(st.lists(st.sampled_from(NAMED_PAIRS), min_size=5, unique=True))
def test_symbols_of_either_species_find_the_same_rows(rows):
    assert places([BOTH.human_symbols[row] for row in rows]) == rows
    assert places([BOTH.mouse_symbols[row] for row in rows]) == rows


def test_symbols_of_all_pairs_find_their_rows():
    assert places([BOTH.human_symbols[row] for row in NAMED_PAIRS]) == NAMED_PAIRS
    assert places([BOTH.mouse_symbols[row] for row in NAMED_PAIRS]) == NAMED_PAIRS
    # Mouse names in capitals, as some tools write them.
    capitals = [BOTH.mouse_symbols[row].upper() for row in NAMED_PAIRS]
    assert np.mean(np.array(places(capitals)) == NAMED_PAIRS) > 0.99


def test_former_symbols_and_mangled_names_find_the_row_of_the_gene():
    rows = [BOTH.index(gene) for gene in cq.GeneVocabulary.from_names(["SEPTIN2", "ZNF106", "TP53"]).ids]
    assert places(["SEPT2", "ZNF106", "ENSG00000141510.18"]) == rows
    assert places(["Sept2", "Zfp106", "Trp53"]) == rows
    assert places(["2-Sep", "Zfp106", "mm10___Trp53"]) == rows


@given(genes_of["human"], genes_of["mouse"], st.randoms())
def test_the_order_of_names_and_lists_changes_nothing(human, mouse, random):
    one = cq.GeneVocabulary.both(human, mouse)
    mixed = [*human, *mouse]
    random.shuffle(mixed)
    for other in (cq.GeneVocabulary.both(mouse, human), cq.GeneVocabulary.both(mixed, mixed)):
        assert astuple(other) == astuple(one)
        assert other.fingerprint == one.fingerprint


@given(genes_of["human"], genes_of["mouse"])
def test_every_gene_has_one_row_and_shares_it_with_its_only_ortholog_or_with_none(human, mouse):
    vocabulary = cq.GeneVocabulary.both(human, mouse)
    assert {*human, *mouse} <= {gene for _, gene, _, _ in vocabulary.genes()}
    for genes, to in ((human, "mouse"), (mouse, "human")):
        partners = {}
        for pair in cq.orthologs(genes, to=to, relation="all").pairs:
            partners.setdefault(pair.ensembl_id, set()).add((pair.ortholog_id, pair.relation))
        for gene in genes:
            row = vocabulary.index(gene)
            here = (vocabulary.mouse_ids if to == "mouse" else vocabulary.human_ids)[row]
            found = partners.get(gene, set())
            assert here == next((ortholog for ortholog, relation in found if relation == "one-to-one"), "")
            assert not (here and len(found) > 1)


@given(genes_of["human"])
def test_the_orthologs_of_named_genes_come_along(human):
    vocabulary = cq.GeneVocabulary.both(human)
    mapped = cq.orthologs(human, to="mouse").pairs
    assert all(vocabulary.index(pair.ortholog_id) == vocabulary.index(pair.ensembl_id) for pair in mapped)
    assert cq.GeneVocabulary.both(human, [gene for gene in vocabulary.mouse_ids if gene]) == vocabulary


def test_genes_with_several_orthologs_have_rows_of_their_own():
    vocabulary = cq.GeneVocabulary.both(["AMY1A"], ["Amy1"])
    assert len(vocabulary) == 2
    assert vocabulary.pairs == 0


def test_a_vocabulary_of_one_species_and_one_of_both_differ_though_their_ids_agree():
    both, human = cq.GeneVocabulary.both(["CD3D"]), cq.GeneVocabulary.from_names(["CD3D"])
    assert both.ids == human.ids
    assert both != human
    assert both.fingerprint != human.fingerprint


def test_a_union_does_not_split_a_pair():
    both = cq.GeneVocabulary.both(["CD3D"])
    assert both.union(cq.GeneVocabulary.from_names(["Cd3d"], species="mouse")) == both
    with pytest.raises(GenesError, match=r"more than once[\s\S]*both"):
        cq.GeneVocabulary.from_names(["CD3D"]).union(both)


def test_take_keeps_pairs():
    part = BOTH.take(PAIRS[:3])
    assert part.pairs == 3
    assert part.align(list(part.mouse_ids)).columns.tolist() == [0, 1, 2]


def test_the_repr_counts_pairs():
    assert repr(cq.GeneVocabulary.both(["CD3D", "HLA-A"])) == (
        "GeneVocabulary of 2 genes (human and mouse, 1 of them pairs of orthologs): CD3D, HLA-A"
    )


def cells(names, counts):
    adata = AnnData(sparse.csr_matrix(np.asarray(counts, dtype=np.float32)))
    adata.var_names = names
    return adata


@pytest.mark.parametrize("species", [None, "auto"])
def test_cells_of_either_species_read_alike_and_without_a_warning(species):
    rows, counts = NAMED_PAIRS[:30], np.random.default_rng(0).poisson(2, (7, 30))
    vocabulary = BOTH.take(NAMED_PAIRS[:40])
    read = []
    for symbols in (BOTH.human_symbols, BOTH.mouse_symbols):
        source = CellSource(cells([symbols[row] for row in rows], counts), CellColumns(species=species))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read.append(source.over(vocabulary).read_all())
    one, other = read
    assert dense_counts(one).equal(dense_counts(other))
    assert one.measured.equal(other.measured)
    assert one.values.sum() == counts.sum()


def test_cells_of_both_species_in_one_object_are_refused_with_the_share_of_each():
    rows = NAMED_PAIRS[:10]
    names = [f"GRCh38_{BOTH.human_symbols[row]}" for row in rows]
    names += [f"mm10___{BOTH.mouse_symbols[row]}" for row in rows]
    barnyard = cells(names, np.repeat([[3] * 10 + [0] * 10, [0] * 10 + [1] * 10], 2, axis=0))
    with pytest.raises(GenesError, match="human and mouse together") as caught:
        CellSource(barnyard).over(BOTH)
    assert caught.value.found == "75.0% in human genes and 25.0% in mouse genes of the counts"
    with pytest.raises(GenesError, match=r"50\.0% in mouse genes of the names"):
        BOTH.align(names)


def test_the_columns_of_a_mixture_are_told_apart_as_the_message_says():
    rows = NAMED_PAIRS[:10]
    names = [f"hg19_{BOTH.human_symbols[row]}" for row in rows] + [f"mm10_{BOTH.mouse_symbols[row]}" for row in rows]
    species = cq.identify_genes(names).frame["species"]
    assert species.tolist() == ["human"] * 10 + ["mouse"] * 10
    assert places(np.array(names)[species == "mouse"]) == rows


def test_a_model_of_both_species_is_saved_whole(tmp_path):
    model = cq.CellModel(cq.CellModelConfig.preset("mini"), BOTH)
    model.save(tmp_path / "model")
    loaded = cq.Model.from_pretrained(tmp_path / "model")
    assert astuple(loaded.vocabulary) == astuple(BOTH)
    assert loaded.fingerprint == model.fingerprint
    assert loaded.describe()["species"] == "human, mouse"
    assert loaded.describe()["orthologs"] == f"{len(PAIRS):,} of the genes, shared by human and mouse"


def test_the_pancreas_of_both_species_reads_without_loss(shared):
    import anndata

    files = [shared / f"data/cross_species/pancreas_baron_{species}.h5ad" for species in SPECIES]
    human, mouse = map(anndata.read_h5ad, files)
    vocabulary = cq.GeneVocabulary.both(human.var_names, mouse.var_names)
    assert vocabulary.pairs > 16_000
    for adata in (human, mouse):
        report = vocabulary.align(adata.var_names, counts_per_gene=np.asarray(adata.X.sum(axis=0)).ravel()).report
        assert report.share > 0.999
