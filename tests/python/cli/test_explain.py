"""``celloquy explain`` writes the table of ``cq.explain``."""

import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from tasks.annotation.test_adapting_model import FACTORS
from tasks.annotation.test_annotator import cells, fitted


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    cells(60, seed=1).write_h5ad(folder / "cells.h5ad")
    fitted(model=FACTORS, training=None).save(folder / "annotator")
    return folder


def test_the_genes_of_an_annotator_are_written_or_shown(folder):
    arguments = [folder / "cells.h5ad", "--annotator", folder / "annotator", "--n-genes", "4", "-q"]
    assert run(*arguments, "-o", folder / "genes.csv").exit_code == 0
    expected = cq.explain(
        folder / "cells.h5ad", labels=cq.Annotator.load(folder / "annotator"), n_genes=4, progress=False
    )
    pd.testing.assert_frame_equal(pd.read_csv(folder / "genes.csv"), expected, check_dtype=False)
    shown = run(*arguments)
    assert shown.exit_code == 0
    assert expected["gene"][0] in shown.output


def test_labels_or_an_annotator_are_needed_and_not_both(folder):
    file = folder / "cells.h5ad"
    assert "--labels" in run(file, "-q").output
    both = run(file, "--labels", "cell_type", "--annotator", folder / "annotator", "-q")
    assert both.exit_code != 0
    assert "no use with an annotator" in both.output
