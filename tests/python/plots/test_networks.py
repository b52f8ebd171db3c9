"""The targets of a regulator are drawn around it, the surest first."""

import matplotlib.colors
import pandas as pd
import pytest

from celloquy import plots
from celloquy.errors import ArgumentError

EDGES = pd.DataFrame({
    "regulator": ["A", "A", "B", "A", "A"],
    "target": ["x", "y", "x", "x", "z"],
    "score": [0.9, 0.3, 0.8, 0.1, 0.6],
    "sign": [1, -1, 1, 0, 1],
    "group": pd.Categorical(["T", "T", "T", "B", "B"]),
    "rank": [1, 3, 2, 2, 1],
})  # fmt: skip


def names(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_every_group_has_a_star_of_its_surest_targets():
    figure = plots.regulator_targets(EDGES, "A")
    assert [axis.get_title() for axis in figure.axes] == ["B", "T"]
    assert names(figure.axes[0]) == ["z", "x", "A"]
    assert names(figure.axes[1]) == ["x", "y", "A"]
    first, second = figure.axes[1].lines
    assert first.get_linewidth() > second.get_linewidth()
    red, blue = (matplotlib.colors.to_rgb(line.get_color()) for line in (first, second))
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_few_targets_are_drawn_without_groups_too():
    figure = plots.regulator_targets(EDGES[:3].drop(columns="group"), "A", n=1)
    assert names(figure.axes[0]) == ["x", "A"]


def test_what_can_not_be_drawn_is_refused():
    with pytest.raises(ArgumentError, match=r"regulator 'C' has no edges[\s\S]*A, B"):
        plots.regulator_targets(EDGES, "C")
    with pytest.raises(ArgumentError, match="'score' in the edges"):
        plots.regulator_targets(EDGES.drop(columns="score"), "A")
    with pytest.raises(ArgumentError, match="`n` can't be used"):
        plots.regulator_targets(EDGES, "A", n=0)
