"""What a call may end with: a result or one of celloquy's errors, and nothing else changed, left behind or said."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from celloquy import errors


class NoObject(Exception):  # noqa: N818 -- likewise
    """An input that its own library can't make."""


class Wrong(Exception):  # noqa: N818 -- a finding, not an error
    """A call that ended in a way that is not allowed."""


@dataclass
class Ending:
    """How a call ended."""

    value: Any = None
    error: errors.CelloquyError | None = None
    said: list[str] = field(default_factory=list)
    """celloquy's own warnings."""


def watched(
    call: Callable[[], Any], *, unchanged: Iterable[Any] = (), folder: Path, makes: Iterable[str] = ()
) -> Ending:
    """Run a call and return how it ended.

    Parameters
    ----------
    call
        The call.
    unchanged
        Objects that it may only read.
    folder
        The folder that it works in; temporary files go to another one.
    makes
        Names of the files in it that the call may make, if it ends well.

    Raises
    ------
    Wrong
        If it ended in a way that is not allowed.
    """
    objects = list(unchanged)
    before, files = [parts(one) for one in objects], files_in(folder)
    states = torch.get_rng_state().clone(), str(np.random.get_state()), os.getcwd()  # noqa: NPY002
    ending, out = Ending(), io.StringIO()
    with tempfile.TemporaryDirectory() as scratch:
        tempfile.tempdir = scratch
        try:
            with (
                warnings.catch_warnings(record=True) as caught,
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(out),
            ):
                warnings.simplefilter("always")
                inside, loaded = list(warnings.filters), len(sys.modules)
                try:
                    ending.value = call()
                except errors.CelloquyError as error:
                    ending.error = error
                except Exception as error:
                    raise Wrong(f"{type(error).__name__}: {first_line(error)}\n{traceback.format_exc()}") from error
                # Libraries add filters when they are imported, which is not ours to mend.
                if warnings.filters != inside and len(sys.modules) == loaded:
                    raise Wrong("the filters of warnings were changed")
            if left := os.listdir(scratch):
                raise Wrong(f"temporary files were left: {left}")
        finally:
            tempfile.tempdir = None
    for one in caught:
        if one.category.__module__ != errors.__name__:
            raise Wrong(f"a warning leaked: {one.category.__name__}: {one.message} ({one.filename}:{one.lineno})")
        ending.said.append(str(one.message))
    if out.getvalue():
        raise Wrong(f"it printed {out.getvalue()[:200]!r}")
    if ending.error is not None:
        check_message(ending.error)
    for one, was in zip(objects, before, strict=True):
        if changes := differences(was, parts(one)):
            raise Wrong(f"an input was changed: {changes[:5]}")
    allowed, now = set(makes) if ending.error is None else set(), files_in(folder)
    changed = {name for name in files.keys() | now.keys() if files.get(name) != now.get(name)}
    if odd := sorted(name for name in changed if not any(within(name, one) for one in allowed)):
        raise Wrong(f"files were left or changed: {odd[:5]}")
    if (states[0] != torch.get_rng_state()).any() or states[1] != str(np.random.get_state()):  # noqa: NPY002
        raise Wrong("the state of a generator of random numbers was changed")
    if states[2] != os.getcwd():
        raise Wrong("the working directory was changed")
    return ending


def check_message(error: errors.CelloquyError) -> None:
    """An error says what is wrong in one line, and what to do."""
    if not error.remedy.strip() or not error.problem.strip() or "\n" in error.problem:
        raise Wrong(f"an error without a remedy, or of several lines: {str(error)!r}")


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}/")


def files_in(folder: Path) -> dict[str, str]:
    """The files of a folder, hidden ones too, with their hashes."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "folder"
        for file in folder.rglob("*")
    }


def parts(value: Any) -> dict[str, str]:
    """Hashes of all parts of an object."""
    if not isinstance(value, ad.AnnData):
        return {"": digest(value)}
    found = {"class": f"{type(value)}", "obs_names": digest(value.obs_names), "var_names": digest(value.var_names)}
    for place, table in (("obs", value.obs), ("var", value.var)):
        found |= {f"{place}[{n}]{name!r}": digest(table.iloc[:, n]) for n, name in enumerate(table.columns)}
    found["X"] = digest(None if value.isbacked else value.X)
    for place in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        found |= {f"{place}[{key!r}]": digest(one) for key, one in dict(getattr(value, place)).items()}
    if value.raw is not None:
        found["raw"] = digest([None if value.isbacked else value.raw.X, value.raw.var])
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str], *, added: Iterable[str] = ()) -> list[str]:
    """Names of the parts that differ, but for those that were to be added."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return sorted(name for name in names if not any(one in name for one in added))


def digest(value: Any) -> str:
    """A hash of a value, with types, storage and order."""
    h = hashlib.sha1(usedforsecurity=False)
    _feed(h, value)
    return h.hexdigest()


def _feed(h: Any, value: Any) -> None:
    # A view has arrays of types of its own.
    views = np.ndarray | sparse.spmatrix | sparse.sparray | pd.DataFrame | Mapping
    h.update(b"view" if isinstance(value, views) else type(value).__name__.encode())
    if isinstance(value, np.ndarray):
        h.update(f"{value.dtype}{value.shape}".encode())
        if value.dtype.hasobject:
            for one in value.ravel():
                _feed(h, one)
        else:
            h.update(np.ascontiguousarray(value).tobytes())
    elif sparse.issparse(value):
        h.update(f"{value.format}{value.dtype}{value.shape}".encode())
        _feed(h, value.data)
        # scipy chooses the type of the indices anew with every copy.
        for indices in (value.indices, value.indptr):
            _feed(h, indices.astype(np.int64))
    elif isinstance(value, pd.DataFrame):
        _feed(h, value.columns)
        _feed(h, value.index)
        for n in range(value.shape[1]):
            _feed(h, value.iloc[:, n])
    elif isinstance(value, pd.MultiIndex):
        _feed(h, [value.names, value.tolist()])
    elif isinstance(value, pd.Series | pd.Index):
        h.update(f"{value.dtype!r}{value.name!r}".encode())
        _feed(h, value.array)
        if isinstance(value, pd.Series):
            _feed(h, value.index)
    elif isinstance(value, pd.Categorical):
        _feed(h, [value.codes, list(value.categories), value.ordered])
    elif isinstance(value, pd.api.extensions.ExtensionArray):
        _feed(h, np.asarray(value, dtype=object))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            h.update(repr(key).encode(errors="surrogatepass"))
            _feed(h, one)
    elif isinstance(value, list | tuple):
        for one in value:
            _feed(h, one)
    elif isinstance(value, np.void):
        h.update(repr(value).encode())
    else:
        h.update(repr(value).encode(errors="surrogatepass"))
