"""``celloquy genes`` with a gene model: vectors, similar genes and attention, as the functions give them."""

import anndata as ad
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
    folder = tmp_path_factory.mktemp("genes")
    adata = gene_cells(30)
    adata.obs["type"] = pd.Categorical(np.array(["T cell", "B cell"])[np.arange(30) % 2])
    adata.write_h5ad(folder / "cells.h5ad")
    MODEL.save(folder / "model")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["genes", *map(str, arguments)])


def test_vectors_of_genes_are_written_with_and_without_cells(folder):
    cells, model, out = folder / "cells.h5ad", folder / "model", folder / "vectors.h5ad"
    result = run("--embed", "-m", model, "-o", out)
    assert result.exit_code == 0, result.output
    found, expected = ad.read_h5ad(out), cq.gene_embeddings(MODEL)
    np.testing.assert_array_equal(found.X, expected.X)
    assert found.obs_names.tolist() == expected.obs_names.tolist()
    chosen = f"{HUMAN[5]},{HUMAN[0]}"
    result = run(cells, "--embed", "-m", model, "--by", "type", "--genes", chosen, "-o", out, "-q")
    assert result.exit_code == 0, result.output
    found = ad.read_h5ad(out)
    expected = cq.gene_embeddings(MODEL, cells, by="type", genes=[HUMAN[5], HUMAN[0]], progress=False)
    np.testing.assert_array_equal(found.X, expected.X)
    assert found.obs["n_cells"].tolist() == expected.obs["n_cells"].tolist()
    assert found.obs["group"].tolist() == expected.obs["group"].tolist()


def test_similar_genes_are_shown_or_written(folder):
    expected = cq.similar_genes(HUMAN[4], MODEL, n=3)
    shown = run("--similar", HUMAN[4], "-m", folder / "model", "-n", 3)
    assert shown.exit_code == 0, shown.output
    assert [line.split()[0] for line in shown.output.splitlines()[1:]] == expected.index.tolist()
    result = run("--similar", HUMAN[4], "-m", folder / "model", "-n", 3, "-o", folder / "similar.csv")
    assert result.exit_code == 0, result.output
    found = pd.read_csv(folder / "similar.csv")
    assert found["name"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found["cosine"], expected["cosine"], rtol=1e-5)
    in_cells = run(folder / "cells.h5ad", "--similar", HUMAN[4], "-m", folder / "model", "-n", 3, "-q")
    assert in_cells.exit_code == 0, in_cells.output
    assert "n_cells" in in_cells.output


def test_attention_is_written(folder):
    chosen, out = [HUMAN[5], HUMAN[0]], folder / "attention.csv"
    given = ["--genes", ",".join(chosen), "--by", "type", "--encoder-layer", 1]
    result = run(folder / "cells.h5ad", "--attention", "-m", folder / "model", *given, "-o", out, "-q")
    assert result.exit_code == 0, result.output
    options = {"by": "type", "encoder_layer": 1, "progress": False}
    expected = cq.gene_attention(MODEL, folder / "cells.h5ad", chosen, **options)
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False, check_categorical=False, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "`file` is missing"),
        (("{cells}", "--embed", "--similar", "A", "-m", "{model}"), "--embed and --similar"),
        (("{cells}", "--embed", "-m", "{model}"), "--out is missing"),
        (("{cells}", "--embed", "-o", "{out}"), "--model is missing"),
        (("--attention", "-m", "{model}", "--genes", "A"), "`file` is missing"),
        (("{cells}", "--attention", "-m", "{model}"), "--genes is missing"),
        (("{cells}", "--by", "type"), "without a model"),
        (("{cells}", "--embed", "-m", "{model}", "-o", "{out}", "-n", "3"), "no use for these options"),
        (("--embed", "-m", "{model}", "-o", "{out}", "--by", "type"), "--by has no use without cells"),
        (("--similar", "GFP", "-m", "{model}"), "has no vector"),
        (("{cells}", "--embed", "-m", "cells-mini", "-o", "{out}"), "can't describe genes"),
    ],
)
def test_what_can_not_be_done_is_told_in_words_of_the_command(folder, arguments, message):
    places = {"cells": folder / "cells.h5ad", "model": folder / "model", "out": folder / "none.h5ad"}
    result = run(*(one.format(**places) for one in arguments))
    assert result.exit_code == 1
    assert message in result.output
    assert not (folder / "none.h5ad").exists()
