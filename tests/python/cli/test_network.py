"""``celloquy network`` writes the edges that the function finds."""

import networkx as nx
import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from network_examples import cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    cells(60).write_h5ad(folder / "cells.h5ad")
    (folder / "factors.txt").write_text("GATA1\nSPI1\n\n")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["network", *map(str, arguments)])


def test_the_table_is_that_of_the_function(folder):
    out = folder / "edges.csv"
    result = run(folder / "cells.h5ad", "-o", out, "--by", "type", "--method", "pearson,ridge", "--n-edges", 9, "-q")
    assert result.exit_code == 0, result.output
    expected = cq.infer_network(
        folder / "cells.h5ad", by="type", method=["pearson", "ridge"], n_edges=9, progress=False
    )
    found = pd.read_csv(out)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_categorical=False, rtol=1e-5)


def test_genes_come_from_a_list_or_a_file(folder):
    out = folder / "edges.graphml"
    for regulators in ("GATA1,SPI1", folder / "factors.txt"):
        given = ["--regulators", regulators, "--targets", "HBB,LYZ", "--method", "spearman", "--n-edges", 0]
        result = run(folder / "cells.h5ad", "-o", out, *given, "-q")
        assert result.exit_code == 0, result.output
        assert set(nx.read_graphml(out).edges) == {(a, b) for a in ("GATA1", "SPI1") for b in ("HBB", "LYZ")}


def test_what_can_not_be_written_or_found_is_said_before_the_work(folder):
    result = run(folder / "none.h5ad", "-o", folder / "edges.gml")
    assert result.exit_code == 1
    assert "can't be written to a file of this kind" in result.output
    result = run(folder / "cells.h5ad", "-o", folder / "edges.csv", "--regulators", "GATA9")
    assert result.exit_code == 1
    assert "None of the" in result.output
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00")
    result = run(folder / "cells.h5ad", "-o", folder / "edges.csv", "--targets", folder / "binary.txt")
    assert result.exit_code == 1
    assert "not a list of genes" in result.output
