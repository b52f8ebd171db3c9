"""The tables that ship with the package are small, consistent and quick to load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from celloquy.genes import tables
from celloquy.genes.tables import SPECIES, gene_table, ortholog_pairs

FOLDER = Path(tables.__file__).parent / "tables"


def test_the_tables_are_small_and_their_sources_are_recorded():
    record = json.loads((FOLDER / "SOURCES.json").read_text())
    files = {file.name: file.stat().st_size for file in FOLDER.glob("*.parquet")}
    assert files == {name: entry["bytes"] for name, entry in record["tables"].items()}
    assert max(files.values()) < 1_000_000
    assert sum(files.values()) < 6_000_000
    for source in record["sources"]:
        assert source["package"]
        assert source["version"]
        assert source["licence"]
        assert len(source["sha256"]) == 64


@pytest.mark.parametrize("species", SPECIES)
def test_former_symbols_and_aliases_mean_known_genes_and_no_current_symbol(species):
    table = gene_table(species)
    names = table._names
    for name, gene, listed in zip(names.rows, names.genes, names.candidates, strict=True):
        candidates = set(map(int, listed.split()))
        assert (gene or min(candidates)) in table.symbol_of
        assert candidates <= table.symbol_of.keys()
        assert len(candidates) != 1
        assert gene or len(candidates) > 1
        assert not table.is_symbol(name)


@pytest.mark.parametrize("species", SPECIES)
def test_a_current_symbol_is_not_a_retired_gene(species):
    table = gene_table(species)
    assert (table.retired | table.replaced).isdisjoint(table._symbols.values())
    assert {table.symbol_of[number] for number in table.replaced} <= table._symbols.keys()
    assert len(table.symbol_of) > 80_000


def test_orthologs_are_current_genes_and_paired_once():
    human, mouse = gene_table("human"), gene_table("mouse")
    pairs = [(h, m) for h, m, _ in ortholog_pairs()]
    assert len(set(pairs)) == len(pairs) > 25_000
    assert {h for h, _ in pairs} <= human.symbol_of.keys() - human.retired - human.replaced
    assert {m for _, m in pairs} <= mouse.symbol_of.keys() - mouse.retired - mouse.replaced


def test_genes_load_without_torch_or_scanpy():
    code = """
import sys
import celloquy as cq
cq.GeneVocabulary.from_names(["ACTB", "1-Mar"]).align(["ACTB"])
print(sorted({"torch", "scanpy", "anndata", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
