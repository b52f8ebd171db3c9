"""Tables of results keep their names, whatever these are."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.data.tables import Table, text_array, unwritable
from celloquy.errors import ArgumentError


def with_table(key: str, table: Table) -> ad.AnnData:
    adata = ad.AnnData(obs=pd.DataFrame(index=["c1", "c2"]))
    adata.obsm[key], adata.uns["celloquy"] = table.values, {key: table.names()}
    return adata


def test_numbers_come_with_the_names_of_their_columns():
    found = cq.get(with_table("p", Table(np.array([[0.5, 0.5], [0.0, 1.0]]), ["NK/T", "NK/T"])), "p")
    assert list(found) == ["NK/T", "NK/T"]
    assert list(found.index) == ["c1", "c2"]
    assert found.to_numpy().tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_texts_are_stored_once_and_read_as_texts():
    table = Table.of_texts({"cell_1": ["a", "b"], "label_1": ["T", "T"]})
    assert sorted(table.texts) == ["T", "a", "b"]
    found = cq.get(with_table("e", table), "e")
    assert found.to_dict("list") == {"cell_1": ["a", "b"], "label_1": ["T", "T"]}


def test_a_layer_is_a_table_of_all_genes():
    adata = ad.AnnData(np.eye(2), var=pd.DataFrame(index=["A", "B"]), layers={"d": np.ones((2, 2))})
    assert cq.get(adata, "d").to_dict("list") == {"A": [1, 1], "B": [1, 1]}


def test_a_table_stays_whole_when_cells_are_taken():
    adata = with_table("p", Table(np.array([[1.0], [2.0]]), ["x"]))
    assert cq.get(adata[["c2"]], "p")["x"].tolist() == [2.0]
    assert cq.get(adata[[]], "p").shape == (0, 1)


def test_a_result_that_is_not_there_is_named_with_those_that_are():
    adata = with_table("p", Table(np.zeros((2, 1)), ["x"]))
    with pytest.raises(ArgumentError, match=r"no table 'q'(.|\n)*Found: p"):
        cq.get(adata, "q")


def test_names_that_were_lost_on_the_way_are_said():
    adata = with_table("p", Table(np.zeros((2, 1)), ["x"]))
    with pytest.raises(ArgumentError, match="uns_merge"):
        cq.get(ad.concat([adata, adata], index_unique="-"), "p")
    assert list(cq.get(ad.concat([adata, adata], index_unique="-", uns_merge="first"), "p")) == ["x"]
    adata.obsm["p"] = np.zeros((2, 3))
    with pytest.raises(ArgumentError, match="without the names"):
        cq.get(adata, "p")


def test_one_long_text_takes_no_room_in_the_others():
    assert text_array(["a", "b" * 100_000]).nbytes < 100
    assert text_array("one").tolist() == ["one"]


def test_only_null_characters_and_broken_unicode_can_not_be_written():
    assert unwritable(["", "/", "_index", "é\n", "nan"]) == []
    assert unwritable(["a\0", "\udce9"]) == ["'a\\x00'", "'\\udce9'"]
