"""``celloquy denoise`` and ``celloquy impute`` do on files what the functions do on objects."""

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from celloquy.data.store import open_store
from celloquy.errors import ArgumentError

IDS = [f"ENSG{i:011d}" for i in range(1, 31)]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    cells = ad.AnnData(sparse.csr_matrix(rng.poisson(1.0, (60, 30)).astype(np.float32)))
    cells.var_names = IDS
    cells.write_h5ad(folder / "cells.h5ad")
    panel = cells[:, :20].copy()
    panel.obsm["spatial"] = rng.random((60, 2))
    panel.write_h5ad(folder / "panel.h5ad")
    return folder


def test_denoise_writes_what_the_function_writes(folder):
    result = run("denoise", folder / "cells.h5ad", "-o", folder / "denoised.h5ad", "--epochs", 1, "-q", "--return-std")
    assert result.exit_code == 0, result.output
    adata = ad.read_h5ad(folder / "cells.h5ad")
    cq.denoise(adata, epochs=1, return_std=True, progress=False)
    with open_store(folder / "denoised.h5ad") as written:
        for key in ("celloquy_denoised", "celloquy_denoised_std"):
            np.testing.assert_allclose(np.asarray(written.layers[key]), adata.layers[key], rtol=1e-4, atol=1e-6)


def test_denoise_reads_a_fitted_denoiser_and_takes_some_genes(folder):
    adata = ad.read_h5ad(folder / "cells.h5ad")
    denoiser = cq.Denoiser(epochs=1, progress=False).fit(adata)
    denoiser.save(folder / "denoiser")
    names = f"{IDS[4]}, {IDS[2]}"
    result = run(
        "denoise", folder / "cells.h5ad", "-o", folder / "some.h5ad",
        "--denoiser", folder / "denoiser", "--genes", names,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    denoiser.predict(adata, genes=[IDS[4], IDS[2]])
    with open_store(folder / "some.h5ad") as written:
        assert list(written.var_names) == [IDS[4], IDS[2]]
        found = np.asarray(written.layers["celloquy_denoised"])
    np.testing.assert_allclose(found, adata.obsm["celloquy_denoised"], rtol=1e-4)


def test_denoise_keeps_what_it_fitted(folder):
    kept = ["--denoiser", folder / "kept"]
    first = run("denoise", folder / "cells.h5ad", "-o", folder / "first.h5ad", *kept, "--epochs", 1, "-q")
    again = run("denoise", folder / "cells.h5ad", "-o", folder / "second.h5ad", *kept)
    assert first.exit_code == again.exit_code == 0, first.output + again.output
    with open_store(folder / "first.h5ad") as one, open_store(folder / "second.h5ad") as other:
        np.testing.assert_array_equal(*(np.asarray(file.layers["celloquy_denoised"]) for file in (one, other)))


def test_what_cannot_be_denoised_is_said_before_training(folder, monkeypatch):
    monkeypatch.setattr(cq.Denoiser, "fit", lambda *_: pytest.fail("trained"))
    adata = ad.read_h5ad(folder / "cells.h5ad")
    with pytest.raises(ArgumentError, match="`unit`"):
        cq.denoise(adata, unit="tpm")
    assert "--unit" in run("denoise", folder / "cells.h5ad", "-o", folder / "none.h5ad", "--unit", "tpm").output


def test_impute_writes_what_the_class_writes_and_reads_what_it_saved(folder):
    arguments = [
        "--reference",
        folder / "cells.h5ad",
        "--genes",
        f"{IDS[25]},{IDS[22]}",
        "--imputer",
        folder / "imputer",
    ]
    result = run("impute", folder / "panel.h5ad", "-o", folder / "imputed.h5ad", *arguments, "--epochs", 1, "-q")
    assert result.exit_code == 0, result.output
    panel, reference = ad.read_h5ad(folder / "panel.h5ad"), ad.read_h5ad(folder / "cells.h5ad")
    cq.Imputer(epochs=1, progress=False).fit(panel, reference, genes=[IDS[25], IDS[22]]).predict(panel)
    written = ad.read_h5ad(folder / "imputed.h5ad")
    assert list(cq.get(written, "celloquy_imputed")) == [IDS[25], IDS[22]]
    np.testing.assert_allclose(written.obsm["celloquy_imputed"], panel.obsm["celloquy_imputed"], rtol=1e-4, atol=1e-5)
    again = run("impute", folder / "panel.h5ad", "-o", folder / "again.h5ad", "--imputer", folder / "imputer")
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(
        ad.read_h5ad(folder / "again.h5ad").obsm["celloquy_imputed"], written.obsm["celloquy_imputed"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoise", "cells.h5ad", "--batch-key", "plate"], "no column 'plate'"),
        (["denoise", "cells.h5ad", "--unit", "tpm"], "--unit can't be used"),
        (["denoise", "cells.h5ad", "--genes", "nobody"], "nobody not in adata.var_names"),
        (["impute", "panel.h5ad"], "pass --reference FILE"),
        (["impute", "panel.h5ad", "--reference", "panel.h5ad"], "nothing to impute"),
        (["impute", "panel.h5ad", "--reference", "gone.h5ad"], "no file"),
    ],
)
def test_errors_are_one_message_and_leave_no_file(folder, arguments, message, monkeypatch):
    monkeypatch.chdir(folder)
    result = run(*arguments, "-o", folder / "none.h5ad", *(["--epochs", "1"]), "-q")
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (folder / "none.h5ad").exists()


def test_an_imputer_that_was_fitted_without_positions_needs_none_from_the_command(folder, tmp_path):
    panel, reference = ad.read_h5ad(folder / "panel.h5ad"), ad.read_h5ad(folder / "cells.h5ad")
    del panel.obsm["spatial"]
    imputer = cq.Imputer(epochs=1, n_models=2, spatial_key=None, precision="float32", progress=False)
    imputer.fit(panel, reference).save(tmp_path / "imputer")
    panel.write_h5ad(tmp_path / "panel.h5ad")
    result = run("impute", tmp_path / "panel.h5ad", "--imputer", tmp_path / "imputer", "-o", tmp_path / "o.h5ad", "-q")
    assert result.exit_code == 0, result.output
    parameters = ad.read_h5ad(tmp_path / "o.h5ad").uns["celloquy"]["celloquy_imputed"]["parameters"]
    assert parameters["precision"] == "float32"
    assert parameters["spatial_key"] == ""
