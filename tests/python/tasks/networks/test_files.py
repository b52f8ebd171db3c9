"""Networks are written as other programs read them."""

import networkx as nx
import pandas as pd
import pytest

import celloquy as cq
from celloquy.errors import ArgumentError, DiskError
from network_examples import cells


def edges(**options) -> pd.DataFrame:
    return cq.infer_network(cells(60), method="pearson", progress=False, n_edges=20, **options)


def test_graphml_holds_edges_with_all_their_columns(tmp_path):
    table = edges(by="type")
    table.loc[0, ["regulator", "target"]] = ["A<&B", "é"]
    cq.write_network(table, tmp_path / "network.graphml")
    graph = nx.read_graphml(tmp_path / "network.graphml", force_multigraph=True)
    assert graph.is_directed()
    found = pd.DataFrame([(a, b, *data.values()) for a, b, data in graph.edges(data=True)], columns=table.columns)
    order = ["group", "rank"]
    found, expected = (one.astype({"group": str}).sort_values(order, ignore_index=True) for one in (found, table))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


def test_sif_says_what_an_edge_does(tmp_path):
    table = edges()[:3].assign(sign=[1, -1, 0])
    cq.write_network(table, tmp_path / "network.sif")
    lines = (tmp_path / "network.sif").read_text().splitlines()
    assert [line.split("\t") for line in lines] == [
        [one, kind, other]
        for one, kind, other in zip(
            table["regulator"], ["activates", "represses", "regulates"], table["target"], strict=True
        )
    ]


def test_a_csv_file_is_the_table(tmp_path):
    table = edges()
    cq.write_network(table, tmp_path / "network.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "network.csv"), table, check_dtype=False, rtol=1e-6)


def test_what_can_not_be_written_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="no edges of a network"):
        cq.write_network(edges().drop(columns="sign"), tmp_path / "network.sif")
    with pytest.raises(ArgumentError, match="no edges of a network"):
        cq.write_network([1], tmp_path / "network.sif")
    with pytest.raises(ArgumentError, match="file of this kind"):
        cq.write_network(edges(), tmp_path / "network.gml")
    with pytest.raises(DiskError, match="can't be written"):
        cq.write_network(edges(), tmp_path / "nowhere" / "network.sif")
