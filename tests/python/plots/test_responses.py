"""What was hidden against what was told, changes against how sure they are, and changes along doses."""

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import celloquy as cq
from celloquy.errors import ArgumentError

GENES = ["X", "Y", "Z"]


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def conditions(names, values, doses=None, **layers) -> ad.AnnData:
    obs = pd.DataFrame({"perturbation": pd.Categorical(names), "context": "", "dose": 1.0}, index=names)
    if doses is not None:
        obs["dose"] = doses
        obs.index = [f"{name} {dose:g}" for name, dose in zip(names, doses, strict=True)]
    adata = ad.AnnData(np.asarray(values, dtype=np.float32), obs=obs, var=pd.DataFrame(index=GENES))
    adata.layers.update({name: np.asarray(layer, dtype=np.float32) for name, layer in layers.items()})
    return adata


def held_out() -> ad.AnnData:
    adata = conditions(["A", "B", "C"], [[1, 0, 0], [0, 2, 0], [0, 0, 3]], predicted=[[1, 0, 1], [0, 1, 0], [1, 0, 2]])
    adata.obs["situation"] = pd.Categorical(["new perturbation", "new perturbation", "new context"])
    adata.obs["correlation"] = [0.5, 1.0, 0.87]
    return adata


def test_hidden_conditions_are_drawn_the_most_changed_first_with_equal_axes():
    first, second = cq.plots.response_changes(held_out(), n=2).axes
    assert [axis.get_title().split("\n")[0] for axis in (first, second)] == ["C", "B"]
    assert first.lines[1].get_xydata().tolist() == [[1, 0], [0, 0], [2, 3]]
    assert first.lines[0].get_xydata().tolist() == [[0, 0], [3, 3]]
    (named,) = cq.plots.response_changes(held_out(), conditions="A").axes
    assert named.get_title().startswith("A\nnew perturbation, r = 0.50")


def test_a_volcano_colours_and_names_what_is_found():
    measured = conditions(["A"], [[5, 5, 5]], change=[[2, -1, 0.1]], error=[[0.1, 0.1, 0.1]])
    (axis,) = cq.plots.response_volcano(measured, "A").axes
    grey, up, down = (line.get_xydata()[:, 0].tolist() for line in axis.lines)
    np.testing.assert_allclose(np.concatenate([grey, up, down]), [0.1, 2, -1], rtol=1e-6)
    assert [text.get_text() for text in axis.texts] == ["X", "Y"]
    # 20 standard errors have a p that a single number can hold only as a logarithm.
    assert axis.lines[1].get_ydata()[0] == pytest.approx(88.26, abs=0.01)
    predicted = conditions(["A"], [[5, 5, 5]], change=[[2, -1, 0.1]], lower=[[1, -3, 0]], upper=[[3, 1, 0.2]])
    (axis,) = cq.plots.response_volcano(predicted, "A", n=1).axes
    assert [text.get_text() for text in axis.texts] == ["X"]
    np.testing.assert_allclose(axis.lines[1].get_ydata(), [2])


def test_the_dose_curve_shows_predicted_intervals_beside_measured_errors():
    change = [[0, 1, 0], [0, 2, 0], [0, 3, 0]]
    missing = [[np.nan] * 3, [0, 1, 0], [np.nan] * 3]
    told = conditions(["A"] * 3, change, doses=[1, 3, 10], change=change, lower=missing, upper=missing)
    seen = conditions(["A"] * 2, change[::2], doses=[1, 10], change=change[::2], error=np.ones((2, 3)))
    (axis,) = cq.plots.dose_curve(told, ["Y", "Z"], "A", measured=seen).axes
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["Y", "Z"]
    np.testing.assert_allclose(axis.lines[1].get_xydata(), [[1, 1], [3, 2], [10, 3]])
    with pytest.raises(ArgumentError, match="not predicted"):
        cq.plots.dose_curve(told, "Y", "B")
    with pytest.raises(ArgumentError, match="genes are not there"):
        cq.plots.dose_curve(told, "W", "A")


def test_reliability_shows_each_situation_with_its_mean():
    left, right = cq.plots.response_reliability(held_out()).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["new\nperturbation", "new\ncontext"]
    assert left.lines[1].get_ydata().tolist() == [0.75, 0.75]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["new perturbation (2)", "new context (1)"]
    np.testing.assert_allclose(np.sort(right.lines[0].get_xdata()), np.sqrt([1 / 3, 2 / 3]), rtol=1e-6)


def test_what_can_not_be_drawn_is_named():
    with pytest.raises(ArgumentError, match="'predicted' in held_out"):
        cq.plots.response_changes(conditions(["A"], [[1, 2, 3]]))
    with pytest.raises(ArgumentError, match="No condition was hidden"):
        cq.plots.response_reliability(held_out()[:0].copy())
    with pytest.raises(ArgumentError, match="no condition 'D'") as caught:
        cq.plots.response_changes(held_out(), conditions="D")
    assert caught.value.argument == "conditions"
    with pytest.raises(ArgumentError, match="no condition 'D'") as caught:
        cq.plots.response_volcano(conditions(["A"], [[1, 2, 3]]), "D")
    assert caught.value.argument == "condition"
    with pytest.raises(ArgumentError, match="Nothing is known of how sure"):
        cq.plots.response_volcano(conditions(["A"], [[1, 2, 3]], change=[[1, 2, 3]], error=[[0, 0, 0]]), "A")
