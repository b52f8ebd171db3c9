"""Calls on files, backed objects, and the command line."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from typer.testing import CliRunner

import celloquy as cq
import trained
from cases import VERBS, check_end, check_result, describe, read_result
from celloquy.cli import app
from judge import NoObject, Wrong, watched
from specimens import End, Specimen, dressed


def written(specimen: Specimen, file: Path) -> Path:
    """Write a specimen to a file, without what anndata can't write.

    Raises
    ------
    NoObject
        If anndata can't write the rest either.
    """
    try:
        return write(specimen, file)
    except NoObject:
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    keys = set(specimen.options.values()) if all(map(is_text, specimen.options.values())) else set()
    specimen.uns = {}
    for place in (specimen.obsm, specimen.layers, specimen.varm, specimen.obsp):
        for key in place.keys() - keys - {"spatial"}:
            del place[key]
    specimen.obs = specimen.obs[[name for name in specimen.obs if name in keys or name in ("batch", "label")]].copy()
    specimen.var = specimen.var[[name for name in specimen.var if name == "feature_types"]].copy()
    specimen.obs.index.name = specimen.var.index.name = None
    return write(specimen, file)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def write(specimen: Specimen, file: Path) -> Path:
    adata = specimen.build()
    options = {} if file.suffix == ".zarr" else {"compression": [None, "gzip", "lzf"][specimen.random.integers(3)]}
    try:
        with warnings.catch_warnings(action="ignore"):
            (adata.write_zarr if file.suffix == ".zarr" else adata.write_h5ad)(file, **options)
    except Exception as error:
        raise NoObject(str(error)) from error
    return file


def read(file: Path) -> ad.AnnData:
    with warnings.catch_warnings(action="ignore"):
        return ad.read_zarr(file) if file.suffix == ".zarr" else ad.read_h5ad(file)


def is_readable(file: Path) -> bool:
    """Whether anndata reads what it wrote, which it does not for some names."""
    try:
        read(file)
    except Exception:
        return False
    return True


def ending_of(random: np.random.Generator) -> str:
    """Nearly always h5ad, because zarr takes ten times as long to write."""
    return ".zarr" if random.random() < 0.04 else ".h5ad"


# --- whole files -----------------------------------------------------------------------------------------------------
def from_file(seed: int, folder: Path) -> str:
    """Embed from file to file: the result of the plain cells."""
    specimen = dressed(seed)
    source, out = written(specimen, folder / f"cells{ending_of(specimen.random)}"), folder / "out.h5ad"
    options = specimen.options | trained.QUIET
    random = specimen.random
    if random.random() < 0.2:
        options |= {"batch_size": int(random.integers(1, 9)), "max_memory": int(random.integers(1, 10**6))}
        # Less than the model takes is refused.
        specimen.ends["max_memory"] = End.EITHER
    ending = watched(
        lambda: cq.embed(source, model=trained.model(), out=out, **options), folder=folder, makes=[out.name]
    )
    if ending.error is None or is_readable(source):
        check_end(specimen, ending)
    if ending.error is None:
        check_result(specimen, "embed", read_result(read(out), "X_celloquy"))
    return describe(specimen, ending)


def backed(seed: int, folder: Path) -> str:
    """A verb on an object that lies in a file."""
    specimen = dressed(seed)
    specimen.finish = None
    source = written(specimen, folder / "cells.h5ad")
    random = specimen.random
    try:
        with warnings.catch_warnings(action="ignore"):
            adata = ad.read_h5ad(source, backed="r")
    except Exception as error:
        raise NoObject(str(error)) from error
    try:
        verb = list(VERBS)[random.integers(len(VERBS))]
        call, key = VERBS[verb]
        out = {"out": folder / "out.h5ad"} if verb in ("embed", "denoise") and random.random() < 0.5 else {}
        ending = watched(lambda: call(adata, specimen.options | out), folder=folder, makes=["out.h5ad"])
        check_end(specimen, ending)
        if ending.error is None:
            check_result(specimen, verb, read_result(read(folder / "out.h5ad") if out else adata, key))
    finally:
        adata.file.close()
    return describe(specimen, ending)


def command(arguments: list[str]) -> None:
    """Run a command in this process; its refusal becomes the error that it stands for.

    Raises
    ------
    ArgumentError
        If the command refused, or typer its options.
    Wrong
        If it ended in another way.
    """
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code in (1, 2):
        text = result.output.strip()
        if result.exit_code == 1 and ("celloquy: " not in text or "Fix: " not in text or "Traceback" in text):
            raise Wrong(f"celloquy {' '.join(arguments)} said {text!r}")
        raise cq.errors.ArgumentError("The command refused.", found=text[:300], remedy="read it.")
    if result.exit_code:
        raise Wrong(f"celloquy {' '.join(arguments)} ended with {result.exit_code}: {result.output}")


def command_line(seed: int, folder: Path) -> str:
    """A command on a file, with a task that is read or fitted, and options of all kinds."""
    specimen = dressed(seed)
    random = specimen.random
    specimen.finish = None
    source = written(specimen, folder / f"cells{ending_of(random)}")
    # What the one format holds the other may not.
    out, saved = folder / f"out{source.suffix}", trained.all_of_them()
    options = []
    for name, value in specimen.options.items():
        options += [f"--{name.replace('_', '-')}", str(value)] if isinstance(value, str) else []
    given = len(options) == 2 * len(specimen.options)
    verb = ["embed", "annotate", "denoise", "integrate", "impute", "genes", "info", "pretrain"][random.integers(8)]
    fitted = {
        "embed": ["--model", saved / "model"], "annotate": ["--annotator", saved / "annotator"],
        "denoise": ["--denoiser", saved / "denoiser"], "integrate": ["--integrator", saved / "integrator"],
        "impute": ["--imputer", saved / "imputer"],
    }  # fmt: skip
    makes = [out.name]
    if verb in fitted:
        arguments = [verb, source, "-o", out, *fitted[verb], "-q", *options]
    elif verb == "genes":
        arguments = ["genes", source, "-o", folder / "genes.csv"]
        makes = ["genes.csv"]
    elif verb == "info":
        arguments = ["info", saved / ["model", "annotator", "nowhere"][random.integers(3)]]
    else:
        config = trained.CONFIG
        arguments = ["pretrain", source, "-o", folder / "model", "--epochs", 1, "-q", *options]
        assert config is not None
        makes = ["model"]
    odd = random.random() < 0.25
    if odd:
        more = [
            ["--batch-size", "0"], ["--seed", "-1"], ["--device", "tpu"], ["--species", "fly"], ["--epochs", "x"],
            ["--layer", ""], ["--key-added", "a/b"], ["--nonsense"], ["--top-k", "99"], ["--precision", "int4"],
            ["-o", folder], ["-o", folder / "out.csv"], ["-o", "/proc/out.h5ad"], ["-o", source],
        ]  # fmt: skip
        chosen = more[random.integers(len(more))]
        arguments += [] if chosen[-1] == source and verb == "info" else chosen
        if chosen[-1] == source:
            makes += [source.name]
        elif verb in ("pretrain", "genes"):
            makes += ["out.csv"]
    try:
        ending = watched(lambda: command([str(one) for one in arguments]), folder=folder, makes=makes)
    except Wrong as wrong:
        raise Wrong(f"celloquy {' '.join(map(str, arguments))}: {wrong}") from wrong
    if ending.error is not None or odd or verb in ("genes", "info", "pretrain"):
        if (
            ending.error is not None
            and specimen.end is End.RESULT
            and not odd
            and verb in fitted
            and is_readable(source)
        ):
            raise Wrong(f"plain cells were refused: {ending.error}")
        return describe(specimen, ending)
    if given:
        check_end(specimen, ending)
    check_result(specimen, verb, read_result(read(out), VERBS[verb][1])) if given else None
    return describe(specimen, ending)


CASES: list[tuple[int, Callable[[int, Path], str]]] = [
    (5, from_file),
    (4, backed),
    (5, command_line),
]
"""Cases with their weights."""
