"""What cells were read with is drawn: by label as a map, by distance as lines."""

import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.errors import ArgumentError

LABELS = pd.DataFrame(
    {"group": ["B", "B", "T", "T"], "kind": "label", "read": list("BTBT"), "distance": np.nan, "ratio": [2, 0.5, 1, 1]}
)
DISTANCES = pd.DataFrame(
    {
        "group": ["B", "B", "B", "T"],
        "kind": "distance",
        "read": ["0 to 50", "from 50", "no position", "0 to 50"],
        "distance": [50, np.inf, np.nan, 50],
        "ratio": [3.0, 0.5, 1.0, 2.0],
    }
)


def test_labels_are_a_map_and_distances_lines():
    figure = cq.plots.context(pd.concat([LABELS, DISTANCES]))
    labels, distances = figure.axes[:2]
    np.testing.assert_allclose(labels.images[0].get_array(), [[1, -1], [0, 0]])
    assert labels.images[0].get_clim() == (-1, 1)
    first, second, _ = distances.lines
    np.testing.assert_allclose(first.get_ydata(), [3, 0.5])
    np.testing.assert_allclose(second.get_ydata(), [2, np.nan])
    assert [one.get_text() for one in distances.get_xticklabels()] == ["0 to 50", "from 50"]


@pytest.mark.parametrize("table", [LABELS, DISTANCES])
def test_what_is_not_in_the_table_has_no_panel(table):
    assert len([axis for axis in cq.plots.context(table).axes if axis.get_xlabel()]) == 1


def test_another_table_is_refused():
    with pytest.raises(ArgumentError):
        cq.plots.context(pd.DataFrame({"a": [1]}))
