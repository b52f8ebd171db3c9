"""The genes behind labels are drawn, the largest shares of each group."""

import pandas as pd
import pytest

import celloquy as cq
from celloquy.errors import ArgumentError


def test_each_group_has_a_panel_with_its_largest_shares():
    table = pd.DataFrame(
        {
            "group": ["B"] * 3 + ["T"] * 3,
            "gene": list("abcabc"),
            "attribution": [3.0, 1.0, -2.0, 0.5, 2.0, -0.1],
            "expression": [1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
        }
    )
    figure = cq.plots.explained(table, n_genes=2)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["B", "T"]
    assert [one.get_text() for one in first.get_yticklabels()] == ["c", "a"]
    assert [one.get_width() for one in second.patches] == [0.5, 2.0]
    blue, red = (one.get_facecolor() for one in first.patches)
    assert blue != red


def test_another_table_is_refused():
    with pytest.raises(ArgumentError):
        cq.plots.explained(pd.DataFrame({"a": [1]}))
