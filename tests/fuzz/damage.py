"""Calls on damaged files, models and tasks: bytes flipped, parts cut off, keys removed, values changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np

import celloquy as cq
import trained
from cases import VERBS, check_result, describe, read_result
from files import command, ending_of, read, written
from judge import Wrong, watched
from specimens import bare, dressed


def flip_bytes(file: Path, random: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    for place in random.integers(0, len(content), random.integers(1, 30)):
        content[place] ^= int(random.integers(1, 256))
    file.write_bytes(content)


def truncate(file: Path, random: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: random.integers(0, len(content))])


def overwrite(file: Path, random: np.random.Generator) -> None:
    start = int(random.integers(0, file.stat().st_size))
    content = bytearray(file.read_bytes())
    content[start : start + 200] = random.bytes(200)
    file.write_bytes(content)


def change_keys(file: Path, random: np.random.Generator) -> None:
    """Remove, rename or retype elements of an h5ad file, or their attributes."""
    with h5py.File(file, "r+") as group:
        for _ in range(random.integers(1, 4)):
            names: list[str] = []
            group.visit(names.append)
            if not names:
                return
            name = names[random.integers(len(names))]
            element, kind = group[name], random.integers(6)
            if kind <= 1:
                del group[name]
            elif kind == 2 and len(element.attrs):
                del element.attrs[list(element.attrs)[random.integers(len(element.attrs))]]
            elif kind == 3 and len(element.attrs):
                odd = ["csr_matrix", "dataframe", "", 3, np.array([1, 2]), "categorical", "array", "\u00e9"]
                key = list(element.attrs)[random.integers(len(element.attrs))]
                element.attrs[key] = odd[random.integers(len(odd))]
            elif kind == 4:
                del group[name]
                odd = ["text", 5, np.zeros(0), np.zeros((3, 3)), np.array(["a"], dtype="S3"), np.zeros(4, complex)]
                group[name] = odd[random.integers(len(odd))]
            elif isinstance(element, h5py.Dataset) and element.shape:
                values = element[()]
                del group[name]
                stored = group.create_dataset(name, data=values[: len(values) // 2])
                stored.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def damage(file: Path, random: np.random.Generator) -> None:
    """Damage a file, or a file of a directory."""
    if file.is_dir():
        inside = sorted(one for one in file.rglob("*") if one.is_file())
        chosen = inside[random.integers(len(inside))]
        if random.random() < 0.3:
            chosen.unlink()
            return
        [flip_bytes, truncate, overwrite][random.integers(3)](chosen, random) if chosen.stat().st_size else None
        return
    [flip_bytes, truncate, overwrite, change_keys, change_keys][random.integers(5)](file, random)


def damaged_file(seed: int, folder: Path) -> str:
    """A verb on a damaged file: a result of the right form, or refused."""
    specimen = bare(seed) if seed % 2 else dressed(seed)
    specimen.finish = None
    random = specimen.random
    source = written(specimen, folder / f"cells{ending_of(random)}")
    damage(source, random)
    out = folder / "out.h5ad"
    quiet, options = trained.QUIET, specimen.options
    calls: list[Callable[[], Any]] = [
        lambda: cq.embed(source, model=trained.model(), out=out, **quiet, **options),
        lambda: cq.embed(source, model=trained.model(), out=out, **quiet, **options),
        lambda: cq.denoise(source, out=out, **trained.FAST, **options),
        lambda: cq.pretrain(source, **trained.FAST, **options),
        lambda: command(["genes", str(source)]),
        lambda: command(["integrate", str(source), "--batch-key", "batch", "-o", str(out), "--epochs", "1", "-q"]),
    ]
    ending = watched(calls[random.integers(len(calls))], folder=folder, makes=[out.name])
    if out.exists():
        read(out)
    return describe(specimen, ending)


def change_json(file: Path, random: np.random.Generator) -> None:
    """Remove, add or change values of a JSON file."""
    found = json.loads(file.read_text())
    odd = [None, -1, 0, 3, 1e9, "x", [], {}, True, 2.5, "nan", [1, 2], float("nan")]
    for _ in range(random.integers(1, 3)):
        place = found
        while isinstance(place, dict) and place:
            key = list(place)[random.integers(len(place))]
            if isinstance(place[key], dict) and place[key] and random.random() < 0.7:
                place = place[key]
                continue
            kind = random.integers(3)
            if kind == 0:
                del place[key]
            elif kind == 1:
                place[key] = odd[random.integers(len(odd))]
            else:
                place["unheard_of"] = 1
            break
    file.write_text(json.dumps(odd[random.integers(len(odd))] if random.random() < 0.1 else found))


def change_lines(file: Path, random: np.random.Generator) -> None:
    """Shuffle, double, drop or change lines of a table."""
    lines = file.read_text().splitlines()
    kind, first = random.integers(5), int(random.integers(len(lines) - 1))
    if kind == 0:
        lines[1:] = [lines[k] for k in 1 + random.permutation(len(lines) - 1)]
    elif kind == 1:
        lines.insert(first, lines[first])
    elif kind == 2:
        del lines[first]
    elif kind == 3:
        lines[first] = lines[first].replace("\t", " ")
    else:
        lines[first], lines[first + 1] = lines[first + 1], lines[first]
    file.write_text("\n".join(lines) + "\n")


def change_weights(file: Path, random: np.random.Generator) -> None:
    """Swap, drop, reshape or spoil weights."""
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    if not weights:
        flip_bytes(file, random)
        return
    name = sorted(weights)[random.integers(len(weights))]
    kind = random.integers(5)
    if kind == 0:
        del weights[name]
    elif kind == 1:
        weights[name] = weights[name].reshape(-1)[:1].clone()
    elif kind == 2 and weights[name].is_floating_point():
        weights[name] = weights[name] * float("nan")
    elif kind == 3:
        weights[name] = weights[name].double()
    else:
        alike = [one for one in sorted(weights) if weights[one].shape == weights[name].shape and one != name]
        if alike:
            other = alike[random.integers(len(alike))]
            weights[name], weights[other] = weights[other], weights[name]
        else:
            weights[name] = weights[name] + 1
    save_file(weights, file, metadata={"format": "pt"})


def damaged_checkpoint(seed: int, folder: Path) -> str:
    """A saved model or task with a changed file: as before, or refused."""
    specimen = bare(seed)
    random = specimen.random
    kinds = {
        "model": (cq.CellModel, "embed"),
        "annotator": (cq.Annotator, "annotate"),
        "denoiser": (cq.Denoiser, "denoise"),
        "integrator": (cq.Integrator, "integrate"),
        "imputer": (cq.Imputer, "impute"),
    }
    name = list(kinds)[random.integers(len(kinds))]
    kind, verb = kinds[name]
    directory = folder / name
    shutil.copytree(trained.all_of_them() / name, directory)
    files = sorted(one for one in directory.iterdir() if one.name != "README.md")
    file = files[random.integers(len(files))]
    fitting = {".json": change_json, ".tsv": change_lines, ".safetensors": change_weights}[file.suffix]
    general = [flip_bytes, truncate, overwrite, lambda one, _: one.unlink(), lambda one, _: one.write_bytes(b"")]
    change = fitting if random.random() < 0.6 else general[random.integers(len(general))]
    change(file, random)
    cells = specimen.plain()

    def call() -> ad.AnnData | None:
        if name == "model":
            return cq.embed(cells, model=directory, copy=True, **trained.QUIET)
        return trained.reading(kind.load(directory), {}).predict(cells, copy=True)

    try:
        ending = watched(call, unchanged=[cells], folder=folder)
        if ending.error is None:
            check_result(specimen, verb, read_result(ending.value, VERBS[verb][1]))
        elif not isinstance(ending.error, cq.errors.CheckpointError):
            raise Wrong(f"an error of another kind: {ending.error}")
    except Wrong as wrong:
        raise Wrong(f"{name}/{file.name} after {getattr(change, '__name__', '')}: {wrong}") from wrong
    return describe(specimen, ending)


CASES: list[tuple[int, Callable[[int, Path], str]]] = [(7, damaged_file), (9, damaged_checkpoint)]
"""Cases with their weights."""
