"""What an error tells the user to pass or to leave out is there: an option of that verb, as that verb spells it."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from typer.main import get_command
from typer.testing import CliRunner

import celloquy as cq
from celloquy import errors
from celloquy.cli import app
from examples import IDS, cells, small_model

ROOT = Path(__file__).parents[2] / "python" / "celloquy"
VERBS = ("embed", "pretrain", "annotate", "denoise", "impute", "integrate")
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
CALL = re.compile(r"\b(?P<function>[A-Za-z_]+(?:\.[A-Za-z_]+)*)\((?P<arguments>[^()]*)\)")
# A name in backticks, or one that a value follows.
NAME = re.compile(r"`([a-z][a-z0-9_]*)`|(?<![\w.])([a-z][a-z0-9_]*)=(?=['\"\[A-Z0-9])")
OF_TRAINING = {one.name for one in fields(cq.TrainingOptions)}
PLACES = {"uns", "var_names", "obs_names", "adata", "backed"}
"""What AnnData itself calls so: its parts, which stand in backticks, too, and how it is opened."""


def names_in(text):
    """Names of arguments in a text, but for those of functions that it names with their arguments."""
    return {match[1] or match[2] for match in NAME.finditer(CALL.sub("", text))} - PLACES


def options_of(verb):
    options = set(inspect.signature(getattr(cq, verb)).parameters)
    return options | (OF_TRAINING if "training" in options else set())


def words(error):
    return "\n".join([error.problem, error.expected, error.remedy])


def check(error, options):
    """Every name that an error has is one of these options."""
    named = names_in(words(error)) | ({error.argument} if error.argument else set())
    assert named <= options, f"{sorted(named - options)} of: {error}"


# --- what is wrong with the cells ------------------------------------------------------------------------------------
def counts(adata, values):
    adata.X = sparse.csr_matrix(values.astype(np.float32))


def names(adata, new):
    adata.var_names = [str(name) for name in new]


def orthologs_or(genes, otherwise):
    found = {pair.name: pair.ortholog_id for pair in cq.orthologs(list(genes), to="mouse").pairs}
    return [found.get(gene, otherwise.format(place)) for place, gene in enumerate(genes)]


WRONG = {
    "normalised": lambda s: counts(s, np.log1p(s.X.toarray() / 3)),
    "fractions": lambda s: counts(s, s.X.toarray() * 1.001),
    "half": lambda s: counts(s, s.X.toarray() + 0.5),
    "negative": lambda s: counts(s, s.X.toarray() - 3),
    "missing": lambda s: counts(s, np.where(s.X.toarray() > 1, np.nan, s.X.toarray())),
    "empty": lambda s: counts(s, s.X.toarray() * 0),
    "mouse": lambda s: names(s, orthologs_or(s.var_names, "ENSMUSG9999990000{}")),
    "mouse without orthologs": lambda s: names(s, [f"ENSMUSG{number:011d}" for number in range(1, 31)]),
    "zebrafish": lambda s: names(s, [f"ENSDARG{number:011d}" for number in range(30)]),
    "unknown": lambda s: names(s, [f"peak{number}" for number in range(30)]),
    "proteins": lambda s: s.var.insert(0, "feature_types", "Antibody Capture"),
    "few genes": lambda s: names(s, [*IDS[:1], *(f"peak{number}" for number in range(29))]),
    "twice": lambda s: names(s, [IDS[0]] * 30),
    "one batch": lambda s: s.obs.__setitem__("batch", "one"),
    "missing batch": lambda s: s.obs.__setitem__("batch", [None] + ["a", "b"] * 9 + ["a"]),
    "one label": lambda s: s.obs.__setitem__("label", "one"),
    "no label": lambda s: s.obs.__setitem__("label", "nan"),
    "rare labels": lambda s: s.obs.__setitem__("label", [f"l{number}" for number in range(20)]),
    "label unknown": lambda s: s.obs.__setitem__("label", ["unknown", "b"] * 10),
    "numbers as labels": lambda s: s.obs.__setitem__("label", np.random.default_rng(0).random(20)),
    "missing tissue": lambda s: s.obs.__setitem__("sample", [None] * 20),
    "flat positions": lambda s: s.obsm.__setitem__("spatial", np.ones((20, 1))),
    "missing positions": lambda s: s.obsm.__setitem__("spatial", np.full((20, 2), np.nan)),
    "infinite positions": lambda s: s.obsm.__setitem__("spatial", np.full((20, 2), np.inf)),
}


def object_of(change=None):
    adata = cells()
    adata.obs["batch"], adata.obs["label"] = ["a", "b"] * 10, ["t", "b"] * 10
    if change:
        WRONG[change](adata)
    return adata


def quick(verb):
    """Options with which a verb runs, and ends soon."""
    options = {"tissue_key": "sample", "spatial_key": "spatial", "progress": False}
    if verb != "embed":
        options |= {"epochs": 1, "config": cq.CellModelConfig.preset("mini").replace(width=16)}
    own = {
        "embed": {"model": small_model()}, "pretrain": {}, "denoise": {},
        "annotate": {"reference": object_of(), "label_key": "label"}, "integrate": {"batch_key": "batch"},
        "impute": {"reference": object_of(), "n_models": 2},
    }  # fmt: skip
    return options | own[verb]


def refusal(call):
    """The error that a call ended in; None where it did not."""
    try:
        call()
    except errors.CelloquyError as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_wrong_with_cells_is_mended_by_options_that_the_verb_has(verb):
    refused = 0
    for change in WRONG:
        objects = [{"cells": object_of(change)}]
        if verb in ("annotate", "impute"):
            objects.append({"cells": object_of(), "reference": object_of(change)})
        if verb not in ("embed", "pretrain"):
            objects.append({"cells": object_of(change), "model": small_model()})
        for given in objects:
            adata = given.pop("cells")
            if verb == "impute":
                adata = adata[:, 5:].copy()
            options = quick(verb) | given
            if "model" in given and verb != "embed":
                del options["config"]
            error = refusal(lambda a=adata, o=options: getattr(cq, verb)(a, **o))
            if error is not None:
                refused += 1
                check(error, options_of(verb))
    assert refused >= 8


NO_VALUE = {"progress", "copy", "overwrite", "adapt", "return_std", "return_evidence", "resume", "skip_bad_files"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", VERBS)
def test_a_value_that_an_option_cannot_have_is_mended_by_options_that_the_verb_has(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adata = object_of()[:, 5:].copy() if verb == "impute" else object_of()
    refused = set()
    for option in set(inspect.signature(getattr(cq, verb)).parameters) - {"adata", "spatial", "corpus"} - NO_VALUE:
        for value in (object(), "nonsense", -1.5):
            error = refusal(lambda o=option, v=value: getattr(cq, verb)(adata, **quick(verb) | {o: v}))
            if error is not None:
                refused.add(option)
                check(error, options_of(verb))
    assert len(refused) > 10


# --- on the command line ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Cells, and a saved model."""
    folder = tmp_path_factory.mktemp("files")
    for change in (None, "normalised", "half", "mouse", "unknown", "proteins", "one batch", "rare labels"):
        object_of(change).write_h5ad(folder / f"{change}.h5ad")
    small_model().save(folder / "model")
    return folder


def command(verb):
    """The options of a command, and the names of what it takes without one."""
    (found,) = [one for one in get_command(app).commands.values() if one.name == verb]
    options = {name for one in found.params for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}
    return options, {one.name for one in found.params if one.param_type_name == "argument"}


def said_by(verb, folder, file, *given):
    """What a command says, and whether it failed."""
    own = {
        "embed": ["-m", str(folder / "model")], "pretrain": [], "denoise": [], "integrate": ["--batch-key", "batch"],
        "annotate": ["--reference", str(folder / "None.h5ad"), "--label-key", "label"],
        "impute": ["--reference", str(folder / "None.h5ad"), "--n-models", "2"],
    }  # fmt: skip
    train = [] if verb == "embed" else ["--epochs", "1"]
    out = folder / ("out" if verb == "pretrain" else "out.h5ad")
    done = CliRunner().invoke(app, [verb, str(folder / file), "-o", str(out), *own[verb], *train, *given])
    return done.output, done.exit_code


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", VERBS)
def test_a_command_names_its_own_options_as_they_are_typed(files, verb, tmp_path, monkeypatch):
    # Some options are places to write to.
    monkeypatch.chdir(tmp_path)
    options, arguments = command(verb)
    refused = 0
    calls = [[file.name] for file in files.glob("*.h5ad") if file.name not in ("None.h5ad", "out.h5ad")]
    calls += [["None.h5ad", one, "nonsense"] for one in sorted(options) if one not in ("--out", "--model")]
    for given in calls:
        said, code = said_by(verb, files, *given)
        # What the library of the command line itself says knows its options.
        if code == 1:
            refused += 1
            # A progress bar may have come before, on a line that it overwrites.
            assert re.search(r"(^|[\r\n])celloquy: ", said), said
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said)) <= options, said
            assert names_in(said) <= arguments, said
    assert refused >= 6


# --- all that there are ----------------------------------------------------------------------------------------------
def test_every_argument_that_a_message_names_is_one_of_a_public_function():
    known = set()
    places = (cq, cq.evaluate, cq.genes, cq.plots, cq.data)
    for kind in [getattr(place, name) for place in places for name in dir(place)]:
        methods = [one for _, one in inspect.getmembers(kind, callable)] if inspect.isclass(kind) else []
        for function in (kind, *methods):
            try:
                known |= set(inspect.signature(function).parameters)
            except (TypeError, ValueError):
                continue
    seen = 0
    for file in sorted(ROOT.rglob("*.py")):
        for error in raised(ast.parse(file.read_text(encoding="utf-8"))):
            named = set().union(*(names_in(text(part)) for part in error.values())) | own_argument(error)
            seen += len(named)
            assert named <= known, f"{file.name}: {sorted(named - known)}"
    assert seen > 120


def raised(tree):
    """The texts of every error in code, by the name of the part."""
    for node in ast.walk(tree):
        name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        parts = {one.arg: one.value for one in getattr(node, "keywords", [])}
        if name in ERRORS | {"cls"} and "remedy" in parts:
            yield {part: value for part, value in parts.items() if part in ("expected", "remedy", "argument")}


def own_argument(error):
    value = error.get("argument")
    return {value.value} - {""} if isinstance(value, ast.Constant) else set()


def text(node):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(one) if isinstance(one, ast.Constant) else "…" for one in node.values)
    return " ".join(text(one) for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr))
