"""The environment of the packages that tasks are measured against, and runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celloquy" / "quality"

# CellTypist passes an argument that scikit-learn 1.8 no longer takes.
PACKAGES = ("scvi-tools==1.4.2", "celltypist==1.7.1", "scikit-learn<1.8", "harmonypy==2.1.0", "scib-metrics==0.5.10")


def environment() -> Path:
    """Make the environment, if need be, and return its Python."""
    folder = CACHE / "venv"
    python, stamp = folder / "bin" / "python", folder / "installed"
    torch = f"torch=={version('torch').split('+')[0]}"
    wanted = "\n".join([torch, *PACKAGES])
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"Installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    index = ["--index-url", os.environ["TORCH_INDEX"]] if "TORCH_INDEX" in os.environ else []
    for packages in ([*index, torch], PACKAGES):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return python


def run(script: str, *arguments: object) -> None:
    """Run a script of this folder in the environment, on one thread."""
    ended = subprocess.run(
        [environment(), HERE / script, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        sys.exit(f"{script} {' '.join(map(str, arguments))} failed.\n{ended.stderr[-3000:]}")


def date_of(file: Path) -> str:
    """Return the day on which a run that is kept was measured."""
    return f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d}"


def with_earlier(runs: pd.DataFrame, file: Path, by: Sequence[str]) -> pd.DataFrame:
    """Add the runs of the table before that the cache folder no longer holds.

    Parameters
    ----------
    runs
        What the cache folder holds, one run a row.
    file
        The table before.
    by
        Columns that tell runs apart.
    """
    if not file.is_file():
        return runs
    return pd.concat([runs, pd.read_csv(file)], ignore_index=True).drop_duplicates(list(by))


def days(runs: pd.DataFrame, methods: Iterable[str]) -> str:
    """Return when the runs of each method were measured, in words."""
    together: dict[str, list[str]] = {}
    for method in methods:
        measured = sorted(runs.loc[runs["method"] == method, "measured"])
        if measured:
            span = measured[0] if measured[0] == measured[-1] else f"{measured[0]} to {measured[-1]}"
            together.setdefault(span, []).append(method)
    return "; ".join(f"{', '.join(found)} {span}" for span, found in together.items())
