"""A point for each sample whose truth is known."""

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


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "c"]])
def test_the_probability_of_a_class_is_drawn_by_the_truth(classes):
    many = len(classes)
    table = pd.DataFrame({"truth": [*classes * 3, None]})
    for name in classes:
        table[f"probability_{name}"] = np.linspace(0, 1, 3 * many + 1)
    axes = cq.plots.samples(table).axes
    assert [axis.get_title() for axis in axes] == (classes if many > 2 else ["b"])
    for axis in axes:
        assert sum(len(one.get_offsets()) for one in axis.collections) == 3 * many


def test_a_number_is_drawn_over_the_truth():
    table = pd.DataFrame({"truth": [1.0, 2.0, np.nan], "value": [1.5, 2.5, 9.0], "error": 0.3})
    (axis,) = cq.plots.samples(table).axes
    assert axis.containers[0].lines[0].get_xdata().tolist() == [1.0, 2.0]


def test_a_table_without_truth_is_refused():
    for table in (pd.DataFrame({"label": ["a"]}), pd.DataFrame({"truth": [None], "label": ["a"]})):
        with pytest.raises(ArgumentError, match=r"no 'truth'|no sample with a truth"):
            cq.plots.samples(table)
