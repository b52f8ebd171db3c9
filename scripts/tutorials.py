"""Run the blocks of the tutorials in docs/tutorials, and put their figures there: python scripts/tutorials.py."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"


def run(page: Path) -> dict[str, Any]:
    """Run all Python blocks of a page, in their order, and return what they defined."""
    space: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(page), "exec"), space)
    return space


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        for page in sorted(FOLDER.glob("*.md")):
            run(page)
        for figure in Path(work).glob("*.png"):
            shutil.copy(figure, FOLDER)
        os.chdir(FOLDER)
