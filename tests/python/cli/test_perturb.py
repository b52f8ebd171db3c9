"""``celloquy perturb`` writes what the functions return."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from gene_examples import HUMAN, gene_cells, small_gene_model

MODEL = small_gene_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perturb")
    adata = gene_cells(24)
    adata.obs["type"] = pd.Categorical(np.array(["T cell", "B cell"])[np.arange(24) % 2])
    adata.write_h5ad(folder / "cells.h5ad")
    MODEL.save(folder / "model")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["perturb", *map(str, arguments)])


@pytest.mark.parametrize("how", ["delete", "2.5"])
def test_shifts_are_written(folder, how):
    out = folder / "shifts.csv"
    result = run(
        folder / "cells.h5ad", "--genes", f"{HUMAN[5]},{HUMAN[2]}", "-m", folder / "model", "--how", how,
        "--by", "type", "--n-random", 6, "-o", out, "-q",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = cq.perturb(
        folder / "cells.h5ad", [HUMAN[5], HUMAN[2]], model=MODEL, by="type", n_random=6, progress=False,
        how=float(how) if how[0].isdigit() else how,
    )  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(out), expected.astype({"group": str}), check_dtype=False)


def test_drivers_are_written_or_shown(folder):
    arguments = folder / "cells.h5ad", "--source", "T cell", "--target", "B cell", "--by", "type", "--n-random", 6
    result = run(*arguments, "-m", folder / "model", "-o", folder / "drivers.csv", "-q")
    assert result.exit_code == 0, result.output
    expected = cq.rank_drivers(
        folder / "cells.h5ad", source="T cell", target="B cell", by="type", model=MODEL, n_random=6, progress=False
    )
    pd.testing.assert_frame_equal(pd.read_csv(folder / "drivers.csv"), expected, check_dtype=False)
    shown = run(*arguments, "-m", folder / "model", "--candidates", HUMAN[5], "-q")
    assert HUMAN[5] in shown.output


def test_what_does_not_go_together_is_refused(folder):
    cells = folder / "cells.h5ad"
    for arguments, said in (
        ([cells], "--genes is missing"),
        ([cells, "--source", "T cell", "--by", "type"], "--target is missing"),
        ([cells, "--source", "T cell", "--target", "B cell", "--genes", HUMAN[5]], "options of their own"),
        ([cells, "--genes", HUMAN[5], "--how", "silence"], "--how can't be used"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert said in result.output
