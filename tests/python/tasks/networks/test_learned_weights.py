"""The weights that the benchmark learns for a network are those of other data sets: its own truth has no say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARK = Path(__file__).parents[4] / "benchmarks" / "genes"


@pytest.mark.skipif(not BENCHMARK.exists(), reason="needs the checkout")
def test_the_network_that_is_scored_changes_nothing_in_the_weights_that_are_learned_for_it(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    import networks

    random = np.random.default_rng(0)
    names = ["a, one", "a, two", "b, one", "c, one"]
    data_of = pd.Series({name: name[0] for name in names})
    choices = pd.Index([("Fisher", (weight, 1)) for weight in range(6)], tupleize_cols=False)
    learned = pd.DataFrame(random.normal(size=(6, 4)), index=choices, columns=names)
    changed = learned.copy()
    changed[["a, one", "a, two"]] = random.normal(size=(6, 2)) * 100
    assert networks.best_elsewhere(learned, data_of, "a") == networks.best_elsewhere(changed, data_of, "a")
    assert networks.best_elsewhere(changed, data_of, "b") == max(
        choices,
        key=lambda one: changed.loc[[one], ["a, one", "a, two"]].mean(axis=None) + changed.loc[[one], "c, one"].iloc[0],
    )
