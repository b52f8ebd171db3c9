"""``celloquy context`` writes the table of ``cq.context``."""

import pandas as pd
import pytest
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from examples import small_model
from tasks.context.test_context import labelled


def run(*arguments):
    return CliRunner().invoke(app, ["context", *map(str, arguments), "-q"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    labelled().write_h5ad(folder / "cells.h5ad")
    small_model().save(folder / "model")
    return folder


def test_what_cells_were_read_with_is_written_or_shown(folder):
    file, model = folder / "cells.h5ad", folder / "model"
    arguments = ["--labels", "type", "--model", model, "--tissue-key", "sample", "--spatial-key", "spatial"]
    arguments += ["--distances", "100,400"]
    assert run(file, *arguments, "-o", folder / "table.csv").exit_code == 0
    expected = cq.context(
        file, labels="type", model=model, tissue_key="sample", spatial_key="spatial", distances=[100, 400],
        progress=False,
    )  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(folder / "table.csv"), expected, check_dtype=False)
    shown = run(file, *arguments, "--cells", "3,5", "--n-top", "2")
    assert shown.exit_code == 0
    assert shown.output.count(" cell ") == 4


def test_a_model_without_context_is_refused_in_words_of_the_command(folder):
    refused = run(folder / "cells.h5ad", "--labels", "type", "--model", "cells-mini")
    assert refused.exit_code != 0
    assert "reads each cell alone" in refused.output
    assert "--model scratch" in refused.output
    assert "--labels" in run(folder / "cells.h5ad", "--model", folder / "model").output
