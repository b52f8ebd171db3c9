"""What the benchmarks of denoising and imputation share: the peers' environment, runs that are kept, tables, plots."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from scipy import sparse

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import peers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import report

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celloquy" / "quality-expression"
DATA = HERE.parents[2] / "shared" / "data"

# torch first and alone, as scripts/venv does; the versions that were measured.
PACKAGES = (["torch==2.13.0"], ["scvi-tools==1.4.2", "magic-impute==3.0.0", "tangram-sc==1.0.4"])

OURS = "celloquy"


def options(description: str | None, datasets: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with scrna/ and spatial/")
    parser.add_argument("--datasets", nargs="*", default=list(datasets))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="*", help="only these; the table shows all that were ever measured")
    parser.add_argument("--ablations", action="store_true", help="the published ablations, on the first data set")
    parser.add_argument("--keep", action="store_true", help="measure nothing again because the code has changed")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def peer_python() -> Path:
    """Make the peers' environment, if need be, and return its Python."""
    folder = CACHE / "venv"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = repr(PACKAGES)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"Installing the peers into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    for packages in PACKAGES:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return python


class Runs:
    """Measurements of one task, each kept in a file, so that an interrupted benchmark goes on where it was.

    Parameters
    ----------
    task
        ``"denoising"`` or ``"imputation"``.
    threads
        Threads of every method.
    keep
        Take what other code has measured, too.
    """

    def __init__(self, task: str, threads: int, *, keep: bool) -> None:
        self.task, self.folder, self.threads, self.keep = task, CACHE / task, threads, keep
        self.folder.mkdir(parents=True, exist_ok=True)

    def once(self, key: Mapping[str, Any], measure: Callable[[], dict[str, float]]) -> None:
        """Measure, unless the same was measured before with the same code; prints what came out."""
        name = "-".join(str(value) for value in key.values()).replace(" ", "_")
        file = self.folder / f"{name}.json"
        code = code_of(str(key["method"]))
        if file.is_file() and (self.keep or json.loads(file.read_text())["code"] == code):
            return
        began = time.perf_counter()
        figures = measure()
        figures.setdefault("seconds", time.perf_counter() - began)
        file.write_text(json.dumps({"code": code, **key, **figures}))
        shown = {name: round(figure, 4) for name, figure in figures.items()}
        print(", ".join(map(str, key.values())), shown, file=sys.stderr, flush=True)

    def peer(self, method: str, arrays: Mapping[str, Any], seed: int) -> tuple[np.ndarray, float]:
        """Return what a peer made of a task, and its seconds, the start of its process included."""
        python = peer_python()
        with tempfile.TemporaryDirectory() as folder:
            task, result = Path(folder) / "task.npz", Path(folder) / "result.npz"
            np.savez(task, seed=seed, threads=self.threads, **arrays)
            threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
            command = [python, HERE / "expression_peers.py", method, task, result]
            began = time.perf_counter()
            ran = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)
            if ran.returncode:
                raise RuntimeError(f"{method} failed:\n{ran.stderr[-2000:]}")
            return np.load(result)["values"], time.perf_counter() - began

    def frame(self) -> pd.DataFrame:
        """Return all measurements, one a row, and write them beside the report.

        Those that the cache folder no longer holds are of the table before.
        """
        kept = [
            {"measured": peers.date_of(file), **json.loads(file.read_text())}
            for file in sorted(self.folder.glob("*.json"))
        ]
        target, key = RESULTS / f"{self.task}.csv", ["data", "method", "seed"]
        runs = (
            peers.with_earlier(pd.DataFrame(kept), target, key).drop(columns="code", errors="ignore").sort_values(key)
        )
        runs.to_csv(target, index=False, float_format="%.5g")
        return runs


def code_of(method: str) -> str:
    """A fingerprint of the code that a measurement depends on: ours, or the peers'."""
    ours = method.startswith(OURS)
    files = [*(HERE.parents[1] / "python").rglob("*.py")] if ours else [HERE / "expression_peers.py"]
    # The command line and the pictures can't change a figure.
    files = [file for file in files if not {"cli", "plots"} & set(file.parts)]
    return report.fingerprint(files)[:16]


def as_arrays(name: str, matrix: Any) -> dict[str, Any]:
    """A sparse matrix as arrays for a peer."""
    csr = sparse.csr_matrix(matrix)
    return {
        f"{name}_data": csr.data.astype(np.float32),
        f"{name}_indices": csr.indices,
        f"{name}_indptr": csr.indptr,
        f"{name}_shape": np.array(csr.shape),
    }


def table(frame: pd.DataFrame, figures: Mapping[str, bool], methods: Collection[str] = (), digits: int = 3) -> str:
    """A Markdown table with a row for every method: mean ± standard deviation over seeds, the best in bold.

    Parameters
    ----------
    frame
        Measurements of one data set.
    figures
        Column → whether higher is better.
    methods
        What should be in the table, and is named where it is not.
    digits
        Of the figures.
    """
    groups = frame.groupby("method")
    mean, spread = groups[list(figures)].mean(), groups[list(figures)].std()
    first = next(iter(figures))
    lines = [["method", *figures, "seconds", "seeds"], ["---", *["---:"] * (len(figures) + 2)]]
    for method in mean.sort_values(first, ascending=not figures[first]).index:
        row = [str(method)]
        for name, higher in figures.items():
            best = mean[name].max() if higher else mean[name].min()
            text = f"{mean.loc[method, name]:.{digits}f}"
            if groups.size()[method] > 1:
                text += f" ± {spread.loc[method, name]:.{digits}f}"
            row.append(f"**{text}**" if mean.loc[method, name] == best else text)
        row += [f"{groups['seconds'].mean()[method]:.0f}", str(groups.size()[method])]
        lines.append(row)
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    missing = sorted(set(methods) - set(mean.index))
    return f"{text}\n\nNot measured yet: {', '.join(missing)}." if missing else text


def plot(frame: pd.DataFrame, figures: Mapping[str, bool], file: Path) -> None:
    """Draw a panel for every data set and figure: a point for every seed, a line at the mean."""
    datasets = list(frame["data"].unique())
    _, axes = plt.subplots(
        len(datasets), len(figures), figsize=(4.2 * len(figures), 2.6 * len(datasets)), squeeze=False
    )
    for row, dataset in zip(axes, datasets, strict=True):
        part = frame[frame["data"] == dataset]
        for axis, (name, higher) in zip(row, figures.items(), strict=True):
            means = part.groupby("method")[name].mean().sort_values(ascending=higher)
            for place, method in enumerate(means.index):
                colour = "tab:red" if str(method) == OURS else "tab:grey"
                values = part.loc[part["method"] == method, name]
                axis.plot(values, np.full(len(values), place), "o", color=colour, alpha=0.6, markersize=4)
                axis.plot(means[method], place, "|", color=colour, markersize=16, markeredgewidth=2)
            axis.set_yticks(range(len(means)), means.index)
            axis.set_title(f"{dataset}: {name} ({'higher' if higher else 'lower'} is better)", fontsize=9)
    plt.tight_layout()
    plt.savefig(file, dpi=130)
    plt.close()
