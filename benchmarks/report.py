"""RESULTS.md, assembled from one fragment a section in ``results/``, so that each script renews its own."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"

HEADER = """# Benchmarks

Assembled by `benchmarks/report.py` from the fragments in `results/`; change those, or the scripts that write them, not
this file. Every section says by which command, when and on which machine it was measured.
"""


def write_section(
    name: str, title: str, body: str, *, command: str, caption: str | None = None, folder: Path = RESULTS
) -> None:
    """Write the fragment ``name`` (such as ``10-embed``) and assemble all of them anew.

    Parameters
    ----------
    name
        Sorts the sections.
    title, body
        Heading and Markdown of the section.
    command
        What to type to measure it again.
    caption
        What stands after the command and the date; by default the machine.
    folder
        Where the fragments are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine() if caption is None else caption}."
    (folder / f"{name}.md").write_text(f"## {title}\n\n{made}\n\n{body.strip()}\n", encoding="utf-8")
    assemble(folder)


def assemble(folder: Path = RESULTS) -> Path:
    """Write ``RESULTS.md`` beside the folder from the fragments in it, and return its path."""
    fragments = [file.read_text(encoding="utf-8").strip() for file in sorted(folder.glob("*.md"))]
    target = folder.parent / "RESULTS.md"
    target.write_text("\n\n".join([HEADER.strip(), *fragments]) + "\n", encoding="utf-8")
    return target


def fingerprint(files: Iterable[Path]) -> str:
    """Return what tells whether a measurement that was kept is of the present code, from the files that it rests on."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """Return the processor, its cores and the memory, in words."""
    # Linux alone tells the name of the processor and whether it multiplies in bfloat16.
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    units = [flag.replace("_", "-").upper() for flag in ("avx512_bf16", "amx_bf16") if f" {flag}" in text]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [names[0] if names else platform.processor() or platform.machine(), f"{cores()} cores", *units]
    return ", ".join([*parts, f"{memory:.0f} GiB memory"])


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    print(assemble())
