"""The house stands: imports run downwards without circles, families stay behind their wall, files hold one idea."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "celloquy"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room may use those below it, never one above; rooms of one row do not know each other.
FLOORS = (
    ("keys", "version", "errors"),
    ("checks",),
    ("genes", "runtime"),
    ("data",),
    ("nn", "evaluate", "plots"),
    ("models",),
    ("training",),
    ("tasks",),
    ("bridge", "seurat"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ANATOMY = {"embedder", "encoder", "latent", "decoder", "embed_expression", "latent_width"}

pytestmark = pytest.mark.skipif(not (PACKAGE / "version.py").exists(), reason="needs the checkout")


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports(file: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, also inside functions and for types alone."""
    known = {name_of(one) for one in FILES}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("celloquy.") for a in node.names if a.name.startswith("celloquy."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "celloquy":
            module = (node.module or "").removeprefix("celloquy").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield inner if inner in known else module


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_imports_nothing_from_a_room_above_its_own(file):
    room = room_of(name_of(file))
    if not room:
        return  # the package's own face shows all rooms
    for module in imports(file):
        # The command line calls the package's public functions.
        if not module and room in ("cli", "bridge"):
            continue
        assert module, "the package's own face stands above all rooms"
        other = room_of(module)
        assert other == room or FLOOR[other] < FLOOR[room], f"{name_of(file)} imports {module}"


def test_no_imports_run_in_a_circle():
    graph = {name_of(file): {one for one in imports(file) if one} - {name_of(file)} for file in FILES}
    # A package's face imports what lies in it, and the files in it do not import the face.
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            walk(other, (*path, module))
        done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("file", [one for one in FILES if room_of(name_of(one)) not in ("nn", "models")], ids=name_of)
def test_no_file_outside_the_families_knows_their_anatomy(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert not {node.attr for node in used} & ANATOMY
    # Tensors have a norm, too.
    assert not [node for node in used if node.attr == "norm" and ast.unparse(node.value).endswith("model")]
    families = {one.name for one in (PACKAGE / "models").iterdir() if one.is_dir()} - {"boxed"}
    assert not [one for one in imports(file) if any(one.startswith(f"models.{family}") for family in families)]


def test_no_file_asks_which_family_a_model_is_of():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                assert "family ==" not in ast.unparse(node), name_of(file)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_holds_one_idea_in_400_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
