"""What the benchmark of responses gives cell-eval to compare."""

from pathlib import Path

import numpy as np
import pytest

import celloquy as cq
from celloquy.evaluate import score_responses
from response_examples import perturbed_cells

BENCHMARK = Path(__file__).parents[4] / "benchmarks" / "responses"
OPTIONS = {"perturbation_key": "gene", "priors": ["signalling"]}
NAMES = ["STAT1", "IRF1", "MYC", "JAK2", "SPI1", "CD86"]

pytestmark = pytest.mark.skipif(not BENCHMARK.exists(), reason="needs the checkout")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    import cell_eval_scores

    return cell_eval_scores


@pytest.fixture
def task(benchmark):
    from response_tasks import cells_task

    return cells_task("new genes", perturbed_cells(NAMES), [NAMES[:2], NAMES[2:4]], by="gene", options=OPTIONS,
                      control="control")  # fmt: skip


def test_no_measured_cell_is_on_both_sides(benchmark, task):
    (cells,) = benchmark.cells_of(task, task.splits[0], depth=1000.0)
    ceiling = cells.told[benchmark.CEILING, "measured"]
    assert set(cells.measured.obs["perturbation"]) == {"control", *NAMES[:2]}
    assert (cells.measured.obs["perturbation"] == "control").sum() == 100
    rows = [{row.tobytes() for row in np.asarray(one.X)} for one in (cells.measured, ceiling)]
    assert not rows[0] & rows[1]


def test_drawn_cells_are_those_of_sample_cells_and_shifted_ones_moved_by_the_change(benchmark, task):
    split = task.splits[0]
    (cells,) = benchmark.cells_of(task, split, depth=1000.0)
    predictor = cq.ResponsePredictor(**OPTIONS, progress=False).fit(split.train)
    controls = split.train[split.train.obs["gene"] == "control"].copy()
    sampled = benchmark.logs(predictor.sample_cells(controls, "STAT1").X, 1000.0)
    drawn, shifted = (cells.told["ours", made] for made in ("drawn", "shifted"))
    own = (drawn.obs["perturbation"] == "STAT1").to_numpy()
    genes = [predictor.profiles_.genes.index(gene) for gene in drawn.var_names]
    assert np.isclose(drawn.X[own], sampled[:, genes]).mean() > 0.99
    change = predictor.predict("STAT1").layers["change"][0, genes]
    moved = shifted.X[own] - shifted.X[(shifted.obs["perturbation"] == "control").to_numpy()]
    high = np.asarray(shifted.X[own]).min(0) > 0
    np.testing.assert_allclose(moved[:, high], np.broadcast_to(change[high], moved[:, high].shape), atol=1e-5)


def test_folds_are_compared_together_with_the_controls_once(benchmark, task):
    parts = [part for split in task.splits for part in benchmark.cells_of(task, split, depth=1000.0)]
    whole = benchmark.together_of(parts)
    for cells in (whole.measured, *whole.told.values()):
        assert set(cells.obs["perturbation"]) == {"control", *NAMES[:4]}
        assert (cells.obs["perturbation"] == "control").sum() == 100


def test_a_rank_among_all_becomes_a_share_of_the_others(benchmark):
    random = np.random.default_rng(0)
    predicted, observed = random.normal(size=(2, 7, 20))
    distance = np.linalg.norm(predicted[:, None] - observed[None], axis=2)
    rank = (distance < np.diag(distance)[:, None]).sum(1)
    ours = score_responses(predicted, observed)["discrimination"]
    np.testing.assert_allclose(benchmark.rescaled(1 - rank / 7), ours)
