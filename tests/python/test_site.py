"""The documentation site: every public name has its page, and a link that leads nowhere is found."""

import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import celloquy as cq

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api.md"

pytestmark = pytest.mark.skipif(not API.exists(), reason="needs the checkout")


def listed() -> list[str]:
    return re.findall(r"^   (\w[\w.]*)$", API.read_text(encoding="utf-8"), re.MULTILINE)


def found(name: str) -> object:
    place = cq
    for part in name.split("."):
        place = getattr(place, part)
    return place


def test_every_public_name_is_listed_once():
    names = listed()
    assert len(names) == len(set(names))
    objects = [found(name) for name in names]
    assert len({id(one) for one in objects}) == len(objects)
    rooms = [import_module(f"celloquy.{room}") for room in cq._MODULES]
    public = {name: getattr(cq, name) for name in cq.__all__ if name != "__version__"}
    public |= {f"{one.__name__}.{name}": getattr(one, name) for one in rooms for name in getattr(one, "__all__", ())}
    assert [name for name, one in public.items() if not any(one is other for other in objects)] == []


def test_rooms_without_a_list_of_names_are_shown_whole():
    shown = re.findall(r"automodule:: celloquy\.(\w+)", API.read_text(encoding="utf-8"))
    assert shown == ["errors", "keys"]


def test_version_is_the_same_wherever_it_stands():
    begins = {"CITATION.cff": "version: ", "DESCRIPTION": "Version: ", "NEWS.md": "# celloquy "}
    for file, line in begins.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf'^{line}([\d.]+)"?$', text, re.MULTILINE)[1] == cq.__version__, file
    assert (
        re.search(r"^## \[(.+)\]$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
        == cq.__version__
    )


def test_links_that_lead_nowhere_and_pages_that_need_the_network_are_found(tmp_path):
    faults = runpy.run_path(str(ROOT / "scripts" / "check_links.py"))["faults"]
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "index.html").write_text('<h1 id="top">R</h1><a href="../index.html#Here">up</a>')
    (tmp_path / "index.html").write_text(
        '<a name="Here" href="r/#top">R</a><a href="https://example.org">elsewhere</a>'
    )
    assert faults(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<a href="none.html">1</a><a href="r/index.html#bottom">2</a><script src="https://example.org/a.js"></script>'
    )
    assert faults(tmp_path) == [
        "bad.html links to none.html, which is not there",
        "bad.html links to r/index.html#bottom, which has no such place",
        "bad.html loads https://example.org/a.js",
    ]


def test_the_tour_of_the_command_line_runs(tmp_path):
    page = (ROOT / "docs" / "tour-command-line.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    start = f'set -e\nexport PATH="{Path(sys.executable).parent}:$PATH"\n'
    done = subprocess.run(["bash", "-c", start + lines], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"embedded.h5ad", "named.h5ad", "shifts.csv"} <= {file.name for file in tmp_path.iterdir()}
