"""``celloquy niches`` does on files what the function does on objects."""

import anndata as ad
import numpy as np
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app
from examples import cells, small_model


def test_niches_writes_what_the_function_writes(tmp_path):
    adata = cells(60, tissues=2)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    small_model().save(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--tissue-key", "sample", "--n-niches", 3, "--no-center-tissues", "-q"]
    command = ["niches", tmp_path / "cells.h5ad", "-o", tmp_path / "niches.h5ad", *options]
    result = CliRunner().invoke(app, [str(one) for one in command])
    assert result.exit_code == 0, result.output
    given = {"model": tmp_path / "model", "tissue_key": "sample", "n_niches": 3, "center_tissues": False}
    cq.niches(adata, progress=False, **given)
    written = ad.read_h5ad(tmp_path / "niches.h5ad")
    assert written.obs["niche"].tolist() == adata.obs["niche"].tolist()
    np.testing.assert_allclose(written.obsm["X_niche"], adata.obsm["X_niche"], rtol=1e-5, atol=1e-6)


def test_a_file_without_positions_is_told_in_one_line(tmp_path):
    adata = cells(30)
    del adata.obsm["spatial"]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    result = CliRunner().invoke(app, ["niches", str(tmp_path / "cells.h5ad"), "-o", str(tmp_path / "out.h5ad"), "-q"])
    assert result.exit_code == 1
    assert "no 'spatial' in adata.obsm" in result.output
    assert not (tmp_path / "out.h5ad").exists()
