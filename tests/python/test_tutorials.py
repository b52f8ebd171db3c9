"""The tutorials run as they stand, and find what they tell."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"
TOLD = {
    "responses": lambda space: (
        min(space["found"].values()) > 0.5
        and set(space["null"].predict("drug b", doses=10).obs["method"]) == {"no change"}
    ),
}
"""What the text of each page says of its results."""


@pytest.mark.skipif(not PAGES.exists(), reason="needs the checkout")
@pytest.mark.parametrize("page", TOLD)
def test_a_tutorial_runs_and_finds_what_it_tells(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tutorial = PAGES / f"{page}.md"
    space = runpy.run_path(str(ROOT / "scripts" / "tutorials.py"))["run"](tutorial)
    assert TOLD[page](space)
    shown = re.findall(r"!\[.*?\]\((.*?)\)", tutorial.read_text(encoding="utf-8"))
    assert shown
    assert all((tmp_path / name).exists() and tutorial.with_name(name).exists() for name in shown)
