"""The list of transcription factors is plausible, small, and its source is recorded."""

import json
from pathlib import Path

import pytest

import celloquy as cq
from celloquy.errors import GenesError
from celloquy.genes import tables

FOLDER = Path(tables.__file__).parent / "tables" / "regulators"


def ids(names: list[str]) -> set[str]:
    return set(cq.identify_genes(names).ids)


def test_well_known_factors_are_there_and_other_genes_are_not():
    human = cq.genes.transcription_factors("human")
    assert ids(["GATA1", "SPI1", "TP53", "SOX2", "STAT1", "ESR1", "HOXA9", "ZNF143"]) <= set(human)
    assert not ids(["ACTB", "INS", "CD3E", "EP300", "MAPK1", "TBP"]) & set(human) - ids(["TBP"])
    assert 1200 < len(human) < 1800
    assert list(human) == sorted(set(human))


def test_those_of_mice_are_the_orthologs():
    mouse = cq.genes.transcription_factors("mouse")
    assert ids(["Gata1", "Spi1", "Trp53", "Ascl1"]) <= set(mouse)
    assert all(gene.startswith("ENSMUSG") for gene in mouse)
    assert 1100 < len(mouse) < 2000
    with pytest.raises(GenesError, match="not in the tables"):
        cq.genes.transcription_factors("fly")


def test_the_source_is_recorded():
    record = json.loads((FOLDER / "SOURCES.json").read_text())
    (name,) = record["tables"]
    assert (FOLDER / name).stat().st_size == record["tables"][name]["bytes"] < 50_000
    (source,) = record["sources"]
    assert len(source["sha256"]) == 64
    assert "CC BY 4.0" in source["licence"]
