"""Inputs that are checked once: what is known of a file beside its counts, kept in the cache folder."""

from __future__ import annotations

import ast
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from celloquy import errors
from celloquy.data import CellColumns, CellSource
from celloquy.data.columns import codes
from celloquy.data.matrix import CountRows, RoundedRows, counts_places
from celloquy.data.reader import expressed_names
from celloquy.data.store import opened, opened_matrix
from celloquy.errors import CelloquyError
from celloquy.runtime.resume import fingerprint_of, replace_file
from celloquy.training.inputs import Input
from celloquy.version import VERSION


@dataclass(frozen=True, eq=False)
class CheckedInput:
    """All that is known of an input beside its counts.

    Shapes: ``n`` cells, ``c`` columns of the count matrix.
    """

    place: str
    """Place of the counts, e.g. ``"layers['counts']"``."""
    var_names: NDArray[Any]
    """``(c,)``: names of the columns."""
    genes: NDArray[np.bool_]
    """``(c,)``: columns that are genes."""
    column_totals: NDArray[np.float64]
    """``(c,)``: sum of the counts of every column."""
    n_counts: int
    """Number of counts above 0."""
    tissue: NDArray[np.int32]
    """``(n,)``: tissue of each cell, numbered from 0."""
    batch: NDArray[np.int32]
    """``(n,)``: experimental batch of each cell, or -1."""
    batches: NDArray[Any]
    """Names of the batches."""
    label: NDArray[np.int32]
    """``(n,)``: label of each cell, or -1."""
    labels: NDArray[Any]
    """Names of the labels."""
    position: NDArray[np.float32]
    """``(n, 2)``: positions, NaN where unknown; ``(0, 2)`` if none is known."""
    digest: str
    """Digest of all values, by which the same cells are recognised elsewhere."""

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.tissue)


@dataclass(frozen=True, eq=False)
class CheckedSource:
    """An input with what is known of it."""

    given: Input
    facts: CheckedInput

    @property
    def name(self) -> str:
        """Name of the input."""
        return self.given.name

    @property
    def columns(self) -> CellColumns:
        """Reading options."""
        return self.given.columns

    @property
    def var_names(self) -> NDArray[Any]:
        """Names of the columns of the counts."""
        return self.facts.var_names

    def expressed_names(self, least: float = 1) -> list[str]:
        """Return the names of the genes that have at least a number of counts; see :class:`CellSource`."""
        facts = self.facts
        return expressed_names(facts.var_names, facts.column_totals, facts.genes, least, self.name, facts.place)

    @contextmanager
    def open(self, memory: int) -> Iterator[CountRows]:
        """Yield the counts, which are read when they are used.

        Parameters
        ----------
        memory
            Bytes up to which a matrix in columns is turned to rows in memory, and not in a temporary file.
        """
        place, data = self.facts.place, self.given.data
        layer = ast.literal_eval(place[7:-1]) if place.startswith("layers[") else place
        if isinstance(data, Path):
            with opened_matrix(data, layer) as matrix:
                yield self._rounded(matrix.open(memory))
        else:
            (matrix,) = counts_places(data, layer)
            yield self._rounded(matrix.open(memory))

    def _rounded(self, rows: CountRows) -> CountRows:
        return RoundedRows(rows) if self.columns.counts == "round" else rows


def check_input(given: Input) -> CheckedSource:
    """Check all counts of an input and read the columns of its cells; of a file only once.

    Raises
    ------
    CelloquyError
        If there are no raw counts, or a column is missing or unfit. It names a file.
    """
    if not isinstance(given.data, Path):
        return CheckedSource(given, _check(given))
    cache = _cached(given) if given.data.exists() else None
    found = None if cache is None else _read(cache)
    if found is None:
        try:
            found = _check(given)
        except CelloquyError as error:
            found = _named(error, given.data)
        if cache is not None:
            _write(cache, found)
    if isinstance(found, CelloquyError):
        raise found
    return CheckedSource(given, found)


def _check(given: Input) -> CheckedInput:
    with opened(given.data, "corpus") as adata:
        name = given.name if isinstance(given.data, Path) else "adata"
        source = CellSource(adata, given.columns, name=name)
        label, labels = codes(adata, given.label_key, "label_key", name=name)
        totals, n_counts, checksum = np.zeros(source.counts.n_genes), 0, 0
        for start, stop in source.counts.rows.runs():
            block = source.counts.read(start, stop)
            totals += np.bincount(block.indices, weights=block.data, minlength=len(totals))
            n_counts += block.nnz
            for values in (block.indptr, block.indices, block.data):
                checksum = zlib.crc32(np.ascontiguousarray(values).data, checksum)
        located = given.columns.spatial_key is not None
        found: dict[str, Any] = {
            "place": source.counts.place.label,
            "var_names": source.counts.var_names.astype(str),
            "genes": source.genes,
            "column_totals": totals,
            "n_counts": n_counts,
            "tissue": source.tissue.astype(np.int32),
            "batch": source.batch.astype(np.int32),
            "batches": np.array(source.batches, dtype=str),
            "label": label.astype(np.int32) if labels else np.full(len(source), -1, np.int32),
            "labels": np.array(labels, dtype=str),
            "position": source.position if located else np.empty((0, 2), np.float32),
        }
    digest = hashlib.sha256(str(checksum).encode())
    for value in found.values():
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else str(value).encode())
    return CheckedInput(**found, digest=digest.hexdigest())


def _named(error: CelloquyError, path: Path) -> CelloquyError:
    """Return the error of a file with its path, because one call reads many."""
    if str(path) in error.problem:
        return error
    return type(error)(
        f"File {str(path)!r} can't be trained on.",
        found=f"{error.problem.rstrip('.')}: {error.found}" if error.found else error.problem,
        expected=error.expected,
        remedy=error.remedy,
        argument=error.argument,
    )


def _cached(given: Input) -> Path:
    """Return the path of what is known of a file in its present state, read with the same options."""
    told = [VERSION, fingerprint_of(given.data), asdict(given.columns), given.label_key]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return user_cache_path("celloquy") / "checked" / f"{key}.npz"


def _read(cache: Path) -> CheckedInput | CelloquyError | None:
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if "error" in kept:
                told = json.loads(str(kept["error"]))
                kind: type[CelloquyError] = getattr(errors, told.pop("kind"))
                return kind(told.pop("problem"), **told)
            values = {one.name: kept[one.name] for one in fields(CheckedInput)}
    except (OSError, KeyError, ValueError, BadZipFile):
        # There is none, or it is damaged: the file is checked anew.
        return None
    plain = {name: values[name].item() for name in ("place", "n_counts", "digest")}
    return CheckedInput(**values | plain)


def _write(cache: Path, found: CheckedInput | CelloquyError) -> None:
    values: dict[str, Any]
    if isinstance(found, CelloquyError):
        told = {name: getattr(found, name) for name in ("problem", "found", "expected", "remedy", "argument")}
        values = {"error": json.dumps({"kind": type(found).__name__, **told})}
    else:
        values = {one.name: getattr(found, one.name) for one in fields(CheckedInput)}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(cache) as new, new.open("wb") as file:
            np.savez_compressed(file, **values)
    except OSError:
        # Without a cache folder a file is checked in every call.
        return
