"""Check a built site: every link within it leads somewhere, and no page needs the network: check_links.py FOLDER."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """A page's anchors, what it links to, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        said = {name: value or "" for name, value in attrs}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        if tag in ("a", "area") and "href" in said:
            self.links.append(said["href"])
        elif tag == "link" and said.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.loads.append(said["href"])
        elif "src" in said:
            self.loads.append(said["src"])


def faults(folder: Path) -> list[str]:
    """List what is wrong, a line each."""
    files = [file for file in sorted(folder.rglob("*.html")) if "_static" not in file.parts]  # templates of a theme
    pages = {file.resolve(): Page(file) for file in files}
    found = []
    for file, page in pages.items():
        for url in [*page.links, *page.loads]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                if url in page.loads and parts.scheme != "data":
                    found.append(f"{file.relative_to(folder.resolve())} loads {url}")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.exists():
                found.append(f"{file.relative_to(folder.resolve())} links to {url}, which is not there")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{file.relative_to(folder.resolve())} links to {url}, which has no such place")
    return found


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(bool(wrong))
