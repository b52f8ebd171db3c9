"""The environment of the packages that tasks are measured against, and runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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
