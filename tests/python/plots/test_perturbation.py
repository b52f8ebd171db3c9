"""A point for each changed gene and group, a bar for each driver."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.errors import ArgumentError


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_every_gene_with_a_z_has_a_point_filled_where_it_stands_out():
    table = pd.DataFrame({
        "group": pd.Categorical(["a", "a", "b", "b"]), "gene": ["X", "Y", "X", "Y"],
        "shift_euclidean": [1.0, 2.0, 3.0, 0.0], "z": [0.5, 4.0, -1.0, np.nan], "q": [0.4, 0.01, 0.8, 1.0],
    })  # fmt: skip
    axis = cq.plots.perturbed(table).axes[0]
    points = np.ma.concatenate([one.get_offsets() for one in axis.collections])
    assert np.isfinite(points.data[:, 0]).sum() == 3
    assert [text.get_text() for text in axis.get_yticklabels()] == ["X", "Y"]
    filled = [one for one in axis.collections if len(one.get_facecolors())]
    assert [place for one in filled for place in one.get_offsets()[:, 0].tolist()] == [4.0]
    cq.plots.perturbed(table.drop(columns="group").head(2))


def test_the_best_drivers_are_drawn_first_without_their_pairs():
    table = pd.DataFrame({
        "gene": ["A", "B", "C", "A+B"], "direction": ["up", "down", "up", "up+down"], "cosine": [0.9, 0.5, 0.1, 0.95],
        "t": [8.0, -5.0, 1.0, np.nan], "q": [0.01, 0.2, 1.0, 0.01],
    })  # fmt: skip
    left, right = cq.plots.drivers(table, n=2).axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["A (up)", "B (down)"]
    assert [bar.get_width() for bar in left.patches] == [0.9, 0.5]
    assert [bar.get_width() for bar in right.patches] == [8.0, -5.0]


@pytest.mark.parametrize("draw", [cq.plots.perturbed, cq.plots.drivers])
def test_another_table_is_refused(draw):
    with pytest.raises(ArgumentError):
        draw(pd.DataFrame({"a": [1]}))
