"""``celloquy respond`` writes what a ResponsePredictor predicts, keeps it, and asks it again."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from celloquy.cli import app
from response_examples import FEATURES, SYMBOLS, perturbed_cells, predictor

NEW = SYMBOLS[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("respond")
    adata = perturbed_cells(SYMBOLS[:8], cells=20, controls=60, contexts=("a", "b"))
    adata.write_h5ad(folder / "screen.h5ad")
    controls = adata[adata.obs["gene"] == "control"].copy()
    controls.obs["line"] = "c"
    controls.write_h5ad(folder / "controls.h5ad")
    FEATURES.to_csv(folder / "described.csv")
    result = run(
        folder / "screen.h5ad", "--perturbation-key", "gene", "--covariate-key", "line", "--perturbations",
        f"{SYMBOLS[0]},{NEW}", "--contexts", "a", "--described", folder / "described.csv", "--priors", "signalling",
        "--predictor", folder / "kept", "-o", folder / "told.h5ad", "-q",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["respond", *map(str, arguments)])


def same(file, expected):
    found = ad.read_h5ad(file)
    assert list(found.obs_names) == list(expected.obs_names)
    for layer in ("change", "lower", "upper"):
        np.testing.assert_allclose(found.layers[layer], expected.layers[layer], rtol=1e-5, atol=1e-6)


def test_what_is_predicted_is_written(folder):
    fitted = predictor(covariate_key="line").fit(ad.read_h5ad(folder / "screen.h5ad"))
    same(folder / "told.h5ad", fitted.predict([SYMBOLS[0], NEW], contexts="a"))
    (folder / "asked.txt").write_text(f"{NEW}\n{SYMBOLS[0]}+{SYMBOLS[1]}\n")
    result = run("--predictor", folder / "kept", "--perturbations", folder / "asked.txt", "-o", folder / "again.h5ad")
    assert result.exit_code == 0, result.output
    same(folder / "again.h5ad", fitted.predict([NEW, f"{SYMBOLS[0]}+{SYMBOLS[1]}"]))


def test_a_fitted_predictor_is_asked_of_other_controls_and_draws_their_cells(folder):
    kept = "--predictor", folder / "kept", "--perturbations", SYMBOLS[0]
    result = run(folder / "controls.h5ad", *kept, "--contexts", "c", "-o", folder / "new.h5ad", "-q")
    assert result.exit_code == 0, result.output
    assert ad.read_h5ad(folder / "new.h5ad").obs["situation"].tolist() == ["new context"]
    result = run(folder / "controls.h5ad", *kept, "--sample-cells", "-o", folder / "drawn.h5ad", "-q")
    assert result.exit_code == 0, result.output
    drawn = ad.read_h5ad(folder / "drawn.h5ad")
    assert drawn.n_obs == 120
    assert set(drawn.obs["perturbation"]) == {SYMBOLS[0]}


def test_a_table_of_effects_is_read_from_csv(folder):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(6, 5)) + 1, columns=list("vwxyz"))
    table.insert(0, "drug", np.repeat(["one", "two"], 3))
    table.insert(1, "dose", [1, 10, 100] * 2)
    table.to_csv(folder / "effects.csv", index=False)
    result = run(
        folder / "effects.csv", "--values", "effects", "--perturbation-key", "drug", "--dose-key", "dose",
        "--perturbations", "two", "--doses", "10,30", "-o", folder / "doses.h5ad", "-q",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert ad.read_h5ad(folder / "doses.h5ad").obs["situation"].tolist() == ["measured", "new dose"]


def test_what_does_not_go_together_is_refused(folder):
    (folder / "ranks.csv").write_text("drug,x,y\none,1,2\ntwo,2,1\n")
    screen, out = folder / "screen.h5ad", ("-o", folder / "no.h5ad", "-q")
    kept = "--predictor", folder / "kept"
    for arguments, said in (
        ([screen], "nothing to learn from"),
        (["--perturbation-key", "gene"], "`file` is missing"),
        ([*kept, "--control", "DMSO"], "fitted already"),
        ([*kept, "--sample-cells", "--perturbations", NEW], "`file` is missing"),
        ([screen, *kept, "--sample-cells"], "under one condition"),
        ([screen, *kept, "--sample-cells", "--perturbations", NEW, "--contexts", "a"], "1 contexts"),
        ([screen, "--perturbation-key", "gene", "--sample-cells"], "fitted already"),
        ([screen, "--perturbation-key", "gene", *kept], "There is a saved model"),
        ([screen, "--perturbation-key", "gene", "--force"], "nothing to replace"),
        ([screen, "--perturbation-key", "gene", "--doses", "high"], "--doses is no list of numbers"),
        ([screen, "--perturbation-key", "gene", "--described", folder / "none.csv"], "is no table"),
        ([folder / "ranks.csv", "--perturbation-key", "a", "--values", "ranks"], "has no column 'a'"),
        ([screen, "--perturbation-key", "gene", "--control", "DMSO"], "no controls"),
    ):
        result = run(*arguments, *out)
        assert result.exit_code == 1, arguments
        assert said in result.output, result.output
        assert not (folder / "no.h5ad").exists()
