"""The command does on files what the functions do on objects, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

import celloquy as cq
from celloquy.cli import app

IDS = [f"ENSG{i:011d}" for i in range(1, 31)]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    counts = np.random.default_rng(0).poisson(1.0, (60, 30)).astype(np.float32)
    adata = ad.AnnData(sparse.csr_matrix(counts))
    adata.var_names = IDS
    adata.obs["donor"] = np.where(np.arange(60) % 2, "a", "b")
    adata.write_h5ad(folder / "cells.h5ad")
    return folder


@pytest.fixture(scope="module")
def trained(folder) -> Path:
    result = run("pretrain", folder / "cells.h5ad", "-o", folder / "model", "--epochs", 2, "-q")
    assert result.exit_code == 0, result.output
    return folder / "model"


@pytest.mark.parametrize("option", ["--tissue-key", "--spatial-key"])
def test_keys_of_what_the_model_in_the_box_does_not_read_are_refused(folder, tmp_path, option):
    result = run("embed", folder / "cells.h5ad", "-o", tmp_path / "out.h5ad", option, "donor", "-q")
    assert result.exit_code != 0
    assert "has no use with this model" in result.output
    assert list(tmp_path.iterdir()) == []


def test_embedding_a_file_equals_embedding_its_object(folder, trained):
    result = run(
        "embed", folder / "cells.h5ad", "-m", trained, "-o", folder / "out.h5ad", "--tissue-key", "donor", "-q"
    )
    assert result.exit_code == 0, result.output
    adata = ad.read_h5ad(folder / "cells.h5ad")
    cq.embed(adata, model=trained, tissue_key="donor", progress=False)
    np.testing.assert_array_equal(ad.read_h5ad(folder / "out.h5ad").obsm["X_celloquy"], adata.obsm["X_celloquy"])
    assert sorted(path.name for path in folder.iterdir()) == ["cells.h5ad", "model", "out.h5ad"]


def test_info_tells_what_a_model_is(trained):
    output = run("info", trained).output
    assert cq.CellModel.from_pretrained(trained).fingerprint in output
    assert "30" in output


def test_annotate_names_coarse_types_without_a_reference(tmp_path):
    from scanpy.datasets import pbmc68k_reduced

    blood = pbmc68k_reduced()
    random = np.random.default_rng(0)
    counts = sparse.csr_matrix(random.poisson(np.expm1(blood.raw.X.toarray().clip(0, 6))).astype(np.float32))
    ad.AnnData(counts, obs=blood.obs[[]], var=blood.raw.var[[]]).write_h5ad(tmp_path / "cells.h5ad")
    result = run("annotate", tmp_path / "cells.h5ad", "-o", tmp_path / "named.h5ad", "--top-k", "2")
    assert result.exit_code == 0, result.output
    named = ad.read_h5ad(tmp_path / "named.h5ad")
    assert set(named.obs["celloquy_label"]) <= {*cq.known_types()["name"], "unknown"}
    assert cq.get(named, "celloquy_top").shape == (700, 2)
    b_cells = named.obs["celloquy_label"][(blood.obs["bulk_labels"] == "CD19+ B").to_numpy()]
    assert (b_cells == "B cell").mean() > 0.5


def test_genes_tells_what_each_name_is_taken_for(folder, tmp_path):
    adata = ad.read_h5ad(folder / "cells.h5ad")
    adata.var_names = ["CD8A", "HLA.A", "TP53.1", "nonsense", *IDS[4:]]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    result = run("genes", tmp_path / "cells.h5ad", "-o", tmp_path / "genes.csv")
    assert "species: human" in result.output
    assert "nonsense" in result.output
    assert "HLA-A" in (tmp_path / "genes.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("embed", "nowhere.h5ad", "-m", "model", "-o", "out.h5ad"), "no file 'nowhere.h5ad'"),
        (("embed", "{folder}/cells.h5ad", "-m", "nowhere", "-o", "out.h5ad"), "no celloquy model in 'nowhere'"),
        (("pretrain", "{folder}/cells.h5ad", "-o", "{folder}/m2", "--config", "huge"), "no such preset"),
        (("genes", "{folder}/cells.h5ad", "--species", "yeti"), "yeti"),
        (("info", "nowhere"), "no celloquy model in 'nowhere'"),
        (
            ("annotate", "{folder}/cells.h5ad", "-o", "{folder}/a.h5ad", "-l", "kind"),
            "nothing to learn the labels from",
        ),
        (("annotate", "{folder}/cells.h5ad", "-o", "{folder}/a.h5ad", "--epochs", "3"), "There is no reference."),
        (("annotate", "{folder}/cells.h5ad", "-o", "{folder}/a.csv", "--annotator", "x"), "the ending '.csv'"),
        (("annotate", "nowhere.h5ad", "-o", "{folder}/a.h5ad", "--annotator", "x"), "no file 'nowhere.h5ad'"),
        (("integrate", "{folder}/cells.h5ad", "-o", "{folder}/a.h5ad"), "no batches to integrate"),
        (("integrate", "{folder}/cells.h5ad", "-o", "{folder}/a.h5ad", "-b", "slice"), "no column 'slice'"),
    ],
)
def test_what_the_user_can_mend_is_one_plain_message(folder, arguments, message):
    result = run(*(str(argument).format(folder=folder) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.output
    assert "Fix: " in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_no_h5ad_is_said_to_be(tmp_path):
    (tmp_path / "cells.h5ad").write_text("cells,genes")
    result = run("genes", tmp_path / "cells.h5ad")
    assert result.exit_code == 1
    assert "can't be read as h5ad" in result.output


def test_a_failed_run_leaves_the_old_output(folder, trained, tmp_path, monkeypatch):
    (tmp_path / "out.h5ad").write_text("yesterday's")

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ad.AnnData, "write_h5ad", full_disk)
    result = run("embed", folder / "cells.h5ad", "-m", trained, "-o", tmp_path / "out.h5ad", "-q")
    assert result.exit_code == 1
    assert "No space left" in result.output
    assert (tmp_path / "out.h5ad").read_text() == "yesterday's"
    monkeypatch.undo()
    assert run("embed", folder / "cells.h5ad", "-m", trained, "-o", tmp_path / "out.h5ad", "-q").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]
    assert "X_celloquy" in ad.read_h5ad(tmp_path / "out.h5ad").obsm


def test_annotating_a_file_equals_annotating_its_object_and_keeps_the_annotator(folder, tmp_path):
    adata = ad.read_h5ad(folder / "cells.h5ad")
    options = ("--epochs", 2, "-q", "--top-k", 2, "--return-evidence")
    learned = ("-r", folder / "cells.h5ad", "-l", "donor", "--annotator", tmp_path / "annotator")
    result = run("annotate", folder / "cells.h5ad", "-o", tmp_path / "out.h5ad", *learned, *options)
    assert result.exit_code == 0, result.output
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    cq.annotate(adata, reference=adata, label_key="donor", epochs=2, top_k=2, return_evidence=True, progress=False)
    np.testing.assert_array_equal(found.obsm["celloquy_probability"], adata.obsm["celloquy_probability"])
    assert found.uns["celloquy"]["celloquy_label"]["task"] == "annotate"
    assert (found.X != adata.X).nnz == 0
    again = run(
        "annotate", folder / "cells.h5ad", "-o", tmp_path / "2.h5ad", "--annotator", tmp_path / "annotator", "-q"
    )
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(
        ad.read_h5ad(tmp_path / "2.h5ad").obsm["celloquy_probability"], adata.obsm["celloquy_probability"]
    )


def test_integrating_a_file_equals_integrating_its_object(folder, tmp_path):
    kept = ("-b", "donor", "--integrator", tmp_path / "integrator")
    result = run("integrate", folder / "cells.h5ad", "-o", tmp_path / "out.h5ad", *kept, "--epochs", 2, "-q")
    assert result.exit_code == 0, result.output
    adata = ad.read_h5ad(folder / "cells.h5ad")
    cq.integrate(adata, batch_key="donor", epochs=2, progress=False)
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "out.h5ad").obsm["X_celloquy"], adata.obsm["X_celloquy"])
    again = run("integrate", folder / "cells.h5ad", "-o", tmp_path / "2.h5ad", *kept[2:])
    assert again.exit_code == 0, again.output
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "2.h5ad").obsm["X_celloquy"], adata.obsm["X_celloquy"])


def test_version_and_help_are_told():
    assert run("--version").output == f"celloquy {cq.__version__}\n"
    for command in ("embed", "pretrain", "annotate", "integrate", "genes", "info"):
        assert "Example:" in run(command, "--help").output


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_or_its_help_loads_nothing_heavy():
    heavy = "print(sorted({'torch', 'scanpy', 'matplotlib', 'anndata', 'pandas'} & set(sys.modules)))"
    assert python(f"import sys, celloquy; {heavy}") == "[]"
    assert python(f"import sys, celloquy.cli; {heavy}") == "[]"


def test_every_public_name_is_there():
    for name in cq.__all__:
        assert getattr(cq, name) is not None
    assert set(cq.__all__) <= set(dir(cq))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cq.nothing


@pytest.mark.parametrize(
    ("verb", "fit", "idle"),
    [
        ("annotate", ("-r", "{cells}", "-l", "donor", "--annotator"), ("--false-unknown-rate", 0)),
        ("annotate", ("-r", "{cells}", "-l", "donor", "--annotator"), ("--epochs", 5)),
        ("integrate", ("-b", "donor", "--integrator"), ("--batch-mixing", 3.0)),
        ("denoise", ("--denoiser",), ("--n-neighbors", 0)),
    ],
)
def test_an_option_without_effect_on_a_fitted_task_is_refused(folder, tmp_path, verb, fit, idle):
    fit = [one.format(cells=folder / "cells.h5ad") for one in fit]
    whole = run(verb, folder / "cells.h5ad", "-o", tmp_path / "1.h5ad", *fit, tmp_path / "task", "--epochs", 1, "-q")
    assert whole.exit_code == 0, whole.output
    again = run(verb, folder / "cells.h5ad", "-o", tmp_path / "2.h5ad", fit[-1], tmp_path / "task", *idle, "-q")
    assert again.exit_code == 1
    assert "is fitted already" in again.output
    assert idle[0] in again.output
    fine = run(verb, folder / "cells.h5ad", "-o", tmp_path / "2.h5ad", fit[-1], tmp_path / "task", "--layer", "X", "-q")
    assert fine.exit_code == 0, fine.output


def test_messages_name_options_as_the_command_line_spells_them(folder):
    output = run("integrate", folder / "cells.h5ad", "-o", folder / "a.h5ad", "-b", "slice").output
    assert "--batch-key" in output
    assert "batch_key" not in output


def test_genes_says_where_it_can_not_write(folder, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "genes.csv"):
        result = run("genes", folder / "cells.h5ad", "-o", out)
        assert result.exit_code == 1
        assert "can't be written" in result.output
        assert "Fix: " in result.output
