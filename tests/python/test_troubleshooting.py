"""The page on troubleshooting lists what the code says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from celloquy import errors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "vignettes" / "troubleshooting.Rmd"
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


def first_lines(tree: ast.Module) -> Iterator[str]:
    """Yield the first line of every error and warning, with an ellipsis for what differs from case to case."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in ERRORS:
            # Its class methods say `cls`.
            yield from (text(call.args[0]) for call in calls(node, {"cls"}))
    for call in calls(tree, ERRORS):
        if call.args:
            yield text(call.args[0])
    for call in calls(tree, {"warn"}):
        yield text(call.args[0])


def calls(tree: ast.AST, names: set[str]) -> list[ast.Call]:
    """Calls of these functions, methods or not."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if getattr(call.func, "attr", getattr(call.func, "id", "")) in names]


def text(message: ast.expr) -> str:
    """A string as the user would see it; empty where it is handed on from elsewhere."""
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    whole = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return "" if whole == "…" else whole.splitlines()[0]


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_every_error_and_warning_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8").splitlines()
    listed = {line.split("**")[1] for line in page if line.startswith("* **")}
    code = sorted((ROOT / "python").rglob("*.py"))
    said = {line for file in code for line in first_lines(ast.parse(file.read_text(encoding="utf-8")))} - {""}
    assert len(said) > 50
    assert sorted(said - listed) == []
