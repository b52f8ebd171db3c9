"""The documentation site: Sphinx, from docs/, docstrings, the command line and man/; ``make site`` adds R's pages."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from typer.testing import CliRunner

from celloquy import cli
from celloquy.version import VERSION

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = "celloquy"
author = "celloquy authors"
copyright = author
version = release = VERSION

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style"), "Returns"]  # what is returned is told in prose and tables
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
copybutton_exclude = ".linenos, .gp, .go"

# Public names have a page; other projects' have none, because building needs no network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!celloquy\.(\w+\.)?\w+$).*")]

html_theme = "sphinx_book_theme"
html_title = f"celloquy {VERSION}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

# Files elsewhere in the repository that are pages of the site.
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "benchmarks/RESULTS.md": "benchmarks/speed",
    "benchmarks/quality/RESULTS.md": "benchmarks/cells",
    "benchmarks/genes/RESULTS.md": "benchmarks/genes",
    "benchmarks/responses/RESULTS.md": "benchmarks/responses",
    "docs/tutorials": "tutorials/index",
}


def link(text: str, folder: Path) -> str:
    """Turn the links of a Markdown file, which lead through the repository, into links within the site."""

    def turned(match: re.Match[str]) -> str:
        path, mark, anchor = match[1].partition("#")
        target = os.path.relpath(folder / path, ROOT)
        if target in PAGES:
            return f"](/{PAGES[target]}.md{mark}{anchor})"
        return f"]({os.path.join('/', os.path.relpath(ROOT / target, DOCS))}{mark}{anchor})"

    return re.sub(r"\]\((?!\w+:|#|/)([^)\s]+)\)", turned, text)


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    """Take up a page of docs/."""
    file = Path(app.env.doc2path(page))
    if file.suffix == ".md":
        content[0] = link(content[0], file.parent)


def read_included(app: Sphinx, file: Path, page: str, content: list[str]) -> None:
    """Take up a file that a page includes."""
    content[0] = link(content[0], (DOCS / file).parent)


def write_commands(app: Sphinx) -> None:
    """Write the page of the command line, which is the help of its commands."""

    def help_of(*command: str) -> str:
        return runner.invoke(cli.app, [*command, "--help"], prog_name="celloquy").output

    runner = CliRunner(env={"COLUMNS": "100"})
    whole = help_of()
    names = re.findall(r"^  (\w+)  ", whole.partition("Commands:")[2], re.MULTILINE)
    parts = ["# Command line", f"```text\n{whole}```"]
    for name in names:
        parts += [f"## celloquy {name}", f"```text\n{help_of(name)}```"]
    write("commands.md", parts)


def write_r(app: Sphinx) -> None:
    """Write the page of R's functions, so that the search finds them."""
    rows = []
    for file in sorted((ROOT / "man").glob("*.Rd")):
        text = file.read_text(encoding="utf-8")
        title = re.sub(r"\\\w+\{(.*?)\}", r"\1", re.search(r"\\title\{(.*)\}", text)[1])
        names = re.findall(r"\\alias\{(\w+)\}", text)
        linked = ", ".join(f'<a href="../r/reference/{file.stem}.html">`{name}()`</a>' for name in names)
        if r"\keyword{internal}" not in text:
            rows.append(f"| {linked} | {title} |")
    write("r.md", ["# R functions", "| function | what it does |\n|---|---|\n" + "\n".join(rows)])


def write(name: str, parts: list[str]) -> None:
    """Write a generated page, only if it is new: Sphinx reads again what has changed."""
    page, text = DOCS / "generated" / name, "\n\n".join(parts) + "\n"
    page.parent.mkdir(exist_ok=True)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def say_what_data_are(_: Sphinx, what: str, name: str, value: object, __: object, lines: list[str]) -> None:
    """Give a constant that is imported into a room the words that stand beside it where it is defined."""
    room, _, constant = name.rpartition(".")
    folders = getattr(import_module(room), "__path__", ()) if what == "data" else ()
    for file in sorted(file for folder in folders for file in Path(folder).glob("[!_]*.py")):
        said = ModuleAnalyzer.for_module(f"{room}.{file.stem}").find_attr_docs()
        if ("", constant) in said:
            lines[:] = said["", constant]


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("autodoc-process-docstring", say_what_data_are)
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.connect("builder-inited", write_commands)
    app.connect("builder-inited", write_r)
