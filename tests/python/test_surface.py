"""Function, class, command and R function of a verb take the same options, but for the differences that docs list."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import celloquy as cq
from celloquy.cli import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api-surface.md"
VERBS = {
    "embed": (cq.embed, None, "RunCelloquy.Seurat"),
    "pretrain": (cq.pretrain, None, None),
    "annotate": (cq.annotate, cq.Annotator, "AnnotateCells.Seurat"),
    "denoise": (cq.denoise, cq.Denoiser, "DenoiseExpression.Seurat"),
    "impute": (cq.impute, cq.Imputer, "ImputeGenes.Seurat"),
    "integrate": (cq.integrate, cq.Integrator, "CelloquyIntegration"),
    "niches": (cq.niches, None, "FindNiches.Seurat"),
}
REQUIRED = inspect.Parameter.empty
Options = dict[str, Any]

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")


@dataclass(frozen=True)
class Difference:
    verbs: tuple[str, ...]
    option: str
    where: str
    there: str

    def names(self) -> list[str]:
        return [] if self.there == "–" else [one.split("=")[0].strip() for one in self.there.split(",")]


def differences() -> Iterator[Difference]:
    _, table = PAGE.read_text(encoding="utf-8").split("## Differences")
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("verb", "---"):
            verbs, option, where, there, reason = cells
            assert reason
            yield Difference(tuple(VERBS) if verbs == "all" else tuple(verbs.split(", ")), option, where, there)


def of_function(verb: str) -> Options:
    parameters = list(inspect.signature(VERBS[verb][0]).parameters.values())[1:]
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters)
    return {one.name: one.default for one in parameters}


def of_class(verb: str) -> Options:
    kind = VERBS[verb][1]
    found: Options = {}
    for function in (kind, kind.fit, kind.predict):
        found |= {one.name: one.default for one in inspect.signature(function).parameters.values()}
    return {name: default for name, default in found.items() if name not in ("self", "adata", "spatial")}


def of_command(verb: str) -> Options:
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == verb]
    parameters = list(inspect.signature(command).parameters.values())
    return {one.name: one.default for one in parameters if one.name not in ("context", "file", "corpus")}


def of_r(verb: str) -> Options:
    found = r_formals(VERBS[verb][2])
    del found["object"]
    return found


def r_formals(name: str) -> Options:
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "R").glob("*.R")]
    pattern = re.compile(rf"^{re.escape(name)} <- function\((.*?)\) \{{$", re.MULTILINE | re.DOTALL)
    (formals,) = [formals for source in sources for formals in pattern.findall(source)]
    # Split at commas outside of brackets.
    parts = re.split(r",\s*(?![^()]*\))", formals.strip())
    pairs = [part.partition("=") for part in parts if part.strip() != "..."]
    return {name.strip(): r_value(value.strip()) if sign else REQUIRED for name, sign, value in pairs}


def r_value(text: str) -> Any:
    known = {"NULL": None, "TRUE": True, "FALSE": False}
    if text in known:
        return known[text]
    first = re.match(r'c\("([^"]+)"', text)
    try:
        return first[1] if first else ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def in_r(name: str) -> str:
    return re.sub(r"_key$", ".by", name).replace("_", ".")


CASES = [
    (verb, where, read, rule)
    for verb, (_, kind, in_seurat) in VERBS.items()
    for where, read, rule, there in (
        ("class", of_class, str, kind),
        ("command", of_command, str, True),
        ("R", of_r, in_r, in_seurat),
    )
    if there
]


@pytest.mark.parametrize(("verb", "where", "read", "rule"), CASES, ids=lambda one: one if isinstance(one, str) else "")
def test_a_verb_takes_the_same_options_everywhere(verb, where, read, rule):
    listed = [one for one in differences() if verb in one.verbs and one.where == where]
    renamed = {one.option: one for one in listed if one.option != "–"}
    extra = {name for one in listed if one.option == "–" for name in one.names()}
    found, expected = read(verb), {}
    for option, default in of_function(verb).items():
        other = renamed.get(option)
        if other is None:
            expected[rule(option)] = default
        elif other.there != "–":
            name, sign, value = (part.strip() for part in other.there.partition("="))
            expected[name] = r_value(value) if sign and where == "R" else ast.literal_eval(value) if sign else default
    assert set(found) == set(expected) | extra
    for name, default in expected.items():
        if name not in extra and REQUIRED not in (default, found[name]) and found[name] != default:
            # What a function needs may be left to a saved task elsewhere; a default that R computes is its own.
            assert "(" in str(found[name]), (name, found[name], default)


@pytest.mark.parametrize(
    ("function", "in_seurat", "flag"),
    [
        (cq.gene_embeddings, "GeneEmbeddings", "embed"),
        (cq.gene_attention, "GeneAttention", "attention"),
        (cq.similar_genes, "SimilarGenes", "similar"),
    ],
)
def test_what_a_model_knows_of_genes_is_asked_for_by_the_same_options_everywhere(function, in_seurat, flag):
    options = {one.name: one.default for one in inspect.signature(function).parameters.values()}
    shared = [one for one in differences() if len(one.verbs) == len(VERBS) and one.there != "–"]
    names = {"R": {"adata": "object"}, "command": {"adata": "file", "gene": "similar", "vectors": "model"}}
    names |= {
        where: own | {one.option: one.names()[0] for one in shared if one.where == where and one.option != "–"}
        for where, own in names.items()
    }
    found = r_formals(in_seurat)
    assert set(found) - {"assay"} == {names["R"].get(name, in_r(name)) for name in options}
    for name, default in options.items():
        if name not in names["R"]:
            assert found[in_r(name)] == default, name
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == "genes"]
    given = inspect.signature(command).parameters
    assert {flag} | {names["command"].get(name, name) for name in options} <= set(given)
    if "n" in options:
        assert given["n"].default == options["n"]


def test_networks_are_asked_for_by_the_same_options_everywhere():
    options = {one.name: one.default for one in inspect.signature(cq.infer_network).parameters.values()}
    shared = [one for one in differences() if len(one.verbs) == len(VERBS) and one.option != "–"]
    names = {where: {one.option: one.names() for one in shared if one.where == where} for where in ("R", "command")}
    in_seurat = r_formals("InferNetwork")
    expected = {
        (names["R"].get(name) or [in_r(name)])[0] for name in options if name not in ("adata", "n_jobs", "key_added")
    }
    assert set(in_seurat) == expected | {"object", "assay"}
    for name in ("method", "n_edges", "max_cells", "normalised", "by", "regulators"):
        assert in_seurat[in_r(name)] == options[name], name
    command = of_command("network")
    given = {name for name in options if name not in ("adata", "key_added")}
    assert set(command) == {(names["command"].get(name) or [name])[0] for name in given} | {"out"}
    for name in ("method", "max_cells", "normalised", "n_jobs", "seed"):
        assert command[name] == options[name], name


def test_every_listed_difference_is_one():
    for one in differences():
        for verb in one.verbs:
            if one.option != "–" and len(one.verbs) < len(VERBS):
                assert one.option in of_function(verb), one
        if one.option != "–" and len(one.verbs) == len(VERBS):
            assert any(one.option in of_function(verb) for verb in VERBS), one


def test_the_options_that_all_verbs_share_are_there():
    for verb in VERBS:
        options = of_function(verb)
        assert {"layer", "tissue_key", "spatial_key", "species", "precision", "device", "progress"} <= set(options)
        if verb not in ("embed", "niches"):
            assert {"epochs", "training", "seed", "config"} <= set(options)
        if verb != "pretrain":
            assert {"key_added", "copy", "model"} <= set(options)
        if verb not in ("embed", "impute", "niches"):
            assert "batch_key" in options


@pytest.mark.parametrize(("function", "in_seurat"), [(cq.perturb, "PerturbGenes"), (cq.rank_drivers, "RankDrivers")])
def test_genes_are_changed_by_the_same_options_everywhere(function, in_seurat):
    options = {one.name: one.default for one in inspect.signature(function).parameters.values()}
    shared = [one for one in differences() if len(one.verbs) == len(VERBS) and one.there != "–"]
    names = {"R": {"adata": "object"}, "command": {"adata": "file"}}
    names |= {
        where: own | {one.option: one.names()[0] for one in shared if one.where == where and one.option != "–"}
        for where, own in names.items()
    }
    found = r_formals(in_seurat)
    assert set(found) - {"assay"} == {names["R"].get(name, in_r(name)) for name in options}
    for name, default in options.items():
        if name not in names["R"]:
            assert found[in_r(name)] == default, name
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == "perturb"]
    assert {names["command"].get(name, name) for name in options} <= set(inspect.signature(command).parameters)


def test_labels_are_explained_by_the_same_options_everywhere():
    options = {one.name: one.default for one in inspect.signature(cq.explain).parameters.values()}
    named = {"adata": "object", "seed": "seed.use", "progress": "verbose"}
    found = r_formals("ExplainLabels")
    # R's layer of an assay has a default of its own; identities are the usual labels.
    assert set(found) - {"assay", "model.object"} == {named.get(name, in_r(name)) for name in options}
    for name in ("by", "cells", "n_genes", "counts", "species"):
        assert found[in_r(name)] == options[name], name
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == "explain"]
    named = {"adata": "file", "progress": "quiet"}
    expected = {named.get(name, name) for name in options} | {"annotator", "out", "context"}
    assert set(inspect.signature(command).parameters) == expected


def test_what_cells_were_read_with_is_asked_for_by_the_same_options_everywhere():
    options = {one.name: one.default for one in inspect.signature(cq.context).parameters.values()}
    named = {"adata": "object", "model": "model.object", "spatial_key": "spatial", "progress": "verbose"}
    found = r_formals("CellContext")
    assert set(found) - {"assay"} == {named.get(name, in_r(name)) for name in options}
    for name in set(options) - {"adata", "layer", "tissue_key", "spatial_key", "progress"}:
        assert found[named.get(name, in_r(name))] == options[name], name
    (command,) = [one.callback for one in app.registered_commands if one.callback.__name__ == "context"]
    given = {one.name: one.default for one in inspect.signature(command).parameters.values()}
    named = {"adata": "file", "progress": "quiet"}
    # typer's own context comes first.
    assert set(given) == {named.get(name, name) for name in options} | {"out", "context"}
    assert {name: given[name] for name in options if name not in named} == {
        name: default for name, default in options.items() if name not in named
    }


def test_responses_are_asked_for_by_the_same_options_everywhere():
    parameters = inspect.signature(cq.predict_response).parameters
    options = {name: one.default for name, one in parameters.items() if name != "adata"}
    shared = [one for one in differences() if len(one.verbs) == len(VERBS) and one.there != "–"]
    names = {
        where: {one.option: one.names()[0] for one in shared if one.where == where and one.option != "–"}
        for where in ("R", "command")
    }
    in_r_names = {name: names["R"].get(name, in_r(name)) for name in options}
    found = r_formals("PredictResponse")
    assert set(found) == set(in_r_names.values()) | {"object", "controls", "assay", "model.dir", "overwrite"}
    command = of_command("respond")
    kept = {"file", "out", "predictor", "overwrite", "sample_cells"}
    assert set(command) | {"file"} == {names["command"].get(name, name) for name in options} | kept
    of_class = inspect.signature(cq.ResponsePredictor).parameters
    predict = inspect.signature(cq.ResponsePredictor.predict).parameters
    for name, default in options.items():
        assert name in of_class or name in predict, name
        # A predictor that is read needs no column.
        if name not in (*names["R"], "perturbation_key"):
            assert found[in_r_names[name]] == default, name
        if name not in (*names["command"], "perturbation_key"):
            assert command[name] == default, name


def test_samples_are_told_by_the_same_options_everywhere():
    parameters = inspect.signature(cq.predict_samples).parameters
    options = {name: one.default for name, one in parameters.items() if name != "adata"}
    shared = [one for one in differences() if len(one.verbs) == len(VERBS) and one.there != "–"]
    names = {
        where: {one.option: one.names()[0] for one in shared if one.where == where and one.option != "–"}
        for where in ("R", "command")
    }
    kept = {name: default for name, default in options.items() if name != "key_added"}
    found = r_formals("PredictSamples")
    in_r_names = {name: names["R"].get(name, in_r(name)) for name in kept}
    assert set(found) == set(in_r_names.values()) | {"object", "assay", "model.dir", "overwrite"}
    command = of_command("samples")
    assert set(command) == {names["command"].get(name, name) for name in kept} | {
        "out", "cells", "predictor", "overwrite"
    }  # fmt: skip
    of_class = {name: one.default for name, one in inspect.signature(cq.SamplePredictor).parameters.items()}
    assert of_class == kept
    for name, default in kept.items():
        # A predictor that is read needs no columns.
        if name not in (*names["R"], "sample_key", "target"):
            assert found[in_r_names[name]] == default, name
        if name not in (*names["command"], "sample_key", "target"):
            assert command[name] == default, name
