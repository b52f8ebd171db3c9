"""Kill calls that write files at random moments: the same call again ends with the same bytes, and leaves nothing else.

``make fuzz-kills N=150 SEED=1`` runs 150 kills. A result in place is always whole: the older one or the new one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

for place in ("python", "fuzz"):
    sys.path.insert(0, str(Path(__file__).parents[1] / place))

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from tqdm import tqdm  # noqa: E402

import celloquy as cq  # noqa: E402
import trained  # noqa: E402
from celloquy.bridge.files import write_h5ad  # noqa: E402
from celloquy.cli import app  # noqa: E402
from celloquy.data.store import opened_store  # noqa: E402
from celloquy.models.directory import UNFINISHED  # noqa: E402
from specimens import bare  # noqa: E402

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
CLOCK = ("seconds", "waited", "date")
"""What the same call writes differently: when it ran, and how long."""


def embed(folder: Path) -> None:
    options = {"tissue_key": "sample", "batch_size": 4, **trained.QUIET}
    cq.embed(folder / "cells.h5ad", model=trained.model(), out=folder / "out.h5ad", **options)


def embed_to_zarr(folder: Path) -> None:
    cq.embed(folder / "cells.h5ad", model=trained.model(), out=folder / "out.zarr", batch_size=4, **trained.QUIET)


def denoise(folder: Path) -> None:
    cq.denoise(folder / "cells.h5ad", out=folder / "out.h5ad", return_std=True, **trained.FAST)


def pretrain(folder: Path) -> None:
    options = trained.FAST | {"epochs": 6}
    cq.pretrain(folder / "cells.h5ad", out=folder / "model", overwrite=True, **options)


def save_task(folder: Path) -> None:
    trained.annotator().save(folder / "task", overwrite=True)


def convert(folder: Path) -> None:
    write_h5ad(trained.reference(), str(folder / "out.h5ad"), compression="gzip")


def annotate(folder: Path) -> None:
    saved, out = trained.all_of_them() / "annotator", folder / "out.h5ad"
    arguments = ["annotate", folder / "cells.h5ad", "-o", out, "--annotator", saved, "-q", "--device", "cpu"]
    app([str(one) for one in arguments], standalone_mode=False)


CALLS: dict[Callable[[Path], None], str] = {
    embed: "out.h5ad", embed_to_zarr: "out.zarr", denoise: "out.h5ad", pretrain: "model", save_task: "task",
    convert: "out.h5ad", annotate: "out.h5ad",
}  # fmt: skip
"""Calls, and the file or directory that each writes."""


def content(path: Path) -> dict[str, str]:
    """Hashes of all that a result holds, without the clock's."""
    if path.is_file():
        return content_of_file(path)
    # What is in that folder is not taken for a result.
    files = sorted(one for one in path.rglob("*") if one.is_file() and UNFINISHED not in one.parts)
    found = {}
    for file in files:
        found |= {f"{file.relative_to(path)}:{name}": value for name, value in content_of_file(file).items()}
    return found


def content_of_file(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    if path.suffix == ".h5ad":
        with h5py.File(path) as file:

            def visit(name: str, element: Any) -> None:
                if name.split("/")[-1] not in CLOCK:
                    value = element[()] if isinstance(element, h5py.Dataset) else b""
                    found[name] = hashed(np.asarray(value).tobytes() if not is_text(value) else repr(value).encode())

            file.visititems(visit)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="np") as file:
            found = {name: hashed(file.get_tensor(name).tobytes()) for name in file.keys()}  # noqa: SIM118
    elif path.suffix == ".csv":
        table = pd.read_csv(path) if path.stat().st_size else pd.DataFrame()
        found[""] = hashed(table.drop(columns=[name for name in CLOCK if name in table]).to_csv().encode())
    elif any(one in path.parts for one in CLOCK) or path.name == "README.md":
        found[""] = "as the clock has it"
    elif path.name in ("task.json", "config.json", "zarr.json"):
        found[""] = hashed(json.dumps(without_clock(json.loads(path.read_text()))).encode())
    else:
        found[""] = hashed(path.read_bytes())
    return found


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        # The hash of a file that holds the clock's time is another each time.
        return {
            key: without_clock(one) for key, one in value.items() if key not in (*CLOCK, "files", "sha256", "hashes")
        }
    return value


def is_text(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "O"


def hashed(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def run(call: Callable[[Path], None], folder: Path, *, after: float | None = None, by: int = 0) -> int:
    """Run a call in a process of its own, kill it after some seconds, and return the status of the process."""
    child = os.fork()
    if not child:
        tempfile.tempdir = str(folder / "tmp")
        os.environ["XDG_CACHE_HOME"] = str(folder / "tmp")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warnings.simplefilter("ignore")
        try:
            call(folder)
        except BaseException as error:
            (folder.parent / "error").write_text(f"{type(error).__name__}: {error}")
            os._exit(2)
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, by)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fresh(folder: Path, name: str, older: Path | None) -> Path:
    """A folder with the input, and perhaps an older result."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    cells = cells_to_read()
    with warnings.catch_warnings(action="ignore"):
        cells.write_h5ad(folder / "cells.h5ad")
    if older is not None:
        (shutil.copytree if older.is_dir() else shutil.copyfile)(older, folder / name)
    return folder


def cells_to_read() -> Any:
    specimen = bare(5, cells=90)
    adata = specimen.plain()
    adata.obs["sample"] = specimen.obs["donor"].astype(str).to_numpy()
    return adata


def kill_once(call: Callable[[Path], None], seed: int, scratch: Path, known: dict[str, Any]) -> str:
    """Kill a call once and run it again; return what was wrong."""
    random, name = np.random.default_rng(seed), CALLS[call]
    older = known["older"] if random.random() < 0.5 else None
    folder = fresh(scratch / "work", name, older)
    before = {"cells.h5ad", "tmp"}
    by = SIGNALS[random.integers(len(SIGNALS))]
    status = run(call, folder, after=float(random.uniform(0, 1.1) * known["seconds"]), by=by)
    where = (
        f"{call.__name__} after {signal.Signals(by).name} (status {status}, {'with' if older else 'no'} older result)"
    )
    target = folder / name
    if target.exists():
        # Reading a model finishes a save that had all its files.
        model = is_a_model(target)
        held = content(target)
        whole = held in (known["content"], known["older content"] if older is not None else {})
        # A training that is interrupted leaves the best model so far.
        if not whole and not (call is pretrain and model):
            return f"{where}: something half-written is taken for a result"
    elif older is not None and status != 0:
        return f"{where}: the older result is gone"
    if run(call, folder):
        return f"{where}: the same call failed: {(scratch / 'error').read_text()}"
    if odd := [name for name, _ in content(target).items() ^ known["content"].items()]:
        return f"{where}: the same call ended with another result: {sorted(set(odd))[:5]}"
    if (target / UNFINISHED).exists():
        return f"{where}: left {UNFINISHED} in the result"
    if left := {one.name for one in folder.iterdir()} - before - {name}:
        return f"{where}: left behind: {sorted(left)}"
    if left := [one.name for one in (folder / "tmp").iterdir() if one.name != "celloquy"]:
        return f"{where}: left among temporary files: {left}"
    return ""


def is_a_model(directory: Path) -> bool:
    try:
        cq.Model.from_pretrained(directory)
    except cq.errors.CelloquyError:
        return False
    return True


def prepare(call: Callable[[Path], None], scratch: Path) -> dict[str, Any]:
    """What an undisturbed call makes, how long it takes, and an older result."""
    name = CALLS[call]
    folder = fresh(scratch / "known", name, None)
    if run(call, folder):
        raise RuntimeError(f"{call.__name__}: {(scratch / 'error').read_text()}")
    expected = content(folder / name)
    began = time.monotonic()
    run(call, folder)
    seconds = time.monotonic() - began
    older = scratch / f"older-{call.__name__}-{name}"
    (shutil.copytree if (folder / name).is_dir() else shutil.copyfile)(folder / name, older)
    make_older(older)
    return {"content": expected, "seconds": seconds, "older": older, "older content": content(older)}


def make_older(path: Path) -> None:
    """Make a result another, whole one."""
    if path.is_file():
        with h5py.File(path, "r+") as file:
            file["uns"].attrs["older"] = 1
            file["uns"]["older"] = 1
    elif (path / "config.json").exists():
        model = cq.Model.from_pretrained(path)
        with torch.no_grad():
            next(iter(model.parameters())).add_(1)
        model.save(path, overwrite=True)
    else:
        with opened_store(path, "r+") as group:
            group["uns"].attrs["older"] = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=150, help="number of kills")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The usual lock of progress bars is one of all forked processes, and stays locked when its holder is killed.
    tqdm.set_lock(threading.RLock())
    warnings.simplefilter("ignore")
    trained.all_of_them()
    scratch = Path(tempfile.mkdtemp(prefix="kills-"))
    calls, counts, failed = list(CALLS), Counter[str](), list[int]()
    try:
        known = {call: prepare(call, scratch) for call in calls}
        for seed in range(options.seed, options.seed + options.n):
            call = calls[seed % len(calls)]
            counts[call.__name__] += 1
            if wrong := kill_once(call, seed, scratch, known[call]):
                failed.append(seed)
                print(f"seed {seed}: {wrong}", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(
        f"{options.n} kills ({', '.join(f'{n} {name}' for name, n in counts.items())}): {len(failed)} failures {failed}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
