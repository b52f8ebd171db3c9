"""``celloquy samples`` writes what a SamplePredictor tells, keeps it, and asks it again."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.tasks.samples import attention
from sample_examples import cohort, small_factors


@pytest.fixture(autouse=True, scope="module")
def shortly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "STEPS", 2)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    cohort(10).write_h5ad(folder / "cohort.h5ad")
    cohort(4, seed=9, start=50).write_h5ad(folder / "new.h5ad")
    small_factors().save(folder / "model")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["samples", *map(str, arguments)])


def test_samples_are_told_kept_and_asked_again(folder):
    known = "--sample-key", "patient", "--target", "state", "--precision", "float32", "-m", folder / "model", "-q"
    result = run(
        folder / "cohort.h5ad", *known, "--predictor", folder / "kept", "-o", folder / "told.csv", "--cells",
        folder / "cells.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = cq.predict_samples(
        folder / "cohort.h5ad", sample_key="patient", target="state", model=folder / "model", precision="float32",
        progress=False,
    )  # fmt: skip
    told = pd.read_csv(folder / "told.csv", index_col="patient")
    np.testing.assert_allclose(told["probability_ill"], expected["probability_ill"])
    assert told["truth"].tolist() == expected["truth"].tolist()
    assert len(pd.read_csv(folder / "cells.csv")) == 300
    again = folder / "new.h5ad", "--predictor", folder / "kept", "-q"
    result = run(*again, "-o", folder / "again.csv", "--cells", folder / "new_cells.csv")
    assert result.exit_code == 0, result.output
    asked = cq.SamplePredictor.load(folder / "kept").predict(folder / "new.h5ad")
    np.testing.assert_allclose(pd.read_csv(folder / "again.csv")["probability_ill"], asked["probability_ill"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--target nor --predictor"),
        (["--target", "state"], "pass --sample-key"),
        (["--predictor", "kept", "--group-key", "donor"], "--group-key"),
        (["--target", "state", "--sample-key", "patient", "--force"], "nothing to replace"),
        (["--target", "cell_type", "--sample-key", "patient"], "several values within a sample"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, given, said):
    result = run(folder / "cohort.h5ad", *given, "-o", folder / "no.csv", "-q")
    assert result.exit_code == 1
    assert said in result.output
    assert not (folder / "no.csv").exists()
